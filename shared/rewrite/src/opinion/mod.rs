//! A second opinion on a rewrite: what the old files hold, column by column, against what the new ones hold.
//!
//! The rewrite and the hash of rows read through one projection; a fault of it is the same on both sides, and no
//! comparison of theirs finds it. So nothing here is shared with it: files are joined to columns by what they say
//! themselves (`join`, on the Parquet schema, not on Arrow's), values are taken from Parquet's column readers (`pages`) in a
//! form of our own (`canon`), and what is compared are sums that no order changes. Only which rows are deleted is told by
//! the engine: that is checked by their number.
//!
//! Footers come first, for they cost a request a file: how many values a column has, and its bounds. They decide where
//! they can tell. Where they disagree or say too little, or where one column's fit another's of the same kind so that
//! the two might be crossed, the pages of these columns are read and decide: the number of live values, the sum of their
//! hashes, and the sum of the rows' hashes over these columns. Where two of them have the very same values in other rows,
//! the rows are hashed over all columns. With [`Look::Pages`] that is done for all columns.
//!
//! What is counted for a leaf at any depth is the entries at its greatest definition level in rows that are not deleted:
//! values that are there. However a file nests its optional parents, that number is the same, which the number of NULLs
//! is not. A value inside lists is hashed with its place in its row.

mod canon;
mod footers;
mod join;
mod pages;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use icepress_catalog::metadata::Metadata;
use icepress_model::{ColumnValues, Group, SchemaId};

use self::{
    footers::{Footers, Noted},
    join::TableColumns,
    pages::Sums,
};
use crate::{RewriteContext, failure::Result, group::schema_of};

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At footers, and at the pages of those columns that footers say too little of.
    Footers,
    /// At the pages of all columns.
    Pages,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opinion {
    /// Values of each primitive column at the top, in the old files and in the new ones.
    pub columns: Vec<ColumnValues>,
    /// How many columns, at any depth, were compared.
    pub compared: usize,
    /// How many of them by their pages.
    pub by_pages: usize,
    /// What is wrong, a line each; empty where nothing is.
    pub faults: Vec<String>,
}

/// Compares the live rows of the groups `before` and `after`, both under the schema `schema_id`.
pub(crate) async fn second_opinion(
    context: &RewriteContext,
    metadata: &Metadata,
    schema_id: SchemaId,
    (before, after): (&[Group], &[Group]),
    look: Look,
) -> Result<Opinion> {
    let schema = schema_of(metadata, schema_id)?;
    let columns = TableColumns::of(metadata, &schema)?;
    let old = Footers::of(context, metadata, &columns, before).await?;
    let new = Footers::of(context, metadata, &columns, after).await?;
    let mut faults: Vec<String> = [("old", &old), ("new", &new)]
        .iter()
        .flat_map(|(which, side)| {
            side.unexplained
                .iter()
                .map(move |column| format!("the {which} file {column}"))
        })
        .collect();
    let compared: Vec<i32> = columns.comparable().collect();
    let mut chosen: BTreeSet<i32> = match look {
        Look::Pages => compared.iter().copied().collect(),
        Look::Footers => in_doubt(&columns, &compared, &old, &new),
    };
    let mut sums = None;
    if !chosen.is_empty() {
        let mut of_old = Sums::of(context, metadata, &schema, &columns, before, &chosen).await?;
        if chosen.len() < compared.len() && of_old.has_twins(&columns) {
            chosen = compared.iter().copied().collect();
            of_old = Sums::of(context, metadata, &schema, &columns, before, &chosen).await?;
        }
        let of_new = Sums::of(context, metadata, &schema, &columns, after, &chosen).await?;
        faults.extend(of_old.differences(&of_new, &columns));
        sums = Some((of_old, of_new));
    }
    let values = |id: i32| {
        let summed = sums
            .as_ref()
            .filter(|_| chosen.contains(&id))
            .map(|(old, new)| (old.values(id), new.values(id)));
        let (least, most, after) = match summed {
            Some((old, new)) => (old, old, new),
            None => {
                let (old, new) = (old.noted(id), new.noted(id));
                (old.least, old.most, new.most)
            }
        };
        ColumnValues {
            column: id,
            least,
            most,
            after,
        }
    };
    Ok(Opinion {
        columns: columns.at_the_top().map(values).collect(),
        compared: compared.len(),
        by_pages: chosen.len(),
        faults,
    })
}

/// The columns of which footers say too little: they disagree, or don't tell, or fit another column of the same kind.
fn in_doubt(
    columns: &TableColumns,
    compared: &[i32],
    old: &Footers,
    new: &Footers,
) -> BTreeSet<i32> {
    let mut chosen = BTreeSet::new();
    let noted: Vec<(i32, &Noted, &Noted)> = compared
        .iter()
        .map(|id| (*id, old.noted(*id), new.noted(*id)))
        .filter(|(_, old, new)| !old.is_empty() || !new.is_empty())
        .collect();
    for (index, (id, old, new)) in noted.iter().enumerate() {
        if !old.fits(new) {
            chosen.insert(*id);
        }
        for (other, other_old, other_new) in &noted[index + 1..] {
            let may_be_crossed = columns.kind(*id) == columns.kind(*other)
                && (old.fits(other_new) || other_old.fits(new));
            if may_be_crossed {
                chosen.extend([*id, *other]);
            }
        }
    }
    chosen
}
