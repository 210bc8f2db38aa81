//! Memory as permits: whoever fetches something waits until there is room for it.

use icepress_model::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A part of a [`Room`], given back when it is dropped.
pub type RoomTaken<'a> = SemaphorePermit<'a>;

/// A permit stands for so many bytes.
const UNIT: u64 = 1 << 10;

/// Room for so many bytes at a time. Who asks first enters first, so that nobody waits for ever; what is larger than all of it
/// enters alone.
#[derive(Debug)]
pub struct Room {
    permits: Semaphore,
    all: u32,
}

impl Room {
    /// Room for `all` bytes.
    pub fn new(all: Bytes) -> Self {
        let all = permits(all);
        Self {
            permits: Semaphore::new(all as usize),
            all,
        }
    }

    /// Waits until there is room for `bytes`, and keeps it until the answer is dropped.
    pub async fn enter(&self, bytes: Bytes) -> RoomTaken<'_> {
        let wanted = permits(bytes).min(self.all);
        self.permits
            .acquire_many(wanted)
            .await
            .expect("the semaphore is never closed")
    }

    /// Makes room for `bytes` out of what was `taken` for fewer, if that needs no wait: who holds room and waits for more of it may
    /// wait for one that waits for him. Whether there was.
    pub fn enlarge<'a>(&'a self, taken: &mut RoomTaken<'a>, bytes: Bytes) -> bool {
        let wanted = permits(bytes).min(self.all) as usize;
        let missing = wanted.saturating_sub(taken.num_permits());
        // Less than all of the room, which is counted by as much.
        match self.permits.try_acquire_many(missing as u32) {
            Ok(more) => {
                taken.merge(more);
                true
            }
            Err(_) => false,
        }
    }
}

fn permits(bytes: Bytes) -> u32 {
    let units = bytes.get().div_ceil(UNIT).max(1);
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
