//! Listings that are begun and never end: whoever is at one for a while notes it first, and takes the note away when it has
//! ended, whatever came of it. Of one who dies the note stays.
//!
//! Notes are written under the lease of the listing itself, so that there is one of them at a time: by a process that has not
//! listed the database before, and else of listings that take long. An idle census writes nothing ([`crate::ListedHere`]). One
//! that ended in part says so, since its place has names that no digest has: a run of its own has to end it, even where the
//! database has become short.

use icepress_coordination::{CensusNote, CoordinationError, Digest, Lease};
use icepress_model::{DatabaseId, Generation, TimestampMs};

use super::digest::number;
use crate::Context;

/// Chances that a listing has before it waits.
const CHANCES: u32 = 2;

/// How often a database's listing was begun in a row without an end, and when last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Begun {
    pub(super) times: u32,
    at: TimestampMs,
    /// Whether a place is kept with what it has seen so far.
    is_in_part: bool,
}

impl Begun {
    /// As it is noted.
    pub(super) async fn of(
        context: &Context,
        database: &DatabaseId,
    ) -> Result<Self, CoordinationError> {
        let note = context.store.census_note(database, CensusNote::Begun);
        Ok(Self::decode(&note.await?))
    }

    /// Whether only a run of its own may list the database: somebody died at it, or stopped in its midst.
    pub(super) fn is_for_a_run_of_its_own(self) -> bool {
        self.times > 0 || self.is_in_part
    }

    /// When it may be begun again; `None` for at any time.
    pub(super) fn waits_until(self, context: &Context) -> Option<TimestampMs> {
        let failures = self
            .times
            .checked_sub(CHANCES - 1)
            .filter(|times| *times > 0)?;
        let until = self.at + context.settings.backoff(failures);
        (until > context.ambient.now()).then_some(until)
    }

    /// Notes that it is begun once more.
    pub(super) async fn note(
        self,
        context: &Context,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
    ) -> Result<(), CoordinationError> {
        let once_more = Self {
            times: self.times.saturating_add(1),
            at: context.ambient.now(),
            ..self
        };
        once_more.put(context, lease, layout, database).await
    }

    /// The same with a place that is kept, or with none.
    pub(super) fn in_part(self, is_in_part: bool) -> Self {
        Self { is_in_part, ..self }
    }

    /// Notes that it has ended, be it in part.
    pub(super) async fn end(
        self,
        context: &Context,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
    ) -> Result<(), CoordinationError> {
        let ended = Self::default().in_part(self.is_in_part);
        ended.put(context, lease, layout, database).await
    }

    async fn put(
        self,
        context: &Context,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
    ) -> Result<(), CoordinationError> {
        let note = self.encode();
        context
            .store
            .put_census_note(lease, layout, database, CensusNote::Begun, &note)
            .await
    }

    fn encode(self) -> Digest {
        if self == Self::default() {
            return Digest::default();
        }
        let mut bytes = u64::from(self.times).to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.at.get().to_le_bytes());
        bytes.push(u8::from(self.is_in_part));
        Digest(bytes)
    }

    /// Reads what [`Begun::encode`] wrote; nothing was begun for anything else.
    fn decode(note: &Digest) -> Self {
        let read = || {
            let (times, rest) = note.0.split_at_checked(8)?;
            let (at, is_in_part) = rest.split_at_checked(8)?;
            Some(Self {
                times: u32::try_from(number(times)).ok()?,
                at: TimestampMs(i64::from_le_bytes(at.try_into().ok()?)),
                is_in_part: is_in_part == [1],
            })
        };
        read().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        for is_in_part in [false, true] {
            let begun = Begun {
                times: 3,
                at: TimestampMs(1_760_000_000_123),
                is_in_part,
            };
            assert_eq!(Begun::decode(&begun.encode()), begun);
        }
        assert_eq!(Begun::default().encode(), Digest::default());
        for other in [vec![], vec![1; 7], vec![255; 40]] {
            assert_eq!(Begun::decode(&Digest(other)), Begun::default());
        }
    }
}
