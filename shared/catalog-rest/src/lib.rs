//! Catalogs that speak Iceberg's REST protocol.
#![cfg_attr(test, allow(clippy::unwrap_used))]
