//! A theta sketch of the distinct values of a column, as Iceberg's specification has it (*Puffin*, blob type
//! `apache-datasketches-theta-v1`): the least hashes of the values' single-value serializations.
//!
//! What a sketch retains is always cut to its nominal size, so that it is a function of the set of values alone: whatever order
//! they come in, and however they are divided among sketches that are united, the bytes are the same.

use std::fmt;

use datasketches::{
    hash::value::raw_bytes,
    theta::{CompactThetaSketch, ThetaSketch, ThetaSketchBuilder, ThetaUnionBuilder},
};

/// A sketch that values are added to.
#[derive(Debug)]
pub(super) struct Growing(ThetaSketch);

impl Growing {
    pub(super) fn new() -> Result<Self, String> {
        // Nominal size and seed are the libraries' defaults in all languages, which is what readers unite with.
        let built = ThetaSketchBuilder::default().build();
        built.map(Self).map_err(|error| error.to_string())
    }

    /// Adds a value as the specification serializes it. Java's sketches take no empty bytes, and neither do these: an empty
    /// text is no distinct value there.
    pub(super) fn add(&mut self, value: &[u8]) {
        if !value.is_empty() {
            self.0.update(raw_bytes::from_slice(value));
        }
    }

    pub(super) fn finish(mut self) -> Sketch {
        self.0.trim();
        Sketch(self.0.compact(true))
    }
}

/// What is known of the distinct values of a column.
#[derive(Debug, Clone)]
pub struct Sketch(CompactThetaSketch);

impl Sketch {
    /// Reads the content of a blob, whoever wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let read = CompactThetaSketch::deserialize(bytes);
        read.map(Self).map_err(|error| error.to_string())
    }

    /// The content of a blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.serialize()
    }

    /// How many distinct values there are, about: the estimate without its fraction, as Spark writes it down.
    pub fn distinct(&self) -> u64 {
        self.0.estimate() as u64
    }

    /// The sketch of all values that any of `sketches` has seen.
    pub fn union<'a>(sketches: impl IntoIterator<Item = &'a Self>) -> Result<Self, String> {
        let failed = |error: datasketches::error::Error| error.to_string();
        let mut union = ThetaUnionBuilder::default().build().map_err(failed)?;
        for sketch in sketches {
            union.update(&sketch.0).map_err(failed)?;
        }
        Ok(Self(union.to_sketch(true)))
    }
}

impl PartialEq for Sketch {
    fn eq(&self, other: &Self) -> bool {
        self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Sketch {}

impl fmt::Display for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "about {} distinct values", self.distinct())
    }
}
