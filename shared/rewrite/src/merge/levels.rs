//! The levels of a page, apart from its values.

use std::borrow::Cow;

use icepress_table::footer::PageLayout;
use parquet::schema::types::ColumnDescriptor;

use super::{
    Sound,
    codec::Coder,
    hybrid::{bits_of, count_levels, decode, encode},
    page::{Page, RLE},
    refused,
};

/// A page taken apart.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where the definition levels and the values begin.
    definition: usize,
    values: usize,
    /// What each kind of level has before its runs: its length, in pages of version 1.
    prefix: usize,
}

impl<'a> Parts<'a> {
    /// Decompresses a data page and finds its parts.
    pub(super) fn of(page: &'a Page, column: &ColumnDescriptor, coder: &mut Coder) -> Sound<Self> {
        let uncompressed = page.header.uncompressed;
        let cut_off = || refused("the levels of a page are cut off");
        match page.header.layout {
            PageLayout::Data {
                definition,
                repetition,
                ..
            } => {
                let bytes = coder.decompress(page.codec, &page.body, uncompressed)?;
                let end = |begin: usize, highest: i16, encoding: u64| {
                    if highest == 0 {
                        return Ok(begin);
                    }
                    if encoding != RLE {
                        return Err(refused("levels that are not run lengths"));
                    }
                    let head = bytes.get(begin..).and_then(|rest| rest.first_chunk::<4>());
                    let length = u32::from_le_bytes(*head.ok_or_else(cut_off)?) as usize;
                    Ok(begin + 4 + length)
                };
                let middle = end(0, column.max_rep_level(), repetition)?;
                let values = end(middle, column.max_def_level(), definition)?;
                if values > bytes.len() {
                    return Err(cut_off());
                }
                Ok(Self {
                    bytes,
                    definition: middle,
                    values,
                    prefix: 4,
                })
            }
            PageLayout::DataV2 {
                definition_bytes,
                repetition_bytes,
                is_compressed,
                ..
            } => {
                let levels = levels_of(page)?;
                let bytes = if is_compressed {
                    let (outside, inside) = page.body.split_at(levels);
                    let length = uncompressed
                        .checked_sub(levels as u64)
                        .ok_or_else(cut_off)?;
                    let values = coder.decompress(page.codec, inside, length)?;
                    Cow::Owned([outside, &values].concat())
                } else {
                    Cow::Borrowed(page.body.as_ref())
                };
                let has_levels = |highest: i16, bytes: u64| highest > 0 || bytes == 0;
                if !has_levels(column.max_rep_level(), repetition_bytes)
                    || !has_levels(column.max_def_level(), definition_bytes)
                {
                    return Err(refused("levels of a column that has none"));
                }
                Ok(Self {
                    bytes,
                    definition: repetition_bytes as usize,
                    values: levels,
                    prefix: 0,
                })
            }
            PageLayout::Dictionary { .. } | PageLayout::Other => Err(refused("no data page")),
        }
    }

    /// Both kinds of levels as they are.
    pub(super) fn levels(&self) -> &[u8] {
        &self.bytes[..self.values]
    }

    pub(super) fn values(&self) -> &[u8] {
        &self.bytes[self.values..]
    }

    /// The levels of its `count` entries; none where there is only one.
    pub(super) fn decoded(&self, column: &ColumnDescriptor, count: usize) -> Sound<Levels> {
        let of = |bytes: &[u8], highest: i16| {
            let mut levels = Vec::new();
            if highest > 0 {
                let width = bits_of(highest.unsigned_abs().into());
                decode(bytes, width, count, &mut levels)?;
            }
            Ok(levels)
        };
        Ok(Levels {
            repetition: of(self.repetition(), column.max_rep_level())?,
            definition: of(self.definition(), column.max_def_level())?,
        })
    }

    /// Adds levels up to `highest` as such a page has them.
    pub(super) fn put_levels(&self, levels: &[u32], highest: i16, out: &mut Vec<u8>) {
        if highest == 0 {
            return;
        }
        let start = out.len();
        out.resize(start + self.prefix, 0);
        encode(levels, bits_of(highest.unsigned_abs().into()), out);
        let length = (out.len() - start - self.prefix) as u32;
        let prefix = &mut out[start..start + self.prefix];
        prefix.copy_from_slice(&length.to_le_bytes()[..self.prefix]);
    }

    fn definition(&self) -> &[u8] {
        let part = &self.bytes[self.definition..self.values];
        part.get(self.prefix..).unwrap_or_default()
    }

