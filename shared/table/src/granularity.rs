//! Of how many data files a position delete file speaks.

use std::str::FromStr;

/// How position deletes are put into files (`write.delete.granularity`). From format version 3 on there are vectors, one a
/// data file, whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteGranularity {
    /// One file a data file: a reader opens no more than it needs. What Iceberg's Spark writers do unless told otherwise.
    File,
    /// One file for many data files of a partition: fewer files.
    Partition,
}

impl DeleteGranularity {
    /// The property's name.
    pub const PROPERTY: &str = "write.delete.granularity";
}

impl FromStr for DeleteGranularity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            text if text.eq_ignore_ascii_case("file") => Ok(Self::File),
            text if text.eq_ignore_ascii_case("partition") => Ok(Self::Partition),
            _ => Err("it must be file or partition".to_owned()),
        }
    }
}
