//! What can go wrong with the state store or a queue.

use thiserror::Error;

/// A request to the state store or a queue that failed.
#[derive(Debug, Error)]
pub enum CoordinationError {
    /// The write carried an epoch, an attempt or a claim that is not the newest any more: somebody else has taken
    /// over. Stop this piece of work; nothing was written.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The table's row is another bucket's by now, since the number of buckets was changed. Leave the table to the owner
    /// of that one; nothing was written.
    #[error("moved: {0}")]
    Moved(String),
    /// The store could not be reached, throttled us, or failed after retries. It may have taken effect.
    #[error("{store}: {message}")]
    Unavailable {
        /// `DynamoDB`, `SQS` or the SQLite file's path.
        store: String,
        /// What happened.
        message: String,
        /// What the client said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The store asked for fewer requests, for longer than was waited. Nobody's fault: nothing was written, and it is
    /// asked again.
    #[error("{store} asks for fewer requests: {message}")]
    Throttled {
        /// `DynamoDB` or `SQS`.
        store: String,
        /// What was wanted.
        message: String,
    },
    /// A row, or its key, would be larger than the stores keep: it was not sent.
    #[error("row {row} would have {bytes} bytes, and {most} is the most: it was not written")]
    RowTooLarge {
        /// The row's key.
        row: String,
        /// How large it would be.
        bytes: usize,
        /// How large it may be.
        most: usize,
    },
    /// The store itself is not as it should be: no such table, no permission, a file that is no database.
    #[error("{store}: {message}")]
    Configuration {
        /// `DynamoDB`, `SQS` or the SQLite file's path.
        store: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// One row can't be read (case B11). The others can.
    #[error("row {row} can't be read: {message}")]
    UnreadableRow {
        /// The row's key.
        row: String,
        /// What is wrong with it.
        message: String,
    },
}
