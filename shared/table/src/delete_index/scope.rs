//! The one answer to two questions: does this delete file apply to that data file, and is it still needed?
//!
//! The index answers the first for many files at once; plans, commits and clean-ups all ask here, so that what one takes
//! for deleted no other brings back. Where the specification (*Scan Planning*) and Iceberg's Java library differ, it is as
//! Java has it: what names one data file applies to it in whatever partition (case C62), since its readers go by the path.

/// Where one delete file applies. `P` tells partitions apart, specs included: a number in a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteScope<P = u32> {
    /// Equality delete: older data of the partition.
    EqualityInPartition(P),
    /// Equality delete: older data of the whole table.
    EqualityEverywhere,
    /// Position delete: this data file, which it names.
    PositionOfFile(String),
    /// Position delete: this data file, the only one that the bounds of its paths leave. Bounds may be cut short, and be the
    /// beginning of the path that is meant.
    PositionWithinBounds(String),
    /// Position delete: data files of the partition, whose path lies within the bounds (both ends included), if any are
    /// known.
    PositionInPartition(P, Option<(String, String)>),
    /// Deletion vector: this data file.
    VectorOfFile(String),
}

/// What a manifest says of a delete file that decides where it applies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeleteTraits<'a> {
    pub(crate) is_equality: bool,
    /// Whether it was written under a spec without partition fields.
    pub(crate) is_unpartitioned: bool,
    pub(crate) is_vector: bool,
    pub(crate) referenced: Option<&'a str>,
    /// The least and the greatest path of a position delete file.
    pub(crate) bounds: Option<(&'a str, &'a str)>,
}

/// A data file, as far as delete files care.
#[derive(Debug, Clone, Copy)]
pub struct DataFileAt<'a, P> {
    /// Its path.
    pub path: &'a str,
    /// Its partition.
    pub partition: &'a P,
    /// Its data sequence number.
    pub sequence_number: i64,
}

/// The data files of a table, as far as delete files care.
pub trait DataFiles<P> {
    /// The least data sequence number in a partition.
    fn least_in(&self, partition: &P) -> Option<i64>;
    /// The least data sequence number of all.
    fn least_of_all(&self) -> Option<i64>;
    /// Whether there is a file with this path. It may say so of one that is not there, never deny one that is.
    fn has_path(&self, path: &str) -> bool;
}

/// Whether a delete file is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// No data file can match it.
    No,
    /// A data file matches it, as far as manifests tell.
    Yes,
    /// Only the paths in it could tell.
    Unsure,
}

impl<P: PartialEq> DeleteScope<P> {
    /// The scope of a delete file in a partition.
    pub(crate) fn new(partition: P, traits: DeleteTraits<'_>) -> Self {
        // Above every path that begins with the upper bound, which may be cut short without being rounded up.
        let above = |upper: &str| format!("{upper}{}", char::MAX);
        match (traits.referenced, traits.bounds) {
            _ if traits.is_equality && traits.is_unpartitioned => Self::EqualityEverywhere,
            _ if traits.is_equality => Self::EqualityInPartition(partition),
            (Some(path), _) if traits.is_vector => Self::VectorOfFile(path.to_owned()),
            (Some(path), _) => Self::PositionOfFile(path.to_owned()),
            (None, Some((lower, upper))) if lower == upper => {
                Self::PositionWithinBounds(lower.to_owned())
            }
            (None, bounds) => Self::PositionInPartition(
                partition,
                bounds.map(|(lower, upper)| (lower.to_owned(), above(upper))),
            ),
        }
    }

    /// Whether it deletes by value.
    pub fn is_equality(&self) -> bool {
        matches!(
            self,
            Self::EqualityInPartition(_) | Self::EqualityEverywhere
        )
    }

    /// The one data file that it is about.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::PositionOfFile(path)
            | Self::PositionWithinBounds(path)
            | Self::VectorOfFile(path) => Some(path),
            _ => None,
        }
    }

    /// Whether a delete file of this scope and data sequence number applies to a data file, as readers have it. (Beside a
    /// deletion vector that applies they don't look at position deletes: that is for the caller to know.)
    pub fn applies(&self, sequence_number: i64, data: DataFileAt<'_, P>) -> bool {
        let reaches = match self {
            Self::EqualityEverywhere => true,
            Self::EqualityInPartition(partition) | Self::PositionInPartition(partition, None) => {
                partition == data.partition
            }
            Self::PositionInPartition(partition, Some((lower, upper))) => {
                partition == data.partition
                    && (lower.as_str()..=upper.as_str()).contains(&data.path)
            }
            Self::PositionOfFile(path)
            | Self::PositionWithinBounds(path)
            | Self::VectorOfFile(path) => path == data.path,
        };
        reaches && self.is_in_time(sequence_number, data.sequence_number)
    }

    /// The same, where bounds may be cut short: what is said here not to apply has no row of the data file in it.
    pub fn may_apply(&self, sequence_number: i64, data: DataFileAt<'_, P>) -> bool {
        match self {
            Self::PositionWithinBounds(start) => {
                data.path.starts_with(start.as_str())
                    && self.is_in_time(sequence_number, data.sequence_number)
            }
            _ => self.applies(sequence_number, data),
        }
    }

    /// Whether only the paths in it tell which data files it is about.
    pub fn is_unsure(&self) -> bool {
        matches!(
            self,
            Self::PositionWithinBounds(_) | Self::PositionInPartition(..)
        )
    }

    /// Values delete strictly older rows, positions also those of their own commit.
    fn is_in_time(&self, delete: i64, data: i64) -> bool {
        match self.is_equality() {
            true => data < delete,
            false => data <= delete,
        }
    }

    /// Whether any of `files` needs a delete file of this scope and data sequence number.
    pub fn need(&self, sequence_number: i64, files: &impl DataFiles<P>) -> Need {
        let reaches =
            |least: Option<i64>| least.is_some_and(|least| self.is_in_time(sequence_number, least));
        let (is_needed, sure) = match self {
            Self::EqualityEverywhere => (reaches(files.least_of_all()), Need::Yes),
            Self::EqualityInPartition(partition) => (reaches(files.least_in(partition)), Need::Yes),
            Self::PositionInPartition(partition, _) => {
                (reaches(files.least_in(partition)), Need::Unsure)
            }
            Self::PositionOfFile(path) | Self::VectorOfFile(path) => {
                (files.has_path(path), Need::Yes)
            }
            Self::PositionWithinBounds(path) => match files.has_path(path) {
                true => (true, Need::Yes),
                false => (true, Need::Unsure),
            },
        };
        if is_needed { sure } else { Need::No }
    }
}
