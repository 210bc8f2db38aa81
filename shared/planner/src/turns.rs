//! Whose turn it is where not all that is worth doing can be done at once (case C64).
//!
//! Worst first alone would keep whatever is not among the worst waiting for as long as something is: a partition that a
//! writer spoils every minute, or one that fails each time. So of four turns two go to the worst, one to whoever has
//! waited longest, and one to chance. A limit says how many have their turn, and never who is worth one.

use icepress_model::SequenceNumber;

/// Turns, of which all kinds come once or twice.
const ROUND: u64 = 4;

/// Puts `worst_first` in the order of turns. `oldest` is the sequence number of the oldest data file that each has; `seed`
/// is another for each plan, and says where the round begins and what chance is.
pub(crate) fn in_turn<T>(
    worst_first: Vec<T>,
    oldest: impl Fn(&T) -> SequenceNumber,
    seed: u64,
) -> Vec<T> {
    let mut by_age: Vec<usize> = (0..worst_first.len()).collect();
    by_age.sort_by_key(|index| oldest(&worst_first[*index]));
    let mut by_chance: Vec<usize> = (0..worst_first.len()).collect();
    by_chance.sort_by_key(|index| mixed(seed ^ mixed(*index as u64)));
    let mut lists = [
        (0..worst_first.len()).collect::<Vec<_>>().into_iter(),
        by_age.into_iter(),
        by_chance.into_iter(),
    ];
    let mut slots: Vec<Option<T>> = worst_first.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(slots.len());
    let mut turn = mixed(seed);
    while ordered.len() < slots.len() {
        let list = match turn % ROUND {
            0 | 2 => &mut lists[0],
            1 => &mut lists[1],
            _ => &mut lists[2],
        };
        // Each list has all of them, so none runs out before everybody had a turn.
        ordered.extend(list.find_map(|index| slots[index].take()));
        turn = turn.wrapping_add(1);
    }
    ordered
}

/// A number that looks like chance (SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(ages: &[i64], seed: u64) -> Vec<usize> {
        let all = (0..ages.len()).collect();
        in_turn(all, |index| SequenceNumber(ages[*index]), seed)
    }

    #[test]
    fn c64_each_has_a_turn_and_only_one() {
        for seed in 0..50 {
            let mut order = order(&[5, 3, 9, 1, 1, 7, 2], seed);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
        }
        assert_eq!(order(&[], 1), Vec::<usize>::new());
    }

    /// With room for one at a time: the worst most often, the one that waits longest often, and each at times.
    #[test]
    fn c64_the_first_turn_goes_round() {
        let ages = [9, 9, 9, 1, 9, 9, 9, 9];
        let mut firsts = [0; 8];
        for seed in 0..1_000 {
            firsts[order(&ages, seed)[0]] += 1;
        }
        assert!((400..700).contains(&firsts[0]), "{firsts:?}");
        assert!((200..400).contains(&firsts[3]), "{firsts:?}");
        assert!(firsts.iter().all(|times| *times > 5), "{firsts:?}");
    }
}
