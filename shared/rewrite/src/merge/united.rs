//! What becomes of the dictionaries that a column's chunks have.

use std::collections::HashSet;

use parquet::basic::Compression;

use super::{
    Sound,
    codec::Coder,
    column::{Input, Target},
    dictionary::Union,
    hybrid::bits_of,
    page::Page,
    refused,
};
use icepress_table::footer::PageLayout;

/// So many dictionaries are looked at to see whether values occur in more than one of them.
const SAMPLE: usize = 3;

/// What becomes of the pages of a chunk that point into its dictionary.
#[derive(Debug)]
pub(super) enum Plan {
    /// They stay as they are.
    Copy,
    /// They get other indices, of so many bits.
    Map { places: Vec<u32>, width: u8 },
    /// They are written without a dictionary.
    Spell,
}

/// The dictionary of the chunk that is made.
#[derive(Debug)]
pub(super) enum Dictionary {
    None,
    /// That of the first input that has one.
    First,
    /// United, as a page.
    United(Page),
}

/// What becomes of each input's pages, and the dictionary that they point into.
pub(super) fn unite(
    target: &Target,
    inputs: &[Input<'_>],
    coder: &mut Coder,
) -> Sound<(Vec<Plan>, Dictionary)> {
    let with: Vec<&Input<'_>> = inputs.iter().filter(|it| it.points).collect();
    if with.is_empty() {
        return Ok((of_each(inputs, || Plan::Copy), Dictionary::None));
    }
    if repeat_rarely(&with) && !shared(target, &with, coder)? {
        return Ok((of_each(inputs, || Plan::Spell), Dictionary::None));
    }
    let mut union = Union::new();
    let (mut plans, mut first, mut held) = (Vec::with_capacity(inputs.len()), None, 0);
    // One dictionary at a time: what is kept of each is where its values went.
    for input in inputs {
        let Some(dictionary) = input.dictionary(&target.column, coder)? else {
            plans.push(Plan::Copy);
            continue;
        };
        let room = target.dictionary_bytes.saturating_sub(union.bytes().len());
        let fits = dictionary.bytes().len() <= room || union.missing(&dictionary) <= room;
        let plan = match fits.then(|| union.add(&dictionary)).flatten() {
            Some(places) if is_identity(&places) => Plan::Copy,
            Some(places) => {
                held += places.len() * size_of::<u32>();
                Plan::Map {
                    width: bits_of(places.iter().copied().max().unwrap_or(0)).max(1),
                    places,
                }
            }
            None => Plan::Spell,
        };
        if held > target.most_dictionaries {
            return Err(refused("its dictionaries take too much memory"));
        }
        first.get_or_insert(dictionary.count());
        plans.push(plan);
    }
    let are_kept = plans.iter().all(|plan| matches!(plan, Plan::Copy));
    // Pages of nothing but NULL point into a dictionary of nothing, which must be there all the same.
    if are_kept && first == Some(union.count()) {
        return Ok((plans, Dictionary::First));
    }
    if union.count() == 0 && with.iter().all(|input| input.has_values()) {
        return Ok((plans, Dictionary::None));
    }
    let (count, plain) = (union.count() as u64, union.into_bytes());
    let length = plain.len() as u64;
    let page = Page::dictionary(coder.target(), count, length, coder.compress(plain)?.into());
    Ok((plans, Dictionary::United(page)))
}

/// What becomes of each input where all that have a dictionary are treated alike.
fn of_each(inputs: &[Input<'_>], plan: impl Fn() -> Plan) -> Vec<Plan> {
    let of = |input: &Input<'_>| match input.points {
        false => Plan::Copy,
        true => plan(),
    };
    inputs.iter().map(of).collect()
}

/// Whether the dictionaries have more than half as many entries as there are values.
fn repeat_rarely(inputs: &[&Input<'_>]) -> bool {
    let values = |input: &Input<'_>| {
        let pages = input.pages.data.iter();
        let indices = pages.filter(|page| page.is_indices() == Ok(true));
        indices.map(|page| page.header.values).sum::<u64>()
    };
    let entries = |input: &Input<'_>| {
        let page = input.pages.dictionary.as_ref();
        page.map_or(0, |page| page.header.values)
    };
    let all: u64 = inputs.iter().map(|input| entries(input)).sum();
    all * 2 > inputs.iter().map(|input| values(input)).sum::<u64>()
}

/// Whether the first few dictionaries have values in common.
fn shared(target: &Target, inputs: &[&Input<'_>], coder: &mut Coder) -> Sound<bool> {
    let dictionaries = inputs.iter().take(SAMPLE);
    let dictionaries = dictionaries.map(|input| input.dictionary(&target.column, coder));
    let dictionaries: Vec<_> = dictionaries.collect::<Sound<_>>()?;
    let (mut seen, mut all) = (HashSet::new(), 0);
    for dictionary in dictionaries.iter().flatten() {
        all += dictionary.count();
        seen.extend(dictionary.iter());
    }
    Ok(seen.len() * 5 < all * 4)
}

fn is_identity(places: &[u32]) -> bool {
    places.iter().zip(0..).all(|(place, index)| *place == index)
}

impl Page {
    /// A dictionary of `count` values, whose `length` bytes are `body` once compressed as `codec`.
    fn dictionary(codec: Compression, count: u64, length: u64, body: bytes::Bytes) -> Self {
        let layout = PageLayout::Dictionary {
            encoding: super::page::PLAIN,
        };
        Self::new(layout, codec, count, length, body)
    }
}
