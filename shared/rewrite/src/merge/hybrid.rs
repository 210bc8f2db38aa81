//! Parquet's hybrid of run lengths and bit packing, of which levels and dictionary indices consist: read, counted, and
//! written anew with other values.

use super::{Refusal, Sound, refused};

/// Bits that a value may have.
const MOST_BITS: u8 = 32;

/// Values that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// One value again and again.
    Repeated { value: u32, count: usize },
    /// Values of as many bits each, one behind the other.
    Packed { bytes: &'a [u8], count: usize },
}

/// The runs that hold `left` more values of `width` bits.
#[derive(Debug, Clone)]
pub(super) struct Runs<'a> {
    bytes: &'a [u8],
    width: u8,
    left: usize,
}

impl<'a> Runs<'a> {
    /// The runs of `count` values. What pads the last of them is no value.
    pub(super) fn new(bytes: &'a [u8], width: u8, count: usize) -> Sound<Self> {
        if width > MOST_BITS {
            return Err(refused(format_args!("values of {width} bits")));
        }
        Ok(Self {
            bytes,
            width,
            left: count,
        })
    }

    /// The next run; `None` once all values were there.
    pub(super) fn next(&mut self) -> Sound<Option<Run<'a>>> {
        while self.left > 0 {
            let head = self.number()?;
            if head & 1 == 0 {
                let count = (head >> 1).min(self.left);
                let value = self.value()?;
                if count == 0 {
                    continue;
                }
                self.left -= count;
                return Ok(Some(Run::Repeated { value, count }));
            }
            let groups = head >> 1;
            let count = groups.saturating_mul(8).min(self.left);
            let needed = (count * usize::from(self.width)).div_ceil(8);
            // Some writers leave out what pads the last group.
            let whole = groups.saturating_mul(self.width.into());
            let bytes = &self.bytes[..whole.min(self.bytes.len())];
            if bytes.len() < needed {
                return Err(cut_off());
            }
            self.bytes = &self.bytes[bytes.len()..];
            if count == 0 {
                continue;
            }
            self.left -= count;
            return Ok(Some(Run::Packed { bytes, count }));
        }
        Ok(None)
    }

    fn number(&mut self) -> Sound<usize> {
        let mut number = 0u64;
        for (index, byte) in self.bytes.iter().take(5).enumerate() {
            number |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[index + 1..];
                return usize::try_from(number).map_err(|_| cut_off());
            }
        }
        Err(cut_off())
    }

    fn value(&mut self) -> Sound<u32> {
        let length = usize::from(self.width.div_ceil(8));
        let (bytes, rest) = self.bytes.split_at_checked(length).ok_or_else(cut_off)?;
        self.bytes = rest;
        let mut value = [0; 4];
        value[..length].copy_from_slice(bytes);
        Ok(u32::from_le_bytes(value))
    }
}

fn cut_off() -> Refusal {
    refused("levels or indices are cut off")
}

/// Adds `count` values to `out`.
pub(super) fn decode(bytes: &[u8], width: u8, count: usize, out: &mut Vec<u32>) -> Sound<()> {
    let mut runs = Runs::new(bytes, width, count)?;
    while let Some(run) = runs.next()? {
        match run {
            Run::Repeated { value, count } => out.resize(out.len() + count, value),
            Run::Packed { bytes, count } => unpack(bytes, width, count, out),
        }
    }
    Ok(())
}

/// Counts how often each level occurs among `count` of them; returns the first. One above what `histogram` has a place
/// for is refused.
pub(super) fn count_levels(bytes: &[u8], count: usize, histogram: &mut [i64]) -> Sound<u32> {
    let width = bits_of(histogram.len().saturating_sub(1) as u32);
    let mut runs = Runs::new(bytes, width, count)?;
    let (mut first, mut values) = (None, Vec::new());
    let too_high = || refused("a level is higher than any of its column");
    while let Some(run) = runs.next()? {
        match run {
            Run::Repeated { value, count } => {
                first.get_or_insert(value);
                *histogram.get_mut(value as usize).ok_or_else(too_high)? += count as i64;
            }
            Run::Packed { bytes, count } => {
                values.clear();
                unpack(bytes, width, count, &mut values);
                first = first.or(values.first().copied());
                for value in &values {
                    *histogram.get_mut(*value as usize).ok_or_else(too_high)? += 1;
                }
            }
        }
    }
    Ok(first.unwrap_or(0))
}

