//! Plans: which files of a table to rewrite together, why, and why the rest is left alone.
//!
//! A plan is made of what the manifests say and of nothing else: no data file is opened, because on S3
//! Intelligent-Tiering even a look at a footer moves the whole object back to the dear tier. Knows nothing of AWS.
//!
//! # Which files
//! As Iceberg's `rewrite_data_files` has it, a file is a candidate when it is smaller than 0.75 × or larger than
//! 1.8 × the target. Candidates are packed in the table's own order, partition by partition and spec by spec, so that
//! neighbours stay neighbours, and a group is kept when it is worth it: enough files, more than a target file of
//! content, or a file that is too large.
//!
//! # Deletes
//! Iceberg's defaults leave delete files alone for ever (a threshold of 2,147,483,647 files, a ratio of 0.3), and so
//! readers merge them for ever. Here a file with deletes is a candidate when any of these holds, and its group is then
//! kept whatever its size:
//! * at least a tenth of its rows is deleted (`icepress.delete-ratio-threshold`), as far as manifests can tell;
//! * two or more delete files apply to it (`icepress.delete-file-threshold`): each is one more thing to open;
//! * it is smaller than an eighth of the target: reading it with its delete file costs about what rewriting it costs;
//! * its partition is rewritten anyhow. Without this, one healthy file would keep a delete file alive that all its
//!   neighbours have got rid of, since a delete file goes only when nothing needs it.
//!
//! So a table whose deletes are spread over small files, or that many deletes have hit, ends with none; a large file
//! with one delete file that hides a few rows is left alone until that is worth rewriting it.
//!
//! # The light tier
//! Of the four reasons the second says nothing of the file's rows, and neither does the fourth: a large file that would
//! be read and written for a hundred deleted rows. There the deletes are rewritten and the data file is not: all that
//! apply to it, by position, by vector and by value, become one position delete file (format version 2) or one vector
//! (from 3 on) of its own. That reads the delete files, and for deletes by value the key columns.
//!
//! * It is chosen for files over an eighth of the target of which less than `icepress.delete-ratio-threshold` is deleted,
//!   in partitions that have anything else to do or a file with `icepress.delete-file-threshold` delete files.
//! * A delete file goes only when all data files that it applies to have been rewritten or told what it says. So all
//!   such files are taken in together, through the whole table where an equality delete of an unpartitioned spec is
//!   among them; and where one of them can't be read, or the plan is too small for all, the light tier is not chosen.
//! * A file with a single delete file that is about it alone is finished: this tier has nothing to give it.
//! * `icepress.light-rewrites` = `false` turns it off; so does a `icepress.delete-file-threshold` of 1, which wants no
//!   delete file at all.
//!
//! # Slices
//! A plan has bounded bytes, files and groups (`icepress.max-plan-*`), so that a table with ten thousand things to do is
//! done in slices, and between two of them the others of its bucket have their turn. Quotas cut it further: [`slice()`].
//!
//! # The fixed point
//! The plan that follows a run is empty. What a group writes is of the target size but for one last file, which alone
//! is no group; the last files of several groups of one partition are merged by a second plan, for which
//! [`icepress_model::TablePlan::follow_up`] asks. So it does after light groups: how many rows a delete by value hits is a
//! guess until it was looked up, and a file that it hit harder than that may be worth a full rewrite now.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod dangling;
mod defaults;
mod deletes;
mod exchange;
mod groups;
mod health;
mod options;
mod partition;
mod plan;
mod price;
mod repeats;
mod slice;
mod turns;

pub use defaults::PlanDefaults;
pub use options::{Ceiling, InvalidProperty, PlanOptions, VerifyRows, path_hash};
pub use plan::{PlanError, base_of, group_all, plan_table, refusal};
pub use price::{KeepingPrices, Prices};
pub use repeats::{LastRun, Repeated, files_of, take_out_repeats};
pub use slice::{Sliced, slice};
