//! A table's entry in Glue: what in it is Iceberg's, and the same entry with another metadata location.

use aws_sdk_glue::{
    error::BuildError,
    types::{Table, TableInput},
};
use icepress_model::MetadataLocation;

const TABLE_TYPE: &str = "table_type";
const METADATA_LOCATION: &str = "metadata_location";
const PREVIOUS_METADATA_LOCATION: &str = "previous_metadata_location";

/// Where an Iceberg table's metadata lies; `None` where the entry is no Iceberg table.
pub(crate) fn metadata_location(entry: &Table) -> Option<MetadataLocation> {
    let parameters = entry.parameters.as_ref()?;
    let is_iceberg = parameters
        .get(TABLE_TYPE)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("iceberg"));
    parameters
        .get(METADATA_LOCATION)
        .filter(|_| is_iceberg)
        .map(|location| MetadataLocation::from(location.as_str()))
}

/// The entry as `UpdateTable` takes it, with nothing changed but the two locations.
///
/// What only Glue sets (times, creator, version, …) has no place in it. Neither have definitions of views, which an
/// Iceberg table's entry does not have.
pub(crate) fn moved(
    entry: Table,
    from: &MetadataLocation,
    to: &MetadataLocation,
) -> Result<TableInput, BuildError> {
    let mut parameters = entry.parameters.unwrap_or_default();
    parameters.insert(METADATA_LOCATION.to_owned(), to.to_string());
    parameters.insert(PREVIOUS_METADATA_LOCATION.to_owned(), from.to_string());
    TableInput::builder()
        .name(entry.name)
        .set_description(entry.description)
        .set_owner(entry.owner)
        .set_last_access_time(entry.last_access_time)
        .set_last_analyzed_time(entry.last_analyzed_time)
        .retention(entry.retention)
        .set_storage_descriptor(entry.storage_descriptor)
        .set_partition_keys(entry.partition_keys)
        .set_view_original_text(entry.view_original_text)
        .set_view_expanded_text(entry.view_expanded_text)
        .set_table_type(entry.table_type)
        .set_parameters(Some(parameters))
        .set_target_table(entry.target_table)
        .set_federated_table(entry.federated_table)
        .build()
}
