//! Reading near ranges together: a request has a price and a delay, bytes within a stream have hardly any.

use std::ops::Range;

use bytes::Bytes as Buffer;

/// Ranges with a smaller gap between them are read together.
const MAX_GAP: u64 = 1 << 20;
/// Joining stops here, so that long stretches are read by several requests at a time.
const MAX_JOINED: u64 = 32 << 20;

/// The ranges to read so that all of `ranges` are covered, by their starts. They may overlap where one range alone is
/// longer than what is joined.
pub(crate) fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges
        .iter()
        .filter(|range| !range.is_empty())
        .cloned()
        .collect();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut() {
            Some(last)
                if range.end <= last.end
                    || (range.start <= last.end.saturating_add(MAX_GAP)
                        && range.end - last.start <= MAX_JOINED) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// Cuts `range` out of what was read for [`joined`]. `None` where it isn't covered.
pub(crate) fn cut(
    range: &Range<u64>,
    joined: &[Range<u64>],
    contents: &[Buffer],
) -> Option<Buffer> {
    if range.is_empty() {
        return Some(Buffer::new());
    }
    // The last one that begins early enough; an earlier one may be the one that covers it, where ranges overlap.
    let candidates = joined.partition_point(|candidate| candidate.start <= range.start);
    let index = (0..candidates)
        .rev()
        .find(|index| joined[*index].end >= range.end)?;
    let start = usize::try_from(range.start - joined[index].start).ok()?;
    let length = usize::try_from(range.end - range.start).ok()?;
    let content = contents.get(index)?;
    (start + length <= content.len()).then(|| content.slice(start..start + length))
}

#[cfg(test)]
mod tests;
