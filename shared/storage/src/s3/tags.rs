//! Tags of objects, read and set as a whole, as S3 has them.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Tag, Tagging};

use super::Inner;
use crate::{StorageError, StorageErrorKind, location::Location};

/// The object's tags.
pub(super) async fn of(
    inner: &Inner,
    location: &str,
) -> Result<BTreeMap<String, String>, StorageError> {
    let action = "ask for the tags of";
    let request = inner.request(action, location);
    let (bucket, key) = Location::s3(location, action)?;
    let asked = inner.client.get_object_tagging().bucket(bucket).key(key);
    let tags = asked.send().await.map_err(|error| request.failed(&error))?;
    let tags = tags.tag_set().iter();
    Ok(tags
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect())
}

/// Gives the object these tags, and no others.
pub(super) async fn set(
    inner: &Inner,
    location: &str,
    tags: &BTreeMap<String, String>,
) -> Result<(), StorageError> {
    let request = inner.request("tag", location);
    let (bucket, key) = Location::s3(location, "tag")?;
    if tags.is_empty() {
        let deleted = inner.client.delete_object_tagging().bucket(bucket).key(key);
        let deleted = deleted.send().await;
        return deleted.map(drop).map_err(|error| request.failed(&error));
    }
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect::<Result<_, _>>();
    let tagging = tags.and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build());
    let tagging =
        tagging.map_err(|error| request.error(StorageErrorKind::Other, error.to_string()))?;
    let tagged = inner.client.put_object_tagging().bucket(bucket).key(key);
    let tagged = tagged.tagging(tagging).send().await;
    tagged.map(drop).map_err(|error| request.failed(&error))
}
