//! What rewriting costs at the prices of AWS: what quotas in dollars are reckoned in, wherever the work is done.
//!
//! List prices of us-east-1, in dollars, without free tiers: [Lambda](https://aws.amazon.com/lambda/pricing/) on arm64,
//! [S3](https://aws.amazon.com/s3/pricing/), [DynamoDB](https://aws.amazon.com/dynamodb/pricing/on-demand/) on demand,
//! [SQS](https://aws.amazon.com/sqs/pricing/). What keeping old and new files costs until expiry is not in it, nor what
//! Intelligent-Tiering charges for objects that were read again.

use std::time::Duration;

use icepress_model::{Bytes, Group, NanoDollars};

/// Prices in dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// One GB of memory (10⁹ bytes are not meant: Lambda counts 2³⁰) for one second.
    pub gibibyte_second: f64,
    /// One read of an object.
    pub object_read: f64,
    /// One write of an object or of a part of one.
    pub object_write: f64,
    /// One GiB that is kept for a month where it is read often.
    pub gibibyte_month: f64,
    /// All that a task needs of the state store and the queue: a start, a claim, a report, a message.
    pub task: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            gibibyte_second: 1.333_34e-5,
            object_read: 0.4e-6,
            object_write: 5e-6,
            gibibyte_month: 0.023,
            // Two single writes, two in a transaction, which count twice, six reads, three requests to the queue.
            task: 6.0 * 0.625e-6 + 6.0 * 0.125e-6 + 3.0 * 0.4e-6,
        }
    }
}

/// Bytes of one read of a large object, and of one part of an upload.
const PART: u64 = 64 << 20;

impl Prices {
    /// What so many bytes cost in a month that nobody needs any more.
    pub fn of_storage(&self, bytes: Bytes) -> NanoDollars {
        let gibibytes = bytes.get() as f64 / (1u64 << 30) as f64;
        NanoDollars::from_dollars(gibibytes * self.gibibyte_month)
    }

    /// What so many reads and writes of objects cost.
    pub fn of_requests(&self, reads: u64, writes: u64) -> NanoDollars {
        NanoDollars::from_dollars(self.requests(reads, writes))
    }

    /// What a task costs that makes so many requests, and takes so long on so much memory.
    pub fn of_task(&self, reads: u64, writes: u64, took: Duration, memory: Bytes) -> NanoDollars {
        let compute = took.as_secs_f64() * memory.get() as f64 / (1u64 << 30) as f64;
        NanoDollars::from_dollars(
            compute * self.gibibyte_second + self.requests(reads, writes) + self.task,
        )
    }

    fn requests(&self, reads: u64, writes: u64) -> f64 {
        reads as f64 * self.object_read + writes as f64 * self.object_write
    }

    /// What rewriting a group costs that takes so long on so much memory.
    pub fn of_group(&self, group: &Group, took: Duration, memory: Bytes) -> NanoDollars {
        let parts = |bytes: u64| bytes.div_ceil(PART);
        let inputs = group.inputs.iter().map(|input| parts(input.size.get()));
        let deletes = group.deletes.iter().map(|delete| parts(delete.size.get()));
        // Of each file its end is read first, where the columns' places stand.
        let files = (group.inputs.len() + group.deletes.len()) as u64;
        let reads = inputs.chain(deletes).sum::<u64>() + files;
        let writes = group.expected_outputs() + parts(group.bytes_to_read().get());
        self.of_task(reads, writes, took, memory)
    }
}

/// Prices of keeping objects on S3 Intelligent-Tiering for a month, in dollars
/// ([S3](https://aws.amazon.com/s3/pricing/): its first 50 TB; its gigabytes are of 2³⁰ bytes).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeepingPrices {
    /// A gigabyte in the tier for what was read lately.
    pub frequent_gibibyte: f64,
    /// A gigabyte that nobody has read for 30 days.
    pub infrequent_gibibyte: f64,
    /// Watching over one object, if it is large enough to change its tier.
    pub watched_object: f64,
}

impl Default for KeepingPrices {
    fn default() -> Self {
        Self {
            frequent_gibibyte: 0.023,
            infrequent_gibibyte: 0.0125,
            watched_object: 2.5e-6,
        }
    }
}

impl KeepingPrices {
    /// Smaller objects never change their tier, and are not watched.
    pub const SMALLEST_TIERED: Bytes = Bytes(128 << 10);

    /// What a month of objects costs that somebody reads, by their mean size.
    pub fn of_objects(&self, objects: u64, bytes: Bytes) -> NanoDollars {
        let mean = bytes.get().checked_div(objects).unwrap_or(0);
        let is_watched = mean >= Self::SMALLEST_TIERED.get();
        let watching = if is_watched {
            self.watching(objects)
        } else {
            0.0
        };
        NanoDollars::from_dollars(gibibytes(bytes) * self.frequent_gibibyte + watching)
    }

    /// What watching over so many objects costs in a month.
    pub fn of_watching(&self, objects: u64) -> NanoDollars {
        NanoDollars::from_dollars(self.watching(objects))
    }

    /// What a month costs that bytes nobody reads are kept in the tier of those that are read.
    pub fn of_never_tiering(&self, bytes: Bytes) -> NanoDollars {
        let more = self.frequent_gibibyte - self.infrequent_gibibyte;
        NanoDollars::from_dollars(gibibytes(bytes) * more)
    }

    fn watching(&self, objects: u64) -> f64 {
        objects as f64 * self.watched_object
    }
}

fn gibibytes(bytes: Bytes) -> f64 {
    bytes.get() as f64 / (1u64 << 30) as f64
}

#[cfg(test)]
mod tests;
