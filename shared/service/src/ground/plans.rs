//! The memory that plans take which are made side by side: each is weighed by the bytes of what it is made of before that is
//! read, and waits until there is room for it.

use std::sync::{Arc, OnceLock};

use icepress_model::Bytes;
use icepress_storage::{Room, RoomTaken};
use serde::{Deserialize, Serialize};

/// What a byte of a manifest takes, which is deflated. `tests/tests/plan_memory.rs` measures it with a counting allocator, and
/// holds plans against it.
const OF_MANIFESTS: u64 = 3;
/// What a byte of a metadata file takes that is not compressed: the text itself, and what is made of it. Measured there too.
const OF_METADATA: u64 = 9;

/// What a plan of a table is made of, and a commit to it, in bytes of its files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    /// Its manifests.
    #[serde(default)]
    pub(crate) manifests: Bytes,
    /// Its metadata file, as it is without compression; nothing where that is not known.
    #[serde(default)]
    pub(crate) metadata: Bytes,
}

impl Sources {
    /// A metadata file of which no more is known than that there is `memory` for it.
    pub(crate) fn of_unknown(memory: Bytes) -> Self {
        Self {
            metadata: Bytes(memory.get() / OF_METADATA),
            ..Self::default()
        }
    }

    /// A metadata file that turned out to be larger: perhaps twice as large.
    pub(crate) fn doubled(self) -> Self {
        Self {
            metadata: Bytes(self.metadata.get().saturating_mul(2)),
            ..self
        }
    }

    /// The memory that they take.
    pub(crate) fn memory(self) -> Bytes {
        let manifests = self.manifests.get().saturating_mul(OF_MANIFESTS);
        let metadata = self.metadata.get().saturating_mul(OF_METADATA);
        Bytes(manifests.saturating_add(metadata))
    }
}

/// The room that plans of one process of the program share. Clones are the same room.
#[derive(Debug, Clone, Default)]
pub struct PlanRoom(Arc<OnceLock<Room>>);

impl PlanRoom {
    /// Waits until a plan of `memory` has its place among others in the room of `all`, and keeps it until the answer is
    /// dropped. What is larger than the room gets all of it, and is alone.
    pub(crate) async fn enter(&self, all: Bytes, memory: Bytes) -> Place<'_> {
        let room = self.0.get_or_init(|| Room::new(all));
        Place {
            room,
            taken: room.enter(memory).await,
        }
    }
}

/// The place of one plan among others, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    room: &'a Room,
    taken: RoomTaken<'a>,
}

impl Place<'_> {
    /// Makes it large enough for a plan of `memory`, unless others would have to leave before: then it is to be given back, with all
    /// that it is for, and waited for anew.
    pub(crate) fn enlarge(&mut self, memory: Bytes) -> bool {
        self.room.enlarge(&mut self.taken, memory)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const ALL: Bytes = Bytes::mebibytes(100);

    #[tokio::test]
    async fn plans_are_made_side_by_side_as_far_as_there_is_room() {
        let room = PlanRoom::default();
        let first = room.enter(ALL, Bytes::mebibytes(60)).await;
        let second = room.enter(ALL, Bytes::mebibytes(30)).await;
        let clone = room.clone();
        let mut third = Box::pin(clone.enter(ALL, Bytes::mebibytes(20)));
        assert!(
            (&mut third).now_or_never().is_none(),
            "there is room for 10 MiB"
        );
        drop(second);
        let third = third.now_or_never().expect("there is room for 40 MiB");
        drop((first, third));
    }

    #[tokio::test]
    async fn a_place_is_enlarged_where_nobody_has_to_leave_for_it() {
        let room = PlanRoom::default();
        let mut first = room.enter(ALL, Bytes::mebibytes(60)).await;
        let mut second = room.enter(ALL, Bytes::mebibytes(20)).await;
        assert!(first.enlarge(Bytes::mebibytes(70)));
        assert!(first.enlarge(Bytes::mebibytes(10)), "it has that");
        assert!(!second.enlarge(Bytes::mebibytes(31)), "10 MiB are left");
        assert!(second.enlarge(Bytes::mebibytes(30)));
        drop(first);
        assert!(second.enlarge(Bytes(u64::MAX)), "it is alone");
        assert!(room.enter(ALL, Bytes(1)).now_or_never().is_none());
    }

    #[tokio::test]
    async fn what_is_larger_than_the_room_is_alone_in_it() {
        let room = PlanRoom::default();
        let small = room.enter(ALL, Bytes(1)).await;
        let mut large = Box::pin(room.enter(ALL, Bytes(u64::MAX)));
        assert!(
            (&mut large).now_or_never().is_none(),
            "somebody is in there"
        );
        drop(small);
        let large = large.now_or_never().expect("it has the room to itself");
        assert!(room.enter(ALL, Bytes(1)).now_or_never().is_none());
        drop(large);
    }
}
