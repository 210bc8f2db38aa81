//! Digests in DynamoDB: chunks below the row limit, and a head that says which chunks count.
//!
//! A new digest is written as chunks of a new version; then the head is swapped to it, under the lease; then the old
//! chunks go. A reader that finds chunks of the head's version missing met a swap, and reads again.

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, DeleteRequest, Put, PutRequest, TransactWriteItem, WriteRequest},
};
use icepress_model::{DatabaseId, Generation};

use super::{
    DynamoStore, Result,
    item::{CHUNK_PREFIX, Item, Key, census_of, number, text},
    requests::unreadable,
};
use crate::{
    CensusRecord, Digest, DigestStore, Lease,
    encoding::{self, Fields as _},
    transition,
};

/// Bytes of a chunk: a row may have 400 KB in all.
const CHUNK: usize = 256 * 1024;

/// What the versions of a lease's digests begin with: those of older layouts, and in one layout those of older epochs,
/// sort before those of newer ones.
fn age(lease: &Lease, layout: Generation) -> String {
    format!("{:010}.{:020}", layout.get(), lease.epoch.get())
}

/// The `sk` of a chunk.
fn chunk_key(pk: &str, version: &str, index: usize) -> Key {
    Key {
        pk: pk.to_owned(),
        sk: format!("{CHUNK_PREFIX}{version}#{index:06}"),
    }
}

/// The digest, or the note, in the rows of one `pk`; `None` where chunks are missing.
fn assemble(pk: &str, rows: &[Item]) -> Result<Option<Digest>> {
    let head_key = Key::digest_head(pk);
    let Some(head) = rows
        .iter()
        .find(|row| Key::of(row).as_ref() == Some(&head_key))
    else {
        return Ok(Some(Digest::default()));
    };
    let field = |name| {
        let value = head.number(name).transpose();
        let value = value.unwrap_or_else(|| Err(format!("'{name}' is missing")));
        let value = value
            .and_then(|value| usize::try_from(value).map_err(|_| format!("'{name}' is negative")));
        value.map_err(|message| unreadable(&head_key, message))
    };
    let (chunks, bytes) = (field("chunks")?, field("bytes")?);
    let version = head
        .text("version")
        .map_err(|message| unreadable(&head_key, message))?
        .unwrap_or_default();
    let mut digest = Vec::with_capacity(bytes);
    for index in 0..chunks {
        let key = chunk_key(pk, &version, index);
        let Some(chunk) = rows.iter().find(|row| Key::of(row).as_ref() == Some(&key)) else {
            return Ok(None);
        };
        match chunk.get("digest") {
            Some(AttributeValue::B(part)) => digest.extend_from_slice(part.as_ref()),
            _ => return Err(unreadable(&key, "'digest' is missing".to_owned())),
        }
    }
    if digest.len() != bytes {
        let message = format!("its chunks have {} bytes instead of {bytes}", digest.len());
        return Err(unreadable(&head_key, message));
    }
    Ok(Some(Digest(digest)))
}

impl DynamoStore {
    fn head_action(
        &self,
        lease: &Lease,
        layout: Generation,
        pk: &str,
        version: &str,
        chunks: usize,
        bytes: usize,
    ) -> TransactWriteItem {
        let count = |value| number(i64::try_from(value).unwrap_or(i64::MAX));
        let epoch = number(encoding::signed(lease.epoch.get()));
        let mut head = Key::digest_head(pk).item();
        head.insert("version".to_owned(), text(version));
        head.insert("chunks".to_owned(), count(chunks));
        head.insert("bytes".to_owned(), count(bytes));
        let layout = number(encoding::signed(layout.get()));
        head.insert("epoch".to_owned(), epoch.clone());
        head.insert("layout".to_owned(), layout.clone());
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(head))
            .condition_expression(
                "attribute_not_exists(#pk) OR #layout < :layout OR (#layout = :layout AND #epoch <= :epoch)",
            )
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#epoch", "epoch")
            .expression_attribute_names("#layout", "layout")
            .expression_attribute_values(":epoch", epoch)
            .expression_attribute_values(":layout", layout)
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(put).build()
    }

    /// Removes chunks that the caller picks, of this age and older: a newer owner's may be about to count.
    async fn remove_chunks(
        &self,
        age: &str,
        pk: &str,
        picked: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let query = self
            .query_where(pk, "#sk BETWEEN :first AND :last")
            .projection_expression("#pk, #sk")
            .expression_attribute_values(":first", text(CHUNK_PREFIX))
            .expression_attribute_values(":last", text(format!("{CHUNK_PREFIX}{age}#~")));
        let chunks = self
            .all_of("digest chunks could not be listed", query)
            .await?;
        let keys = chunks.iter().filter_map(Key::of);
        let doomed: Vec<Key> = keys.filter(|key| picked(&key.sk)).collect();
        let deletes = doomed.iter().map(|key| {
            let delete = DeleteRequest::builder()
                .set_key(Some(key.item()))
                .build()
                .expect("its key is set");
            WriteRequest::builder().delete_request(delete).build()
        });
        self.batch_write(deletes.collect()).await
    }
}

#[async_trait]
impl DigestStore for DynamoStore {
    async fn census_record(&self, database: &DatabaseId, record: CensusRecord) -> Result<Digest> {
        let pk = census_of(database, record);
        let mut race = self.race(format!("{pk} could not be read"));
        loop {
            let rows = self.query(&pk, "").await?;
            if let Some(digest) = assemble(&pk, &rows)? {
                return Ok(digest);
            }
            race.lost().await?;
        }
    }

    async fn put_census_record(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        record: CensusRecord,
        content: &Digest,
    ) -> Result<()> {
        let pk = &census_of(database, record);
        let age = age(lease, layout);
        let version = format!("{age}#{}", self.ambient.uuid().simple());
        let chunks = content.0.chunks(CHUNK).enumerate().map(|(index, part)| {
            let mut item = chunk_key(pk, &version, index).item();
            item.insert("digest".to_owned(), AttributeValue::B(Blob::new(part)));
            let put = PutRequest::builder()
                .set_item(Some(item))
                .build()
                .expect("its item is set");
            WriteRequest::builder().put_request(put).build()
        });
        let chunks: Vec<WriteRequest> = chunks.collect();
        let count = chunks.len();
        self.batch_write(chunks).await?;
        let actions = vec![
            self.check_lease(lease),
            self.check_layout(layout),
            self.head_action(lease, layout, pk, &version, count, content.0.len()),
        ];
        let what = format!("{pk} could not be written");
        if let Err(cancelled) = self.transact(&what, actions).await? {
            self.remove_chunks(&age, pk, |key| key.contains(&version))
                .await?;
            return Err(match cancelled.failed(1) {
                true => transition::old_layout(layout),
                false => transition::lost_lease(lease),
            });
        }
        self.remove_chunks(&age, pk, |key| !key.contains(&version))
            .await
    }
}
