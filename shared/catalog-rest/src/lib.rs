//! Catalogs that speak Iceberg's REST protocol: REST servers, S3 Tables, and Glue's REST endpoint.
//!
//! The server makes the metadata: a commit sends requirements and updates, and nothing of ours lies on storage that the
//! server did not accept. What the commit is compared with are the requirements alone, so each carries the table's UUID
//! and the head of every branch that it moves, as they were loaded.
//!
//! * `options` reads the properties, Iceberg's own; `http` sends a request; `auth` signs it (OAuth2, a token, SigV4); `client`
//!   does both, again where that may help;
//! * `base` is what all requests of a catalog share; `catalog` lists, loads and locates; `commit` commits, and finds out what
//!   became of a commit;
//! * `vended` opens a table's files with the credentials that the server hands out for it;
//! * `endpoints` says to which addresses a server may send us; `secrets` asks AWS for secrets that a configuration only names, by the same signed requests.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auth;
mod base;
mod catalog;
mod client;
mod commit;
mod endpoints;
mod errors;
mod http;
mod names;
mod options;
mod secrets;
mod session;
#[cfg(test)]
mod tests;
mod types;
mod vended;

pub use catalog::RestCatalog;
pub use http::HttpClient;
pub use secrets::Secrets;
