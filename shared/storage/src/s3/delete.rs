//! Deleting in batches, with an outcome for each object.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::{Inner, OWN_ATTEMPTS, errors::kind_of};
use crate::{DeleteOutcome, StorageError, StorageErrorKind, location::Location};

/// S3 takes no more in one request.
const BATCH: usize = 1000;

/// Deletes the objects, bucket by bucket. The outcomes are in the order of `locations`.
pub(super) async fn delete_all(inner: &Inner, locations: &[String]) -> Vec<DeleteOutcome> {
    let mut results: Vec<Result<(), StorageError>> = Vec::with_capacity(locations.len());
    let mut by_bucket: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for (index, location) in locations.iter().enumerate() {
        let place = Location::s3(location, "delete");
        results.push(
            place.map(|(bucket, key)| by_bucket.entry(bucket).or_default().push((index, key))),
        );
    }
    for (bucket, keys) in by_bucket {
        for batch in keys.chunks(BATCH) {
            for (index, error) in delete_batch(inner, bucket, batch, locations).await {
                results[index] = Err(error);
            }
        }
    }
    locations
        .iter()
        .zip(results)
        .map(|(location, result)| DeleteOutcome {
            location: location.clone(),
            result,
        })
        .collect()
}

/// Deletes up to [`BATCH`] objects; returns those that failed. What S3 was too busy for is tried again.
async fn delete_batch(
    inner: &Inner,
    bucket: &str,
    batch: &[(usize, &str)],
    locations: &[String],
) -> Vec<(usize, StorageError)> {
    let mut open = batch.to_vec();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let failures = match request(inner, bucket, &open).await {
            Ok(failures) => failures,
            // The whole request failed, after the SDK's own tries.
            Err((kind, message)) => {
                return open
                    .iter()
                    .map(|(index, _)| {
                        (
                            *index,
                            inner
                                .request("delete", &locations[*index])
                                .error(kind, message.clone()),
                        )
                    })
                    .collect();
            }
        };
        let mut failed = Vec::new();
        let mut busy = Vec::new();
        for (index, key) in open {
            let Some((code, message)) = failures.get(key) else {
                continue;
            };
            let kind = kind_of(200, Some(code));
            match kind {
                StorageErrorKind::NotFound => {}
                StorageErrorKind::Throttled | StorageErrorKind::Other if attempt < OWN_ATTEMPTS => {
                    busy.push((index, key));
                }
                _ => {
                    let request = inner.request("delete", &locations[index]);
                    failed.push((index, request.error(kind, format!("{code}: {message}"))));
                }
            }
        }
        if busy.is_empty() {
            return failed;
        }
        // One that is refused is refused again and told then.
        busy.extend(
            failed
                .iter()
                .filter_map(|(index, _)| batch.iter().find(|(other, _)| other == index)),
        );
        open = busy;
        inner.back_off(attempt).await;
    }
}

/// Sends one request; returns code and message for each key that was not deleted.
async fn request(
    inner: &Inner,
    bucket: &str,
    keys: &[(usize, &str)],
) -> Result<BTreeMap<String, (String, String)>, (StorageErrorKind, String)> {
    let mut delete = Delete::builder().quiet(true);
    for (_, key) in keys {
        let object = ObjectIdentifier::builder().key(*key).build();
        delete = delete.objects(
            object.map_err(|error| (StorageErrorKind::InvalidLocation, error.to_string()))?,
        );
    }
    let delete = delete
        .build()
        .map_err(|error| (StorageErrorKind::Other, error.to_string()))?;
    let answer = inner
        .client
        .delete_objects()
        .bucket(bucket)
        .delete(delete)
        .send()
        .await
        .map_err(|error| {
            let error = inner.request("delete", bucket).failed(&error);
            (
                error.kind,
                error
                    .source
                    .map(|source| source.to_string())
                    .unwrap_or_default(),
            )
        })?;
    Ok(answer
        .errors()
        .iter()
        .map(|error| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            (
                text(error.key()),
                (text(error.code()), text(error.message())),
            )
        })
        .collect())
}