    fn repetition(&self) -> &[u8] {
        let part = &self.bytes[..self.definition];
        part.get(self.prefix..).unwrap_or_default()
    }
}

/// Bytes of the levels of a page of version 2.
pub(super) fn levels_of(page: &Page) -> Sound<usize> {
    let PageLayout::DataV2 {
        definition_bytes,
        repetition_bytes,
        ..
    } = page.header.layout
    else {
        return Ok(0);
    };
    definition_bytes
        .checked_add(repetition_bytes)
        .and_then(|levels| usize::try_from(levels).ok())
        .filter(|levels| *levels <= page.body.len())
        .ok_or_else(|| refused("the levels of a page are cut off"))
}

/// Levels, entry by entry; none of a kind of which a column has only one.
#[derive(Debug, Default)]
pub(super) struct Levels {
    pub(super) repetition: Vec<u32>,
    pub(super) definition: Vec<u32>,
}

impl Levels {
    /// How often each occurs among the `count` entries.
    pub(super) fn histograms(&self, column: &ColumnDescriptor, count: usize) -> Sound<Histograms> {
        let mut counted = Histograms::new(column);
        let count_in = |levels: &[u32], highest: i16, places: &mut Vec<i64>| {
            if highest == 0 {
                places[0] = count as i64;
            }
            for level in levels {
                let place = places.get_mut(*level as usize);
                *place.ok_or_else(|| refused("a level is higher than any of its column"))? += 1;
            }
            Ok(())
        };
        count_in(
            &self.definition,
            column.max_def_level(),
            &mut counted.definition,
        )?;
        count_in(
            &self.repetition,
            column.max_rep_level(),
            &mut counted.repetition,
        )?;
        Ok(counted)
    }
}

/// How often each level occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histograms {
    pub(super) definition: Vec<i64>,
    pub(super) repetition: Vec<i64>,
}

impl Histograms {
    pub(super) fn new(column: &ColumnDescriptor) -> Self {
        let places = |highest: i16| vec![0; highest.unsigned_abs() as usize + 1];
        Self {
            definition: places(column.max_def_level()),
            repetition: places(column.max_rep_level()),
        }
    }

    /// Those of a column that lies in no list or struct, of so many entries and NULLs.
    pub(super) fn flat(column: &ColumnDescriptor, count: u64, nulls: u64) -> Self {
        let mut made = Self::new(column);
        made.repetition[0] = count as i64;
        // There is no other level than NULL.
        match made.definition.as_mut_slice() {
            [all] => *all = count as i64,
            [null, .., there] => (*null, *there) = (nulls as i64, count as i64 - nulls as i64),
            [] => {}
        }
        made
    }

    /// Those of a page with `count` entries. One that begins inside of a row is refused: no row could be found by pages.
    pub(super) fn of(parts: &Parts<'_>, column: &ColumnDescriptor, count: usize) -> Sound<Self> {
        let mut counted = Self::new(column);
        if column.max_def_level() > 0 {
            count_levels(parts.definition(), count, &mut counted.definition)?;
        } else {
            counted.definition[0] = count as i64;
        }
        if column.max_rep_level() > 0 {
            let first = count_levels(parts.repetition(), count, &mut counted.repetition)?;
            if first != 0 {
                return Err(refused("a page begins inside of a row"));
            }
        } else {
            counted.repetition[0] = count as i64;
        }
        Ok(counted)
    }

    pub(super) fn add(&mut self, other: &Self) {
        let both = self.definition.iter_mut().chain(&mut self.repetition);
        let more = other.definition.iter().chain(&other.repetition);
        for (sum, more) in both.zip(more) {
            *sum += more;
        }
    }

    /// Takes out what is in `other` and not in `less`.
    pub(super) fn lose(&mut self, other: &Self, less: &Self) {
        let sides = self.definition.iter_mut().chain(&mut self.repetition);
        let before = other.definition.iter().chain(&other.repetition);
        let after = less.definition.iter().chain(&less.repetition);
        for (sum, (before, after)) in sides.zip(before.zip(after)) {
            *sum -= before - after;
        }
    }

    /// Entries.
    pub(super) fn entries(&self) -> u64 {
        self.definition
            .iter()
            .map(|count| count.unsigned_abs())
            .sum()
    }

    /// Entries that have a value.
    pub(super) fn values(&self) -> u64 {
        self.definition
            .last()
            .map_or(0, |count| count.unsigned_abs())
    }

    /// Rows that begin.
    pub(super) fn rows(&self) -> u64 {
        self.repetition
            .first()
            .map_or(0, |count| count.unsigned_abs())
    }
}
