//! Deleted rows taken out of a page: its levels and values without them.

use std::borrow::Cow;

use parquet::{
    basic::{Encoding, Type},
    schema::types::ColumnDescriptor,
};

use super::{
    Sound,
    dictionary::{Values, fixed_width},
    hybrid::encode,
    levels::{Histograms, Levels, Parts},
    look::bare,
    page::{PLAIN, Page, encoding_of},
    refused,
};

/// What stays of a page.
#[derive(Debug)]
pub(super) struct Kept {
    /// The levels, as the page has them.
    pub(super) levels: Vec<u8>,
    /// Bytes of the repetition levels in them.
    pub(super) repetition_bytes: usize,
    pub(super) histograms: Histograms,
    /// Of each value that the page had, whether it stays.
    pub(super) values: Vec<bool>,
}

impl Kept {
    /// What stays of a page with `count` entries once the rows with these numbers, in order, are gone.
    pub(super) fn of(
        parts: &Parts<'_>,
        column: &ColumnDescriptor,
        count: usize,
        deleted: &[u64],
    ) -> Sound<Self> {
        let Levels {
            repetition,
            definition,
        } = parts.decoded(column, count)?;
        let highest = u32::from(column.max_def_level().unsigned_abs());
        let (mut row, mut next) = (0u64, 0);
        let mut is_kept = true;
        let mut kept = Levels::default();
        let mut values = Vec::with_capacity(count);
        for entry in 0..count {
            if repetition.get(entry).is_none_or(|level| *level == 0) {
                is_kept = deleted.get(next) != Some(&row);
                next += usize::from(!is_kept);
                row += 1;
            }
            let level = definition.get(entry).copied();
            if level.is_none_or(|level| level == highest) {
                values.push(is_kept);
            }
            if is_kept {
                kept.definition.extend(level);
                kept.repetition.extend(repetition.get(entry));
            }
        }
        let stay = match (kept.definition.len(), kept.repetition.len()) {
            (0, 0) => values.iter().filter(|is_kept| **is_kept).count(),
            (definition, repetition) => definition.max(repetition),
        };
        let mut levels = Vec::new();
        parts.put_levels(&kept.repetition, column.max_rep_level(), &mut levels);
        let repetition_bytes = levels.len();
        parts.put_levels(&kept.definition, column.max_def_level(), &mut levels);
        Ok(Self {
            levels,
            repetition_bytes,
            histograms: kept.histograms(column, stay)?,
            values,
        })
    }
}

/// Adds the plain values of a page that stay.
pub(super) fn keep_plain(
    column: &ColumnDescriptor,
    values: &[u8],
    kept: &[bool],
    out: &mut Vec<u8>,
) -> Sound<()> {
    if column.physical_type() == Type::BOOLEAN {
        let bytes = values
            .get(..kept.len().div_ceil(8))
            .ok_or_else(|| refused("plain values don't fill their page"))?;
        let bits = (0..kept.len()).filter(|index| kept[*index]);
        let bits: Vec<bool> = bits
            .map(|index| bytes[index / 8] >> (index % 8) & 1 == 1)
            .collect();
        out.extend(bits.chunks(8).map(|bits| {
            let bits = bits.iter().enumerate();
            bits.fold(0u8, |byte, (place, bit)| byte | u8::from(*bit) << place)
        }));
        return Ok(());
    }
    for (value, is_kept) in plain(column, values, kept.len())?.iter().zip(kept) {
        if *is_kept {
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

/// What becomes of the smallest value, or of the greatest: it may be there many times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct End {
    /// One that is it goes.
    pub(super) goes: bool,
    /// One that is it stays.
    pub(super) stays: bool,
}

impl End {
    /// Notes of each of `values` that is one of `ends` whether it is kept.
    pub(super) fn note<'a>(
        seen: &mut [Self; 2],
        ends: [&[u8]; 2],
        values: impl Iterator<Item = (&'a [u8], bool)>,
    ) {
        for (value, is_kept) in values {
            for (seen, end) in seen.iter_mut().zip(ends) {
                if value == end {
                    seen.goes |= !is_kept;
                    seen.stays |= is_kept;
                }
            }
        }
    }

    /// The same of the plain values of a page.
    pub(super) fn note_plain(
        seen: &mut [Self; 2],
        column: &ColumnDescriptor,
        (values, kept): (&[u8], &[bool]),
        ends: [&[u8]; 2],
    ) -> Sound<()> {
        if column.physical_type() == Type::BOOLEAN {
            let bit = |index: usize| values.get(index / 8).map(|byte| byte >> (index % 8) & 1);
            let values = kept.iter().enumerate().filter_map(|(index, is_kept)| {
                let value: &[u8] = if bit(index)? == 1 { &[1] } else { &[0] };
                Some((value, *is_kept))
            });
            Self::note(seen, ends, values);
            return Ok(());
        }
        let values = plain(column, values, kept.len())?;
        let bared = values.iter().map(|value| bare(column, value));
        Self::note(seen, ends, bared.zip(kept.iter().copied()));
        Ok(())
    }
}

fn plain<'a>(column: &ColumnDescriptor, values: &'a [u8], count: usize) -> Sound<Values<'a>> {
    let width = fixed_width(column.physical_type(), column.type_length());
    Values::new(Cow::Borrowed(values), count as u64, width)
}

/// Indices that stay, in `width` bits.
pub(super) fn keep_indices(indices: &[u32], kept: &[bool], width: u8, out: &mut Vec<u8>) {
    let stay = indices.iter().zip(kept).filter(|(_, is_kept)| **is_kept);
    let stay: Vec<u32> = stay.map(|(index, _)| *index).collect();
    encode(&stay, width, out);
}

/// Fails for a page out of which no value can be taken without its encoder.
pub(super) fn check(page: &Page) -> Sound<()> {
    let encoding = page.encoding()?;
    let is_indices = matches!(
        encoding,
        Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY
    );
    match is_indices || Ok(encoding) == encoding_of(PLAIN) {
        true => Ok(()),
        false => Err(refused("rows are deleted between encoded values")),
    }
}
