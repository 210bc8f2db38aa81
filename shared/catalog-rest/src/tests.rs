//! The adapter against servers that nobody here wrote: Iceberg's own, and the emulated S3 Tables and Glue.

mod aws;
mod java;
mod long;
mod moves;
mod secrets;
mod servers;
