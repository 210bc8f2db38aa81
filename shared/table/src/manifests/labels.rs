//! What a manifest says of itself, for those who want it said rightly: header entries that are missing or contradict the manifest
//! list, and fields without ids.

use super::{Content, ManifestFile, header::ManifestHeader};
use crate::avro::{AvroError, AvroType, Container};

/// What is wrong with the labels of a manifest, a line each.
pub(super) fn faults(
    content: &[u8],
    listed: &ManifestFile,
    header: &ManifestHeader,
) -> Result<Vec<String>, AvroError> {
    let container = Container::open(content)?;
    let text = |key: &str| {
        let value = container.metadata(key)?;
        std::str::from_utf8(value).ok()
    };
    let mut faults = Vec::new();
    let version = text("format-version");
    if version.is_none() {
        faults.push("its header has no format-version".to_owned());
    }
    let tracks = match listed.content {
        Content::Data => "data",
        Content::Deletes => "deletes",
    };
    match text("content") {
        Some(said) if said != tracks => faults.push(format!(
            "its header says that its content is '{said}', and its list that it is '{tracks}'"
        )),
        // Manifests of version 1 have no other content than data, and do not say so.
        None if listed.content == Content::Deletes
            || version.is_some_and(|version| version != "1") =>
        {
            faults.push(format!("its header has no content, which is '{tracks}'"));
        }
        _ => {}
    }
    if header.schema.is_none() {
        faults.push("its header has no schema".to_owned());
    }
    if header.partition_spec.is_none() {
        faults.push("its header has no partition spec, or another's than its list says".to_owned());
    }
    let nameless = without_ids(container.schema());
    if nameless > 0 {
        faults.push(format!("{nameless} fields of its Avro schema have no ids"));
    }
    Ok(faults)
}

/// Fields of an entry and of its file that have no ids.
fn without_ids(entry: &AvroType) -> usize {
    let fields = entry.fields().unwrap_or_default();
    let own = fields.iter().filter(|field| field.id.is_none()).count();
    let file = fields
        .iter()
        .find(|field| field.id == Some(2) || field.name == "data_file");
    let in_file = file
        .and_then(|file| file.layout.fields())
        .unwrap_or_default();
    own + in_file.iter().filter(|field| field.id.is_none()).count()
}