/// Writes `count` indices anew, each replaced by what `map` has for it, in `new_width` bits. Runs stay runs.
pub(super) fn remap(
    bytes: &[u8],
    width: u8,
    count: usize,
    map: &[u32],
    new_width: u8,
    out: &mut Vec<u8>,
) -> Sound<()> {
    let mut runs = Runs::new(bytes, width, count)?;
    let mut values = Vec::new();
    while let Some(run) = runs.next()? {
        match run {
            Run::Repeated { value, count } => {
                let value = *map.get(value as usize).ok_or_else(beyond)?;
                put_number(out, count << 1);
                out.extend_from_slice(&value.to_le_bytes()[..usize::from(new_width.div_ceil(8))]);
            }
            Run::Packed { bytes, count } => {
                values.clear();
                unpack(bytes, width, count, &mut values);
                for value in &mut values {
                    *value = *map.get(*value as usize).ok_or_else(beyond)?;
                }
                let groups = count.div_ceil(8);
                values.resize(groups * 8, 0);
                put_number(out, (groups << 1) | 1);
                pack(&values, new_width, out);
            }
        }
    }
    Ok(())
}

/// What an index into nowhere is.
pub(super) fn beyond() -> Refusal {
    refused("an index lies beyond its dictionary")
}

/// A run of `count` times `value`, in `width` bits.
pub(super) fn one_run(value: u32, width: u8, count: usize, out: &mut Vec<u8>) {
    put_number(out, count << 1);
    out.extend_from_slice(&value.to_le_bytes()[..usize::from(width.div_ceil(8))]);
}

/// Writes `values`, none of more than `width` bits: what repeats often enough as runs, the rest packed.
pub(super) fn encode(values: &[u32], width: u8, out: &mut Vec<u8>) {
    let run_at = |start: usize| {
        let rest = &values[start..];
        rest.iter().take_while(|value| **value == rest[0]).count()
    };
    let mut start = 0;
    while start < values.len() {
        let run = run_at(start);
        if run >= 8 {
            one_run(values[start], width, run, out);
            start += run;
            continue;
        }
        let mut end = start;
        while end < values.len() && run_at(end) < 8 {
            end = (end + 8).min(values.len());
        }
        let mut packed = values[start..end].to_vec();
        let groups = packed.len().div_ceil(8);
        packed.resize(groups * 8, 0);
        put_number(out, (groups << 1) | 1);
        pack(&packed, width, out);
        start = end;
    }
}

/// How many bits hold every number up to `most`.
pub(super) fn bits_of(most: u32) -> u8 {
    (u32::BITS - most.leading_zeros()) as u8
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Calls a function that is compiled for each width by itself.
macro_rules! of_width {
    ($function:ident, $width:expr, $($argument:expr),*) => {
        of_width!(@ $function, $width, ($($argument),*),
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
    };
    (@ $function:ident, $width:expr, $arguments:tt, $($literal:literal)*) => {
        match $width { $($literal => of_width!(@@ $function, $literal, $arguments),)* _ => {} }
    };
    (@@ $function:ident, $literal:literal, ($($argument:expr),*)) => {
        $function::<$literal>($($argument),*)
    };
}

/// Adds the first `count` values of `bytes`, which are enough for them.
pub(super) fn unpack(bytes: &[u8], width: u8, count: usize, out: &mut Vec<u32>) {
    if width == 0 {
        out.resize(out.len() + count, 0);
        return;
    }
    of_width!(unpack_of, width, bytes, count, out);
}

fn unpack_of<const W: usize>(bytes: &[u8], count: usize, out: &mut Vec<u32>) {
    let mask = ((1u64 << W) - 1) as u32;
    out.reserve(count);
    let mut done = 0;
    // Each value is in the eight bytes from where it begins: groups that have so many behind them are read without a look.
    while done + 8 <= count {
        let start = done / 8 * W;
        let Some(group) = bytes.get(start..start + W + 8) else {
            break;
        };
        let mut values = [0u32; 8];
        for (index, value) in values.iter_mut().enumerate() {
            let bit = index * W;
            let mut word = [0; 8];
            word.copy_from_slice(&group[bit / 8..bit / 8 + 8]);
            *value = (u64::from_le_bytes(word) >> (bit % 8)) as u32 & mask;
        }
        out.extend_from_slice(&values);
        done += 8;
    }
    for index in done..count {
        let bit = index * W;
        let tail = &bytes[bit / 8..];
        let mut word = [0; 8];
        let there = tail.len().min(8);
        word[..there].copy_from_slice(&tail[..there]);
        out.push((u64::from_le_bytes(word) >> (bit % 8)) as u32 & mask);
    }
}

/// Adds values, a multiple of eight of them, of which none has more bits than `width`.
fn pack(values: &[u32], width: u8, out: &mut Vec<u8>) {
    of_width!(pack_of, width, values, out);
}

fn pack_of<const W: usize>(values: &[u32], out: &mut Vec<u8>) {
    out.reserve(values.len() / 8 * W);
    for group in values.chunks_exact(8) {
        let mut words = [0u64; 5];
        for (index, value) in group.iter().enumerate() {
            let bit = index * W;
            let wide = u128::from(*value) << (bit % 64);
            words[bit / 64] |= wide as u64;
            words[bit / 64 + 1] |= (wide >> 64) as u64;
        }
        let mut bytes = [0u8; 40];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&bytes[..W]);
    }
}
