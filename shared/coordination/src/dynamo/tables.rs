//! Table state in DynamoDB.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, WriteRequest};
use icepress_model::{BucketId, DatabaseId, MetadataLocation, TableId, TimestampMs};

use super::{
    DynamoStore, Result,
    item::{Item, Key, item_of, number, tables_of, text},
    requests::{Stored, unreadable},
};
use crate::{
    Conclusion, CoordinationError, Home, KeyRange, Lease, ListedRow, MarkOutcome, PartPage, Search,
    TableKey, TableRow, TableStore, TablesPage,
    encoding::{self, Fields as _},
    key::{self, SHARES, hash_of_name},
    transition,
};

/// The index of tables that fall due.
pub(super) const DUE_INDEX: &str = "due";

/// Rows of a page that can't be had, before the store is in trouble, not they.
const MOST_REFUSED: u32 = 3;

/// The most names of one request.
const NAMES_AT_ONCE: usize = 100;

/// The most rows that `BatchGetItem` takes.
const BATCH: i32 = 100;

pub(super) fn encode(row: &TableRow) -> Result<Item> {
    let key = Key::table(&row.table);
    let mut item = item_of(&key, &encoding::encode_table(row))?;
    if row.due_at.is_some() {
        item.insert("due_bucket".to_owned(), text(row.bucket.to_string()));
    }
    Ok(item)
}

fn decode(item: &Item) -> Result<TableRow> {
    encoding::decode_table(item).map_err(|message| {
        let key = Key::of(item).unwrap_or_else(|| Key {
            pk: "a table".to_owned(),
            sk: String::new(),
        });
        unreadable(&key, message)
    })
}

impl DynamoStore {
    pub(super) async fn read_table(&self, table: &TableId) -> Result<Stored<Option<TableRow>>> {
        self.get_stored(&Key::table(table), encoding::decode_table)
            .await
    }

    /// The table's row, without a process whose own row is gone.
    pub(super) async fn read_table_to_plan(
        &self,
        table: &TableId,
    ) -> Result<Stored<Option<TableRow>>> {
        let mut stored = self.read_table(table).await?;
        if let Some(row) = &stored.row
            && let Some(process) = &row.active_process
            && self.get(&Key::process(process)).await?.is_none()
        {
            stored.row = Some(transition::without_lost_process(row));
        }
        Ok(stored)
    }

    /// Keeps a table's name by its hash, before there is a row of the table.
    async fn keep_name(&self, table: &TableId) -> Result<()> {
        let mut item = Key::name(&table.database(), hash_of_name(&table.name)).item();
        item.insert("table_id".to_owned(), text(key::of_table(table)));
        let put = PutRequest::builder()
            .set_item(Some(item))
            .build()
            .expect("its item is set");
        let request = WriteRequest::builder().put_request(put).build();
        self.batch_write(vec![request]).await
    }

    /// Lets go of the name of a table whose row is gone. Where the table has just been made anew, its name is missing
    /// from now on, and found among the rows of its database.
    async fn drop_name(&self, table: &TableId) -> Result<()> {
        let key = Key::name(&table.database(), hash_of_name(&table.name));
        let delete = DeleteRequest::builder()
            .set_key(Some(key.item()))
            .build()
            .expect("its key is set");
        let request = WriteRequest::builder().delete_request(delete).build();
        self.batch_write(vec![request]).await
    }

    /// The keys of a database's tables in one share.
    async fn keys_of_database(&self, database: &DatabaseId, share: u32) -> Result<Vec<String>> {
        let below = format!("{}/", key::of_database(database));
        let query = self
            .query_where(&tables_of(share), "begins_with(#sk, :database)")
            .projection_expression("#pk, #sk")
            .expression_attribute_values(":database", text(below));
        let what = "a database's tables could not be listed";
        let found = self.all_of(what, query).await?;
        Ok(found.iter().filter_map(Key::of).map(|key| key.sk).collect())
    }

