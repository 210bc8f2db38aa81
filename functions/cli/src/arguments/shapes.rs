//! The JSON that each command prints with `--json`, for its long help.

pub(super) const RUN: &str = "\
JSON (with --json, one document; without --once, one line a round):
  {\"tables\": [TABLE…], \"more_unchanged\": N, \"errors\": [TEXT…], \"compacted\": N, \"failed\": N}
where TABLE is
  {\"table\", \"outcome\": \"compacted\" | \"deletes-rewritten\" | \"observed\" | \"unchanged\" | \"refused\" | \"waiting\" | \"failed\", \"reason\": TEXT or null, \"groups\",
   \"row_groups_in\", \"row_groups_out\",
   \"bytes_by_way\": {\"copied\", \"united\", \"spelled\", \"encoded\"} (columns of new data files: pages as they were, united dictionaries
   with indices into them, pages without the dictionary they had, rows encoded anew), \"files_before\", \"files_after\", \"bytes_before\", \"bytes_after\",
   \"delete_files_before\", \"delete_files_after\", \"health_before\", \"health_after\"}
and what is not known (a table that was not looked at) is null. Health is from 0 to 100. Of tables about which there is nothing to
say a thousand or two are listed, and the rest is counted in \"more_unchanged\".";

pub(super) const COMPACT: &str = "\
JSON (with --json): the table as `icepress run --json` has it in its list.";

pub(super) const DEMO: &str = "\
JSON (with --json): {\"tables\": [TABLE…], \"warehouse\": FOLDER or null}, where TABLE is as `icepress run --json` has it, and
  \"story\", \"rows\" (as the tables' writer counted), \"rows_before\" and \"rows_after\" (as they were read), \"same_rows\",
  \"row_groups_before\", \"row_groups_after\", \"groups_left\" (of the plan that a second run would make)
beside that. With --no-run, TABLE has \"table\", \"story\" and \"rows\".";

pub(super) const TABLES: &str = "\
What is shown stands in the state: nothing is loaded or planned for it. The catalog is asked, for a few seconds, for databases that no
run has listed yet; their tables are `new`.

JSON (with --json, printed as tables are read): {\"tables\": [TABLE…], \"next\": KEY or null, \"left_out\": TEXT or null}, where TABLE is
  {\"table\", \"state\": \"new\" | \"due\" | \"working\" | \"failing\" | \"waiting\" | \"refused\" | \"observed\" | \"settled\" | \"unreadable\",
   \"metadata_location\", \"health\", \"files\", \"bytes\", \"delete_files\", \"rewritten_since\": true or false, \"failures\",
   \"failure\": TEXT or null, \"refused\": TEXT or null,
   \"waits\": {\"for\": \"blocker\" | \"window\" | \"quota\" | \"tasks\", \"reason\", \"until\", \"since\" (milliseconds since 1970; until is null
   where it is not known), \"quota\" (\"catalog NAME\", \"database …\" or \"table …\"; of a quota alone)} or null,
   \"observed\": {\"groups\", \"files\", \"bytes\", \"delete_files\", \"price\" (billionths of a dollar), \"frees\", \"later_files\", \"later_bytes\",
   \"due\": [{\"kind\", \"price\", \"frees\"}…] (upkeep, where any is due)} or null,
   \"upkeep\": {\"due\": [{\"kind\", \"reason\", \"costs\"}…], \"later\": {KIND: milliseconds since 1970…}, \"refused\": {KIND: TEXT…}} where
   any is switched on}
with location, sizes and health as they were when Icepress last looked, and null before that; `rewritten_since` where Icepress has
rewritten the table after that. `next`, where --limit left tables out, is for --after. `left_out` says why tables that are new may be missing.";

pub(super) const PLAN: &str = "\
JSON (with --json): {\"base\", \"groups\": [GROUP…], \"left_alone\": [PARTITION…], \"health\", \"totals\", \"follow_up\",
  \"settings\": [{\"name\", \"value\", \"set-by\"}…] (what is not as by default)}, where
GROUP is
  {\"spec_id\", \"partition\", \"partition_name\", \"reason\", \"tier\": \"full\" | \"light\" | \"dangling\", \"inputs\": [{\"path\", \"size\", \"rows\", \"sequence_number\",
   \"first_row_id\" (format version 3), \"deletes\": [INDEX…]}…], \"deletes\": [{\"content\", \"path\", \"size\", \"rows\", \"sequence_number\",
   \"referenced_data_file\"}…], \"target_file_size\",
   \"shares_deletes\": true where a light group writes one delete file}
and PARTITION is
  {\"spec_id\", \"partition_name\", \"files\", \"bytes\", \"reason\"}.";

pub(super) const MAINTAIN: &str = "\
Tags come first. icepress.tag.hourly, .daily, .weekly and .monthly say how long the tags of each period are kept (as in 30d): each
is the table as it was when its period began, in icepress.tag.time-zone (UTC). Amoro's tag.auto-create.* are honoured as they are.

Then files go whose rows are all older than icepress.age-out.keep, by the column icepress.age-out.field: a partition at a time, or
with icepress.age-out.level = file each by itself; with row also the old rows of files that have others, which are written anew. Amoro's data-expire.* are honoured as they are. One commit that writes manifests
alone; the files themselves are deleted when the snapshots are expired that have them.

Which snapshots go is for the table to say: history.expire.max-snapshot-age-ms, .min-snapshots-to-keep and .max-ref-age-ms, the ages
that a branch or tag has of its own, and Amoro's snapshot.keep.duration, .min-count and .flink.checkpoint-retention. What a process
under way was planned on stays. gc.enabled = false and table-expire.enabled = false are refused.

The commit comes first, then the files that no snapshot of any branch or tag refers to: data and delete files, statistics, manifests,
manifest lists. Before it, and before the first file goes, everything is written down in the table's metadata folder
(icepress-upkeep), so that a run that was killed is gone on with by the next. Files outside the table's own folders stay.
Of Glue's versions of the table's entry those are taken away whose metadata files the table knows no longer.

JSON (with --json): {\"table\", \"snapshots\": [{\"snapshot_id\", \"timestamp_ms\"}…], \"refs\": [NAME…] (branches and tags that went),
  \"spared\": [{\"snapshot_id\", \"why\"}…], \"snapshots_kept\": N, \"files\": {KIND: {\"files\", \"bytes\"}…}, \"outside\": {\"files\", \"bytes\"},
  \"revived\": {\"files\", \"bytes\"} (needed again, and kept), \"versions\": N (of the table's entry, that Glue forgot), \"unfinished\": true or false}, where KIND is
  \"data\" | \"delete\" | \"statistics\" | \"manifest\" | \"manifest-list\". `icepress plan TABLE --only expire --json` is the same without \"revived\" and
  \"versions\".
  Bytes are as the table has them; of manifest lists it has none.

--only orphans lists the table's folders and finds what nothing in its metadata refers to. A run writes down what it finds
(icepress-orphans, in the metadata folder); a later run deletes what it finds again, that was written down before, and is older than
--older-than (3 days; Amoro's clean-orphan-file.min-existing-time-minutes; 24 hours at the least). What an attempt of Icepress wrote
that is known to be dead goes at once. Nothing is deleted where anything can't be read, where another table of any catalog that is
configured has a folder that is the same, contains this one or lies in it, or where metadata of another table lies in the folders
(--dropped UUID where that one is gone). Where icepress.maintain.orphans-inventory names an S3 Inventory nothing is listed; with
icepress.maintain.orphans-quarantine files are tagged before they go. Hidden files stay, as Iceberg's Java library has it. --only old-metadata does the same of
metadata files alone; those that left the log go where write.metadata.delete-after-commit.enabled is set.

JSON of both: {\"table\", \"folders\": [TEXT…], \"listed\": COUNTS, \"listing_requests\": N, \"needed\": N, \"unreferenced\": {KIND: COUNTS…},
  \"examples\": [PATH…], \"young\": COUNTS, \"in_use\": COUNTS, \"hidden\": COUNTS, \"old_metadata\": COUNTS, \"age_ms\": N, \"tables_asked\": N,
  \"unasked\": [TEXT…], \"files\": {KIND: COUNTS…} (deleted), \"quarantined\": {KIND: COUNTS…} (marked), \"waiting\": {KIND: COUNTS…} (written
  down, or marked before), \"released\": N (needed again, and marked no longer), \"revived\": COUNTS,
  \"unfinished\": true or false}, where COUNTS is {\"files\", \"bytes\"} and KIND is as above, or \"metadata\" | \"other\". Of `icepress plan` it is the
  same without the last and what is needed again. Where an inventory told of it, \"inventory\" is {\"manifest\", \"made_at\"}.

Tags and ages have names of their own, beside what expiry says where all is done at once: {\"tags\": {\"created\":
  [{\"name\", \"snapshot_id\", \"timestamp_ms\", \"until_ms\"}…], \"removed\": [NAME…], \"skipped\": [{\"name\", \"why\"}…]},
  \"age-out\": {\"off\": TEXT or null, \"field\", \"up_to_ms\", \"level\": \"partition\" | \"file\" | \"row\", \"partitions\": [{\"spec_id\", \"partition_name\",
  \"files\", \"rows\", \"bytes\"}…], \"more_partitions\": N, \"old\": SUM, \"mixed\": SUM (written anew without some rows), \"left_for_later\": SUM,
  \"mixed_rows_gone\": N or null, \"held_by_partition\": SUM, \"filtered\": SUM, \"unknown\": SUM, \"delete_files\": N,
  \"snapshot_id\": N or null}}, where SUM is {\"files\", \"rows\", \"bytes\"}.

Manifests are written anew, by partition and without what was removed, where that halves what readers open: where small ones are
many (commit.manifest.min-count-to-merge; 16 where the table does not say), where a lookup of one partition opens twice as many as it
must, or where most entries are of removed files. commit.manifest.target-size-bytes is their size; commit.manifest-merge.enabled =
false has them left alone. What others commit meanwhile is carried over.

JSON of --only manifests: {\"table\", \"kinds\": [{\"content\": \"data\" | \"deletes\", \"spec_id\", \"rewrite\": true or false, \"reason\": TEXT,
  \"candidates\", \"small\", \"removed_entries\", \"before\": SHAPE, \"after\": SHAPE, \"price\" (billionths of a dollar)}…],
  \"snapshot_id\": N or null, \"rewritten\": {\"created\", \"replaced\", \"kept\", \"entries\"} or null}, where SHAPE is
  {\"manifests\", \"bytes\", \"opened_by_lookup\", \"opened_by_recent_lookup\"}. `icepress plan TABLE --only manifests --json` is the same
  without the last two.

Statistics of partitions (--only statistics) are counted from manifests, from earlier ones on where a snapshot before this one has
some, written beside the metadata as a Parquet file of Iceberg's format, and named by the metadata of the table.

JSON of --only statistics: {\"table\", \"write\": true or false, \"reason\": TEXT, \"snapshot_id\": N or null, \"since\": N or null,
  \"written\": {\"path\", \"bytes\", \"partitions\", \"incremental\": true or false} or null}. `icepress plan TABLE --only statistics --json` is
  the same without \"written\".";

pub(super) const REPORT: &str = "\
What is shown stands in the state: nothing is loaded or planned for it. It is of tables that are only observed (`mode`, README), as they were when
Icepress last looked; the price is reckoned as quotas are. What would be free is so when the snapshots before have expired.

JSON (with --json): {\"catalog\", \"sum\": SUM, \"databases\": {NAME: SUM…}, \"tables\": [TABLE…] (those with most to rewrite first),
  \"more_tables\": N, \"left_out\": TEXT or null}, where SUM is
  {\"tables\", \"evaluated\", \"states\": {STATE: N…} (as `icepress tables` has them), \"modes\": {\"observe\": N, \"maintain\": N},
   \"with_work\", \"groups\", \"files\", \"bytes\", \"delete_files\", \"dollars\", \"frees\", \"later_files\", \"later_bytes\"} and TABLE is
  {\"table\", \"mode\", \"state\", \"health\", \"dollars\", \"would\": as \"observed\" of `icepress tables`}.";

pub(super) const WASTE: &str = "\
Nothing is written, and no data file is asked for. Dead snapshots are what `icepress maintain` would expire; orphans what nothing refers
to, whatever its age beyond a day (found by listing); small files those that a rewrite would make fewer (they cost the watching of
S3 Intelligent-Tiering here, and queries more); delete files their own bytes; cold small files those under 128 KiB where nobody has written for
30 days, which never become cheaper. Prices are list prices of us-east-1 in the tier for what was read lately.

JSON (with --json): {\"catalog\", \"tables\": {TABLE: {\"kinds\": {KIND: WASTE…}, \"dollars_a_month\", \"untold\": [TEXT…]}…},
  \"freed_by\": {\"expire\" | \"orphans\" | \"rewrite\": WASTE…}, \"dollars_a_month\", \"unowned\": [{\"folder\", WASTE…}…] (of no table, and not counted),
  \"unread\": [TEXT…]}, where WASTE is {\"files\", \"bytes\", \"dollars_a_month\"} and KIND is \"dead-snapshots\" | \"orphans\" | \"small-files\" |
  \"delete-files\" | \"cold-small-files\".
The exit code is 1 where more is wasted than --fail-over, or something could not be read.";

pub(super) const RESTORE: &str = "\
Everything that the snapshot needs is asked for before: with any file missing nothing is changed. Then one commit sets the branch
back. It writes and deletes no file. The state that is left gets a tag, icepress-before-restore-…, which keeps it as long as --keep says;
to undo a restore, restore to that tag. Rows are read by the schema that the table has, unless --schema says otherwise.

JSON (with --json; with --yes it is done, and without it would be): {\"table\", \"restored\": true or false, \"branch\", \"from\": COMMIT,
  \"to\": COMMIT, \"found\": TEXT, \"undone\": [COMMIT…], \"returned\": [COMMIT…], \"more_expired\": true or false,
  \"difference\": {\"data_back\", \"data_gone\", \"deletes_back\", \"deletes_gone\"} (each {\"files\", \"rows\", \"bytes\"}) or null,
  \"schema\": {\"current_id\", \"snapshot_id\", \"lacking\": [COLUMN…], \"added\": [COLUMN…], \"restored_id\"} or null,
  \"missing\": {\"files\", \"named\": [TEXT…], \"checked\"}, \"kept_as\": TAG or null (it is there already), \"kept_until_ms\"}, where COMMIT is
  {\"snapshot_id\", \"timestamp_ms\", \"operation\", \"by\": TEXT or null, \"added_rows\", \"deleted_rows\"}.
The exit code is 2 where it can't be restored.";

pub(super) const EXPLAIN: &str = "\
JSON (with --json): {\"table\": as in `icepress tables --json`, \"plan\": as in `icepress plan --json`, \"mode\": \"observe\" | \"maintain\",
  \"mode_set_by\": TEXT, \"processes\": [PROCESS…],
\"sort_order\": the table's own as TEXT or null, \"sort_order_is_kept\": true or false}, where PROCESS is
{\"process\", \"started_at\" (milliseconds since 1970), \"state\", \"outcome\": OUTCOME or null}; the newest first. Beside that
\"unread\": [TEXT…] says what of the state could not be read: the plan is made of the table alone.";

pub(super) const VERIFY: &str = "\
JSON (with --json): {\"table\", \"same\": true or false, \"same_values\": true or false, \"snapshot\": ROWS, \"against\": ROWS}, where ROWS is
  {\"id\", \"rows\", \"hash\"}; a hash is 32 hexadecimal digits, the same for the same rows in any order and any files.
Rows are the same when they have the same values and, in tables of format version 3, the same row ids and last updates.
The exit code is 1 where the rows differ.";

pub(super) const REPAIR: &str = "\
Every live file is asked for, by its footer. What manifests say of it wrongly (record_count, file_size_in_bytes, split_offsets), what
their headers lack, what their list counts wrongly, and files that are listed more than once are told; with --apply new manifests
are committed that say it rightly. The files stay the same, with their sequence numbers, row ids and deletes. What only a person can
mend (a file that is gone or cut short) is told with what would help.

JSON (with --json): {\"table\", \"applied\": true or false, \"snapshot_id\": N or null, \"checked_files\": N, \"files\": [FILE…],
  \"manifests\": [{\"path\", \"faults\": [TEXT…]}…], \"duplicates\": [DUPLICATE…], \"left\": [{\"file\", \"what\", \"advice\"}…], \"sound\": true or false},
where FILE is {\"path\", \"kind\": \"data\" | \"position-deletes\" | \"equality-deletes\" | \"vector\", \"corrections\": [{\"what\", \"before\", \"after\"}…]} and
DUPLICATE is {\"path\", \"kind\", \"kept_sequence_number\", \"dropped_sequence_numbers\": [N…], \"rows\"}.
The exit code is 1 where something stays wrong: always without --apply, unless all is sound.";

pub(super) const PROCESSES: &str = "\
JSON (with --json): {\"processes\": [PROCESS…], \"more\": N, \"unread\": [TEXT…]}, the oldest first, where PROCESS is
  {\"process\", \"table\", \"started_at\" (milliseconds since 1970), \"tasks\": {\"unsent\", \"waiting\", \"running\", \"forsaken\",
   \"done\", \"failed\"}, \"waits_for\": TEXT}.
`more` counts those that --limit left out; `unread` says which rows could not be read, and why.";

pub(super) const CANCEL: &str = "\
JSON (with --json): {\"process\", \"cancelled\": true}. A process that has ended, or that somebody is committing,
is not cancelled: that is an error, with exit code 1. One whose committer's claim is over is.";

pub(super) const BLOCK: &str = "\
From the moment it returns no commit of Icepress comes to these tables before the blocker's end, but for those that it
names as under way; with --wait there are none.

JSON (with --json): {\"blocker\": BLOCKER, \"commits_under_way\": [COMMIT…]}, where BLOCKER is as in `icepress blockers --json` and
COMMIT is {\"table\", \"process\", \"worker\", \"until\" (milliseconds since 1970, at the latest)}.";

pub(super) const UNBLOCK: &str = "\
JSON (with --json): {\"scope\", \"owner\", \"unblocked\": true}. Where there is no such blocker that is an error, with exit code 2.";

pub(super) const BLOCKERS: &str = "\
JSON (with --json): {\"blockers\": [BLOCKER…]}, where BLOCKER is
  {\"kind\": \"catalog\" | \"database\" | \"table\", \"name\", \"owner\", \"reason\", \"created_at\", \"expires_at\"}
with times in milliseconds since 1970.";

pub(super) const DOCTOR: &str = "\
Of tables, those are looked at that are due, failed, wait, or have a process under way; no row of a table at rest is read. Those
that can't be read `icepress tables --state unreadable` lists.

JSON (with --json): {\"findings\": [FINDING…], \"worst\": SEVERITY}, where FINDING is
  {\"severity\": SEVERITY, \"subject\", \"seen\", \"advice\": TEXT or null}
and SEVERITY is \"well\" | \"doubt\" (it works, but somebody should look) | \"wrong\". Subjects are icepress, configuration, state …, clock,
queues, queue …, large plans …, catalog …, versions, schedulers, buckets, blocker …, quota …, tables, table … and process ….
The exit code is 1 where something is wrong, and 0 where all is well or something is in doubt.";

pub(super) const REDRIVE: &str = "JSON (with --json): {\"brought_back\": N}.";

pub(super) const BUCKETS: &str = "\
JSON (with --json): {\"buckets\": N, \"layout\": N, \"moving\": true or false, \"astray\": N, \"unreadable\": N, \"each\": [BUCKET…]},
where BUCKET is
  {\"bucket\", \"stays\": true or false, \"tables\", \"due\", \"under_way\", \"owner\": TEXT or null,
   \"last_swept_at\": milliseconds since 1970 or null}.";

pub(super) const BUCKETS_RESIZE: &str = "\
JSON (with --json): {\"before\": N, \"after\": N, \"layout\": N, \"moved\": N, \"under_way\": N, \"unreadable\": N,
  \"settled\": true or false}. Where it is interrupted, every tick goes on with it, and so does the same command.";
