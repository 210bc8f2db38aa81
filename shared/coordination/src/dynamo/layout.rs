//! The layout in DynamoDB, and the moving of tables to it.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem};
use icepress_model::{BucketCount, Generation, TableId, TimestampMs};

use super::{
    DynamoStore, Result,
    item::{Item, Key, item_of, number},
    requests::Stored,
    tables,
};
use crate::{Home, Layout, LayoutStore, encoding, layout, transition};

fn encode(layout: &Layout) -> Result<Item> {
    item_of(&Key::layout(), &encoding::encode_layout(layout))
}

impl DynamoStore {
    pub(super) async fn read_layout(&self) -> Result<Stored<Option<Layout>>> {
        self.get_stored(&Key::layout(), encoding::decode_layout)
            .await
    }

    /// That this layout stands.
    pub(super) fn check_layout(&self, layout: Generation) -> TransactWriteItem {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::layout().item()));
        let check = if layout == Generation(0) {
            check
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", "pk")
        } else {
            check
                .condition_expression("#generation = :generation")
                .expression_attribute_names("#generation", "generation")
                .expression_attribute_values(":generation", number(encoding::signed(layout.get())))
        };
        let check = check.build().expect("table, key and condition are set");
        TransactWriteItem::builder().condition_check(check).build()
    }
}

#[async_trait]
impl LayoutStore for DynamoStore {
    async fn layout(&self) -> Result<Option<Layout>> {
        Ok(self.read_layout().await?.row)
    }

    async fn found_layout(&self, buckets: BucketCount) -> Result<Layout> {
        let mut race = self.race("the state table could not be laid out");
        loop {
            if let Some(stands) = self.read_layout().await?.row {
                return Ok(stands);
            }
            let first = Layout::first(buckets);
            if self.put(encode(&first)?, 0).await? {
                return Ok(first);
            }
            race.lost().await?;
        }
    }

    async fn resize(&self, buckets: BucketCount, now: TimestampMs) -> Result<Layout> {
        let mut race = self.race("the number of buckets could not be changed");
        loop {
            let before = self.read_layout().await?;
            let Some(stands) = before.row else {
                return self.found_layout(buckets).await;
            };
            let Some(after) = layout::resize(&stands, buckets) else {
                return Ok(stands);
            };
            let after = after.noted(now);
            if self.put(encode(&after)?, before.rev).await? {
                return Ok(after);
            }
            race.lost().await?;
        }
    }

    async fn settle_layout(&self, generation: Generation) -> Result<bool> {
        let mut race = self.race("the layout could not be settled");
        loop {
            let before = self.read_layout().await?;
            let settled = before.row.and_then(|row| layout::settle(&row, generation));
            let Some(settled) = settled else {
                return Ok(false);
            };
            if self.put(encode(&settled)?, before.rev).await? {
                return Ok(true);
            }
            race.lost().await?;
        }
    }

    async fn rehome(&self, table: &TableId, home: Home) -> Result<bool> {
        let mut race = self.race(format!("{table} could not be moved"));
        loop {
            let before = self.read_table(table).await?;
            let moved = before
                .row
                .as_ref()
                .and_then(|row| transition::rehome(row, home));
            let Some(moved) = moved else {
                return Ok(false);
            };
            if self.put(tables::encode(&moved)?, before.rev).await? {
                return Ok(true);
            }
            race.lost().await?;
        }
    }
}
