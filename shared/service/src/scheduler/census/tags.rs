//! What a catalog calls the states that were seen (ETags), by the hashes of tables' names: 18 bytes and the tag a table.
//!
//! With it a catalog whose listing carries no state answers "as you saw it" for an unchanged table, whoever asks: a
//! function that was just started has seen nothing itself. One that is out of date costs one small load, so they are not
//! written anew for every table that moved.

use std::collections::BTreeMap;

use icepress_coordination::Digest;

use super::digest::{Seen, SeenTables, number};

/// Written anew once one in so many tables has none, or an old one.
const STALE_OF: u64 = 50;

/// The tags of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tags {
    /// By the hash of the name: the hash of the location, and the tag.
    known: BTreeMap<u64, (u64, String)>,
    /// Tables that have a tag which is not among those that were read.
    stale: u64,
}

impl Tags {
    /// Reads what [`Tags::encode`] wrote. What is no whole entry is dropped, with all that follows.
    pub(super) fn decode(note: &Digest) -> Self {
        let mut known = BTreeMap::new();
        let mut rest: &[u8] = &note.0;
        while let Some((head, after)) = rest.split_at_checked(18) {
            let length = usize::from(u16::from_le_bytes([head[16], head[17]]));
            let Some((tag, after)) = after.split_at_checked(length) else {
                break;
            };
            let Ok(tag) = std::str::from_utf8(tag) else {
                break;
            };
            known.insert(number(&head[..8]), (number(&head[8..16]), tag.to_owned()));
            rest = after;
        }
        Self { known, stale: 0 }
    }

    fn encode(&self) -> Digest {
        let mut bytes = Vec::new();
        for (name, (location, tag)) in &self.known {
            let length = u16::try_from(tag.len()).expect("longer ones are not kept");
            bytes.extend_from_slice(&name.to_le_bytes());
            bytes.extend_from_slice(&location.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(tag.as_bytes());
        }
        Digest(bytes)
    }

    /// The tag of a table's state, where that is the state which the digest has: else "as you saw it" would hide a change
    /// that nobody has marked.
    pub(super) fn of(&self, name: u64, last: &SeenTables) -> Option<&str> {
        let (location, tag) = self.known.get(&name)?;
        let is_last = last.contains(&Seen {
            name,
            location: *location,
        });
        is_last.then_some(tag.as_str())
    }

    /// Notes what a table's state is called. A server that calls the same state otherwise each time has no tags that are
    /// worth keeping: only a new state makes an old tag stale.
    pub(super) fn put(&mut self, seen: Seen, tag: Option<String>) {
        let had = self.known.get(&seen.name).map(|(location, _)| *location);
        match tag.filter(|tag| u16::try_from(tag.len()).is_ok()) {
            Some(tag) => {
                self.stale += u64::from(had != Some(seen.location));
                self.known.insert(seen.name, (seen.location, tag));
            }
            None => {
                self.known.remove(&seen.name);
            }
        }
    }

    /// What to keep for the next census; `None` where what is kept is good enough.
    pub(super) fn to_keep(&self, tables: u64) -> Option<Digest> {
        let is_stale = self.stale > 0 && self.stale * STALE_OF >= tables;
        is_stale.then(|| self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: u64, location: u64) -> Seen {
        Seen { name, location }
    }

    #[test]
    fn tags_survive_and_answer_only_for_the_state_that_the_digest_has() {
        let mut tags = Tags::default();
        tags.put(seen(1, 10), Some("\"one\"".to_owned()));
        tags.put(seen(2, 20), Some("W/\"zwei ü\"".to_owned()));
        tags.put(seen(3, 30), None);
        let kept = tags.to_keep(3).expect("all are new");
        let again = Tags::decode(&kept);
        assert_eq!(again.known, tags.known);
        let mut last = SeenTables::default();
        last.insert(seen(1, 10));
        last.insert(seen(2, 21));
        assert_eq!(again.of(1, &last), Some("\"one\""));
        assert_eq!(
            again.of(2, &last),
            None,
            "it moved since, or nobody marked it"
        );
        assert_eq!(again.of(3, &last), None);
        assert_eq!(again.to_keep(3), None, "nothing is new");
        // A torn note gives what is whole.
        let torn = Digest(kept.0[..kept.0.len() - 1].to_vec());
        assert_eq!(Tags::decode(&torn).known.len(), 1);
    }

    #[test]
    fn a_few_that_moved_are_no_reason_to_write_and_new_names_of_old_states_never_are() {
        let mut tags = Tags::default();
        for name in 0..1_000 {
            tags.put(seen(name, 1), Some("a".to_owned()));
        }
        let mut tags = Tags::decode(&tags.to_keep(1_000).unwrap());
        for name in 0..19 {
            tags.put(seen(name, 2), Some("b".to_owned()));
        }
        for name in 500..1_000 {
            tags.put(seen(name, 1), Some("another name of the same".to_owned()));
        }
        assert_eq!(tags.to_keep(1_000), None);
        tags.put(seen(19, 2), Some("b".to_owned()));
        assert!(tags.to_keep(1_000).is_some());
    }
}