    pub(super) async fn mark(
        &self,
        home: Home,
        table: &TableId,
        location: Option<&MetadataLocation>,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        let mut race = self.race(format!("{table} could not be marked"));
        loop {
            let before = self.read_table(table).await?;
            let marked = transition::mark(before.row.as_ref(), home, table, location, due_at);
            let Some(marked) = marked else {
                return Ok(MarkOutcome::AlreadyKnown);
            };
            if before.row.is_none() {
                self.keep_name(table).await?;
            }
            if self.put(encode(&marked)?, before.rev).await? {
                return Ok(MarkOutcome::Marked);
            }
            race.lost().await?;
        }
    }

    /// Rows by key, or why one can't be had: where they are refused together, each is asked for by itself.
    pub(super) async fn rows_of(&self, keys: &[Key]) -> Result<HashMap<Key, Result<Item>>> {
        let together = match self.batch_get(keys).await {
            Ok(rows) => rows,
            Err(error @ CoordinationError::Throttled { .. }) => return Err(error),
            Err(_) => return self.rows_one_by_one(keys).await,
        };
        let rows = together.into_iter();
        Ok(rows
            .filter_map(|row| Some((Key::of(&row)?, Ok(row))))
            .collect())
    }

    async fn rows_one_by_one(&self, keys: &[Key]) -> Result<HashMap<Key, Result<Item>>> {
        let mut rows = HashMap::new();
        let mut refused = 0;
        for key in keys {
            match self.get(key).await {
                Ok(Some(row)) => {
                    rows.insert(key.clone(), Ok(row));
                }
                Ok(None) => {}
                Err(error) if refused < MOST_REFUSED => {
                    refused += 1;
                    rows.insert(key.clone(), Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    async fn due_page(
        &self,
        bucket: BucketId,
        until: Option<TimestampMs>,
        limit: i32,
        from: Option<Item>,
    ) -> Result<DuePage> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .limit(limit)
            .expression_attribute_names("#bucket", "due_bucket")
            .expression_attribute_values(":bucket", text(bucket.to_string()))
            .set_exclusive_start_key(from);
        let query = match until {
            None => query.key_condition_expression("#bucket = :bucket"),
            Some(until) => query
                .key_condition_expression("#bucket = :bucket AND #due <= :until")
                .expression_attribute_names("#due", "due_at")
                .expression_attribute_values(":until", number(until.get())),
        };
        let page = query
            .send()
            .await
            .map_err(|error| self.failed("due tables could not be listed", error))?;
        Ok(DuePage {
            items: page.items.unwrap_or_default(),
            next: page.last_evaluated_key.filter(|key| !key.is_empty()),
        })
    }
}

#[async_trait]
impl TableStore for DynamoStore {
    async fn mark_due(
        &self,
        home: Home,
        table: &TableId,
        location: &MetadataLocation,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        self.mark(home, table, Some(location), due_at).await
    }

    async fn force_due(&self, home: Home, table: &TableId, due_at: TimestampMs) -> Result<()> {
        self.mark(home, table, None, due_at).await?;
        Ok(())
    }

    async fn due_tables(
        &self,
        bucket: BucketId,
        now: TimestampMs,
        limit: usize,
    ) -> Result<Vec<Result<TableRow>>> {
        let mut due: Vec<(i64, Result<TableRow>)> = Vec::new();
        let mut readable = 0;
        let mut from = None;
        while readable < limit {
            let page = self.due_page(bucket, Some(now), BATCH, from).await?;
            let keys: Vec<Key> = page.items.iter().filter_map(Key::of).collect();
            let mut rows = self.rows_of(&keys).await?;
            for key in keys {
                let row = match rows.remove(&key) {
                    Some(Ok(row)) => row,
                    Some(Err(error)) => {
                        due.push((now.get(), Err(error)));
                        continue;
                    }
                    // The index lags: what is not due any more is left out.
                    None => continue,
                };
                let due_at = row.number("due_at").ok().flatten();
                let Some(due_at) = due_at.filter(|due_at| *due_at <= now.get()) else {
                    continue;
                };
                let table = decode(&row);
                // Nor what is another bucket's by now.
                if table.as_ref().is_ok_and(|table| table.bucket != bucket) {
                    continue;
                }
                readable += usize::from(table.is_ok());
                due.push((due_at, table));
                if readable == limit {
                    break;
                }
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        due.sort_by_key(|(due_at, _)| *due_at);
        Ok(due.into_iter().map(|(_, table)| table).collect())
    }

    // Where a page ended says when its last table is due, its share and its key.
    async fn watched_page(&self, bucket: BucketId, from: Option<&str>) -> Result<TablesPage> {
        let start = match from {
            None => None,
            Some(from) => Some(start_of_page(bucket, from).ok_or_else(|| {
                CoordinationError::Configuration {
                    store: "DynamoDB".to_owned(),
                    message: format!("no page of tables begins at '{from}'"),
                }
            })?),
        };
        let page = self.due_page(bucket, None, BATCH, start).await?;
        let keys: Vec<Key> = page.items.iter().filter_map(Key::of).collect();
        let mut rows = self.rows_of(&keys).await?;
        let watched = keys.iter().filter_map(|key| rows.remove(key));
        // The index lags: what is at rest by now, or another bucket's, is left out.
        let watched = watched
            .map(|row| row.and_then(|row| decode(&row)))
            .filter(|row| match row {
                Ok(row) => row.bucket == bucket && row.due_at.is_some(),
                Err(_) => true,
            });
        Ok(TablesPage {
            rows: watched.collect(),
            next: page.next.as_ref().and_then(end_of_page),
        })
    }

    async fn next_due(&self, bucket: BucketId) -> Result<Option<TimestampMs>> {
        let first = self.due_page(bucket, None, 1, None).await?;
        let due_at = first.items.first().map(|item| item.number("due_at"));
        Ok(due_at
            .and_then(|due_at| due_at.ok().flatten())
            .map(TimestampMs))
    }

    async fn table(&self, table: &TableId) -> Result<Option<TableRow>> {
        Ok(self.read_table(table).await?.row)
    }

    async fn tables_by_hash(
        &self,
        database: &DatabaseId,
        hashes: &[u64],
        search: Search,
    ) -> Result<Vec<TableId>> {
        let names: Vec<Key> = hashes
            .iter()
            .map(|hash| Key::name(database, *hash))
            .collect();
        let mut found = Vec::new();
        for some in names.chunks(NAMES_AT_ONCE) {
            // One that can't be had is looked for like one that was never kept.
            let rows = self.rows_of(some).await?;
            found.extend(rows.into_values().flatten());
        }
        let keys: Vec<String> = found
            .iter()
            .filter_map(|item| item.text("table_id").ok().flatten())
            .collect();
        let mut tables = key::tables_by_hash(&keys, database, hashes);
        let mut nameless = hashes.to_vec();
        nameless.retain(|hash| {
            tables
                .iter()
                .all(|table| hash_of_name(&table.name) != *hash)
        });
        if !nameless.is_empty() && search == Search::AmongRows {
            for share in 0..SHARES {
                let keys = self.keys_of_database(database, share).await?;
                tables.extend(key::tables_by_hash(&keys, database, &nameless));
            }
        }
        Ok(tables)
    }

    // A page is what one request brings of one share; where it ended says share and key.
    async fn tables_page(&self, from: Option<&str>) -> Result<TablesPage> {
        let wrong = |from: &str| CoordinationError::Configuration {
            store: "DynamoDB".to_owned(),
            message: format!("no page of tables begins at '{from}'"),
        };
        let (share, after) = match from {
            None => (0, ""),
            Some(from) => {
                let (share, after) = from.split_once('#').ok_or_else(|| wrong(from))?;
                (share.parse::<u32>().map_err(|_| wrong(from))?, after)
            }
        };
        let pk = tables_of(share);
        let start = (!after.is_empty()).then(|| Key {
            pk: pk.clone(),
            sk: after.to_owned(),
        });
        let page = self
            .query_of(&pk)
            .set_exclusive_start_key(start.map(|start| start.item()))
            .send()
            .await
            .map_err(|error| self.failed("tables could not be listed", error))?;
        let last = page.last_evaluated_key.as_ref().and_then(Key::of);
        let next = match last {
            Some(last) => Some(format!("{share}#{}", last.sk)),
            None => (share + 1 < SHARES).then(|| format!("{}#", share + 1)),
        };
        let items = page.items.unwrap_or_default();
        Ok(TablesPage {
            rows: items.iter().map(decode).collect(),
            next,
        })
    }

    fn parts_of_tables(&self) -> u32 {
        SHARES
    }

    async fn tables_of_part(&self, share: u32, range: &KeyRange, limit: usize) -> Result<PartPage> {
        let page = self
            .query_where(&tables_of(share), "#sk BETWEEN :from AND :before")
            .expression_attribute_values(":from", text(&range.from))
            .expression_attribute_values(":before", text(&range.before))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| self.failed("tables could not be listed", error))?;
        let listed = page.items.iter().flatten().filter_map(|item| {
            let Key { sk, .. } = Key::of(item)?;
            // BETWEEN has both ends in it.
            (sk < range.before).then(|| ListedRow {
                key: TableKey::stored(sk),
                row: decode(item),
            })
        });
        let last = page.last_evaluated_key.as_ref().and_then(Key::of);
        Ok(PartPage {
            rest: last.map(|last| range.behind(&last.sk)),
            rows: listed.collect(),
        })
    }

    async fn note_begun(&self, lease: &Lease, seen: &TableRow) -> Result<()> {
        let mut race = self.race(format!(
            "that {} is looked at could not be noted",
            seen.table
        ));
        loop {
            let before = self.read_table(&seen.table).await?;
            let Some(begun) = transition::begin(before.row.as_ref(), lease, seen)? else {
                return Ok(());
            };
            if self.put(encode(&begun)?, before.rev).await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }

    async fn conclude(
        &self,
        lease: &Lease,
        seen: &TableRow,
        conclusion: &Conclusion,
    ) -> Result<()> {
        let what = format!("the conclusion about {} could not be written", seen.table);
        let mut race = self.race(what.clone());
        loop {
            let before = self.read_table_to_plan(&seen.table).await?;
            let after = transition::conclude(before.row.as_ref(), lease, seen, conclusion)?;
            let actions = vec![
                self.check_lease(lease),
                self.put_action(encode(&after)?, before.rev),
            ];
            match self.transact(&what, actions).await? {
                Ok(()) => return Ok(()),
                Err(cancelled) if cancelled.failed(0) => return Err(transition::lost_lease(lease)),
                Err(_) => race.lost().await?,
            }
        }
    }

    async fn forget_table(&self, lease: &Lease, seen: &TableRow) -> Result<bool> {
        let table = &seen.table;
        let what = format!("the row of {table} could not be removed");
        let mut race = self.race(what.clone());
        loop {
            let before = self.read_table_to_plan(table).await?;
            let mut actions = vec![self.check_lease(lease)];
            if let Some(row) = &before.row {
                if !transition::may_forget(row, lease, seen)? {
                    // An old owner is told that it is one, and nothing else.
                    return match self.transact(&what, actions).await? {
                        Ok(()) => Ok(false),
                        Err(_) => Err(transition::lost_lease(lease)),
                    };
                }
                actions.push(self.delete_action(&Key::table(table), before.rev));
            }
            match self.transact(&what, actions).await? {
                Ok(()) => {
                    self.drop_name(table).await?;
                    return Ok(true);
                }
                Err(cancelled) if cancelled.failed(0) => return Err(transition::lost_lease(lease)),
                Err(_) => race.lost().await?,
            }
        }
    }
}

/// What is kept of the key in the index at which a page ended.
fn end_of_page(last: &Item) -> Option<String> {
    let key = Key::of(last)?;
    let due_at = last.number("due_at").ok().flatten()?;
    Some(format!("{due_at} {} {}", key.pk, key.sk))
}

/// The inverse of [`end_of_page`].
fn start_of_page(bucket: BucketId, from: &str) -> Option<Item> {
    let (due_at, key) = from.split_once(' ')?;
    let (pk, sk) = key.split_once(' ')?;
    let key = Key {
        pk: pk.to_owned(),
        sk: sk.to_owned(),
    };
    let mut start = key.item();
    start.insert("due_bucket".to_owned(), text(bucket.to_string()));
    start.insert("due_at".to_owned(), number(due_at.parse::<i64>().ok()?));
    Some(start)
}

struct DuePage {
    items: Vec<Item>,
    next: Option<Item>,
}
