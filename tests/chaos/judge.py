"""What is left at rest, held against what the writers were told: every acknowledged row exactly once, nothing stuck, nothing missing."""

import collections
import json
import re

import tables

# How a file of a rewrite is called: task, attempt, process, number.
OUTPUT = re.compile(r"/(\d{5})-(\d+)-([0-9a-f-]{32,36})-(\d{5})\.parquet$")


def judge(world, made: dict[str, set[int]], journal: list[dict]) -> list[str]:
    """Every problem, as a sentence; prints what was counted."""
    problems = [f"{what} ({count} times)" for what, count in world.breakdowns.items()]
    for log in world.logs():
        panics = log.read_text(errors="replace").count("panicked at")
        if panics:
            problems.append(f"{panics} panics in {log.name}")
    for error, count in world.errors.most_common(8):
        print(f"  {count} invocations said: {error}")

    rows = world.rows()
    problems += state_problems(world, rows)
    by_outcome = collections.Counter(json.loads(row["outcome"])["outcome"] if row["state"] == "ended" else row["state"] for row in rows["process"])
    attempts = collections.Counter(row["attempt"] for row in rows["task"])
    told = collections.Counter(line["outcome"] for line in journal)
    print(f"  writers: {dict(told)}; processes: {dict(by_outcome)}; tasks by attempts: {dict(sorted(attempts.items()))}")
    print(f"  most claims of one commit: {max((row['commit_claims'] for row in rows['process']), default=0)}; locks of the dead left: {world.locks_left()}")

    catalog = world.catalog()
    replaced = 0
    for name, seeded in made.items():
        table = catalog.load_table(name)
        problems += [f"{name}: {problem}" for problem in row_problems(table, seeded, [line for line in journal if line["table"] == name])]
        processes = [row for row in rows["process"] if row["table_id"].endswith("/" + name.replace(".", "/"))]
        problems += [f"{name}: {problem}" for problem in history_problems(table, processes)]
        found, leftovers = file_problems(world, table, {row["process"] for row in processes})
        problems += [f"{name}: {problem}" for problem in found]
        ours = sum("icepress.process-id" in snapshot.summary.additional_properties for snapshot in table.metadata.snapshots)
        replaced += ours
        files = int(table.current_snapshot().summary.additional_properties["total-data-files"])
        print(f"  {name}: {len(table.metadata.snapshots)} snapshots, {ours} of upkeep, {files} live data files, {leftovers} files of dead attempts")
    if not replaced:
        problems.append("upkeep never committed")
    return problems


def state_problems(world, rows) -> list[str]:
    problems = [f"process {row['process']} of {row['table_id']} is still {row['state']}" for row in rows["process"] if row["state"] != "ended"]
    problems += [f"{row['table_id']} still has the process {row['active_process']}" for row in rows["table"] if row.get("active_process")]
    problems += [f"a lease is held that nobody renews: {held}" for held in world.leases_held()]
    ended = {row["process"] for row in rows["process"] if row["state"] == "ended"}
    letters = world.dead_letters()
    for body, explanation in letters:
        process = re.search(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", body)
        if not explanation:
            problems.append(f"a dead letter that no death explains: {body}")
        elif process is None or process.group(0) not in ended:
            problems.append(f"a dead letter of a process that never ended: {body}")
    print(f"  {len(letters)} dead letters, each received too often by workers that died or found its claim taken" if letters else "  no dead letters")
    return problems


def row_problems(table, seeded: set[int], journal: list[dict]) -> list[str]:
    """Lost, doubled, revived and mixed-up rows. A commit of which PyIceberg itself does not know the outcome may be there or not."""
    added, deleted, unsure = set(seeded), set(), set()
    for line in journal:
        if line["outcome"] == "done":
            added |= set(line["added"])
            deleted |= set(line["deleted"])
        elif line["outcome"] == "unknown":
            unsure |= set(line["added"]) | set(line["deleted"])
    live = added - deleted
    read = table.scan(selected_fields=("id", "part", "text")).to_arrow().to_pylist()
    seen = collections.Counter(row["id"] for row in read)
    findings = {
        "lost": live - set(seen) - unsure,
        "doubled": {row_id for row_id, count in seen.items() if count > 1},
        "revived": (set(seen) & deleted) - unsure,
        "from nowhere": set(seen) - added - unsure,
        "mixed up": {row["id"] for row in read if row["text"] != tables.text_of(row["id"]) or row["part"] != row["id"] % tables.PARTS},
    }
    return [f"{len(ids)} rows {what}: {sorted(ids)[:10]}" for what, ids in findings.items() if ids]


def history_problems(table, processes: list[dict]) -> list[str]:
    """One rewrite at a time: whatever a process committed is an ancestor of the base of every process begun after it. And each is
    in the history as often as its row says."""
    problems = []
    parents = {snapshot.snapshot_id: snapshot.parent_snapshot_id for snapshot in table.metadata.snapshots}
    by_process = collections.defaultdict(list)
    for snapshot in table.metadata.snapshots:
        if process := snapshot.summary.additional_properties.get("icepress.process-id"):
            by_process[process].append(snapshot.snapshot_id)
    current, line = table.metadata.current_snapshot_id, []
    while current is not None:
        line.append(current)
        current = parents.get(current)
    position = {snapshot: place for place, snapshot in enumerate(reversed(line))}
    for process, snapshots in by_process.items():
        if len(snapshots) > 1:
            problems.append(f"process {process} committed {len(snapshots)} times")
        if any(snapshot not in position for snapshot in snapshots):
            problems.append(f"what process {process} committed is no ancestor of the table's state")
    known = {row["process"]: row for row in processes}
    problems += [f"a snapshot names the process {process}, of which there is no row" for process in by_process if process not in known]
    for process, row in known.items():
        outcome = json.loads(row["outcome"]) if row["state"] == "ended" else {}
        said = {outcome["snapshot_id"]} if "snapshot_id" in outcome else set()
        if row["state"] == "ended" and said != set(by_process[process]):
            problems.append(f"process {process} ended as {outcome['outcome']} with {said}, and committed {by_process[process]}")
    in_order = sorted(processes, key=lambda row: row["created_at"])
    for index, later in enumerate(in_order):
        base = position.get(json.loads(later["header"])["base"]["snapshot_id"])
        for earlier in in_order[:index]:
            for snapshot in by_process[earlier["process"]]:
                if base is None or position.get(snapshot, -1) > base:
                    problems.append(f"process {later['process']} began on a state before the commit of {earlier['process']}: two rewrites at once")
    return problems


def file_problems(world, table, processes: set[str]) -> tuple[list[str], int]:
    """Files that a snapshot refers to and that are gone; and how many files that none refers to, all of which a rewrite must have
    named so that they can be found."""
    there = world.files(table.metadata.location)
    wanted, read = set(), set()
    for snapshot in table.metadata.snapshots:
        wanted.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in read:
                continue
            read.add(manifest.manifest_path)
            wanted.add(manifest.manifest_path)
            wanted |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)}
    problems = [f"{len(wanted - there)} files are gone that a snapshot needs: {sorted(wanted - there)[:3]}"] if wanted - there else []
    leftovers = {path for path in there - wanted if OUTPUT.search(path)}
    strange = {path for path in leftovers if OUTPUT.search(path).group(3) not in processes}
    if strange:
        problems.append(f"{len(strange)} files name a process that never was: {sorted(strange)[:3]}")
    return problems, len(leftovers)
