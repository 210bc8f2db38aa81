//! What becomes of the dictionaries that a column's chunks have.

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

/// So many dictionaries, spread over all, are looked at to see how many values they have in common.
const SAMPLE: usize = 16;
/// A value has so many places in a column, on average, from which on a dictionary is worth it.
const PLACES: f64 = 2.0;
/// How often the range of a number that is looked for is halved.
const HALVINGS: u32 = 40;

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
    if !repeats(target, &with, coder)? {
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

/// Whether values have several places each, on average, once all dictionaries are one.
fn repeats(target: &Target, inputs: &[&Input<'_>], coder: &mut Coder) -> Sound<bool> {
    let values = |input: &Input<'_>| {
        let pages = input.pages.data.iter();
        let indices = pages.filter(|page| page.is_indices() == Ok(true));
        indices.map(|page| page.header.values).sum::<u64>()
    };
    let entries = |input: &Input<'_>| {
        let page = input.pages.dictionary.as_ref();
        page.map_or(0, |page| page.header.values)
    };
    let values = inputs.iter().map(|input| values(input)).sum::<u64>() as f64;
    let entries = inputs.iter().map(|input| entries(input)).sum::<u64>() as f64;
    if entries * PLACES <= values {
        return Ok(true);
    }
    let (mut seen, mut drawn) = (Union::new(), 0);
    for input in inputs.iter().step_by(inputs.len().div_ceil(SAMPLE)) {
        if let Some(dictionary) = input.dictionary(&target.column, coder)? {
            drawn += dictionary.count();
            if seen.add(&dictionary).is_none() {
                break;
            }
        }
    }
    let there = number_of_values(drawn as f64, seen.count() as f64);
    Ok(met(entries, there) * PLACES <= values)
}

/// How many of `there` values are met by so many draws.
fn met(drawn: f64, there: f64) -> f64 {
    match there.is_finite() {
        true => there * -(-drawn / there).exp_m1(),
        false => drawn,
    }
}

/// How many values there are, if `drawn` of them were `distinct` ones: infinitely many where none was met twice. What is met
/// more often than others makes it fewer.
fn number_of_values(drawn: f64, distinct: f64) -> f64 {
    if distinct <= 0.0 || distinct >= drawn {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (distinct, drawn * drawn);
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        match met(drawn, middle) < distinct {
            true => low = middle,
            false => high = middle,
        }
    }
    high
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_met_twice_tells_of_no_end() {
        assert!(number_of_values(1_000.0, 1_000.0).is_infinite());
        assert!(number_of_values(0.0, 0.0).is_infinite());
        assert_eq!(met(7.0, f64::INFINITY), 7.0);
    }

    proptest! {
        /// From what a few draws of so many values have in common, their number is told again.
        #[test]
        fn the_number_of_values_is_told_from_those_met_twice(there in 10.0..1e6f64, share in 0.1..8.0f64) {
            let drawn = there * share;
            let told = number_of_values(drawn, met(drawn, there));
            prop_assert!((told / there - 1.0).abs() < 0.01, "{there} values, told {told}");
        }
    }
}
