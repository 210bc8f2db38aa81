//! A manifest's header: what is kept of it for the manifests that its entries move to.

use std::sync::Arc;

use serde_json::Value;

use super::{Content, ManifestFile, raw::FileLayout};
use crate::avro::Container;

/// What all entries of a manifest share.
#[derive(Debug, Clone)]
pub(crate) struct ManifestHeader {
    /// As the manifest list has it.
    pub(crate) content: Content,
    /// As the manifest list has it.
    pub(crate) spec_id: i32,
    /// The schema that the manifest was written under, with its id: as it was written, where that is one.
    pub(crate) schema: Option<HeaderSchema>,
    /// The fields of its partition spec, as they were written, where they can be the listed spec's.
    pub(crate) partition_spec: Option<Vec<u8>>,
    /// How files are laid out in it.
    pub(crate) file_layout: Arc<FileLayout>,
}

/// A schema as a manifest's header has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HeaderSchema {
    pub(crate) json: Vec<u8>,
    pub(crate) id: Option<Vec<u8>>,
}

impl ManifestHeader {
    pub(super) fn new(
        container: &Container<'_>,
        listed: &ManifestFile,
        file_layout: Arc<FileLayout>,
    ) -> Self {
        let get = |key: &str| container.metadata(key);
        let json = |key: &str| serde_json::from_slice::<Value>(get(key)?).ok();
        let is_schema = json("schema").is_some_and(|schema| {
            let fields = schema.get("fields").and_then(Value::as_array);
            fields.is_some_and(|fields| !fields.is_empty())
        });
        let schema = get("schema").filter(|_| is_schema);
        let spec_id = get("partition-spec-id").and_then(|id| std::str::from_utf8(id).ok());
        let is_listed_spec = spec_id.is_none_or(|id| id.trim().parse() == Ok(listed.spec_id));
        let is_spec = is_listed_spec && json("partition-spec").is_some_and(|spec| spec.is_array());
        Self {
            content: listed.content,
            spec_id: listed.spec_id,
            schema: schema.map(|json| HeaderSchema {
                json: json.to_vec(),
                id: get("schema-id").map(<[u8]>::to_vec),
            }),
            partition_spec: get("partition-spec")
                .filter(|_| is_spec)
                .map(<[u8]>::to_vec),
            file_layout,
        }
    }
}
