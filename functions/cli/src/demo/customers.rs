//! `customers`: what change data capture writes. Each round replaces rows by equality deletes on the key and new rows
//! beside them; one delete's key is NULL, which means the rows without an address and no others.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Result;
use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use iceberg::spec::{NestedField, PrimitiveType, Schema, Struct, Type, UnboundPartitionSpec};

use super::{DAY_ONE, Definition, MICROS_A_DAY, Written, dice::Dice, writer::TableWriter};

const FIRST_FILES: i64 = 4;
const ROWS_A_FILE: i64 = 1_000;
const ROUNDS: i64 = 8;
const KEYS_A_ROUND: u64 = 60;
const ID_COLUMN: usize = 0;
const EMAIL_COLUMN: usize = 1;

/// A customer's address, which may be missing.
type Email = Option<String>;

/// The table.
pub(super) fn definition() -> Result<Definition> {
    let text = || Type::Primitive(PrimitiveType::String);
    let at = Type::Primitive(PrimitiveType::Timestamptz);
    let schema = Schema::builder()
        .with_fields(vec![
            NestedField::required(1, "customer_id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::optional(2, "email", text()).into(),
            NestedField::required(3, "name", text()).into(),
            NestedField::required(4, "tier", text()).into(),
            NestedField::required(5, "changed_at", at).into(),
        ])
        .build()?;
    Ok(Definition {
        name: "customers",
        story: "upserts, with equality deletes",
        schema,
        spec: UnboundPartitionSpec::builder().build(),
    })
}

/// Writes its history, and keeps a plain copy of what is live.
pub(super) async fn fill(writer: &TableWriter, dice: &Dice) -> Result<Written> {
    let mut live: BTreeMap<i64, Email> = BTreeMap::new();
    let mut drafts = Vec::new();
    for file in 0..FIRST_FILES {
        let ids: Vec<i64> = (file * ROWS_A_FILE..(file + 1) * ROWS_A_FILE).collect();
        drafts.push(rows(
            writer,
            dice,
            &format!("first-{file}"),
            &ids,
            0,
            &mut live,
        )?);
    }
    writer.commit(drafts).await?;

    for round in 1..=ROUNDS {
        let mut keys: Vec<i64> = (0..KEYS_A_ROUND)
            .map(|_| dice.below((FIRST_FILES * ROWS_A_FILE) as u64) as i64)
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let values = Arc::new(Int64Array::from(keys.clone()));
        let name = format!("round-{round}-deletes");
        let deletes = writer.equality_deletes(&name, Struct::empty(), ID_COLUMN, values)?;
        let name = format!("round-{round}-rows");
        let replaced = rows(writer, dice, &name, &keys, round, &mut live)?;
        writer.commit(vec![deletes, replaced]).await?;
    }

    // Without an address, or with a blocked one: gone.
    let blocked: Vec<Email> = live.values().step_by(97).cloned().collect();
    let keys: Vec<Email> = blocked
        .into_iter()
        .flatten()
        .map(Some)
        .chain([None])
        .collect();
    live.retain(|_, email| !keys.contains(email));
    let values = Arc::new(StringArray::from_iter(keys));
    let deletes =
        writer.equality_deletes("blocked-deletes", Struct::empty(), EMAIL_COLUMN, values)?;
    writer.commit(vec![deletes]).await?;

    // Whoever comes later without an address stays.
    let first_late = FIRST_FILES * ROWS_A_FILE;
    let late: Vec<i64> = (first_late..first_late + ROWS_A_FILE).collect();
    let draft = rows(writer, dice, "late", &late, ROUNDS + 1, &mut live)?;
    writer.commit(vec![draft]).await?;
    Ok(Written {
        live_rows: live.len() as u64,
    })
}

/// A data file of these customers, who are live from now on.
fn rows(
    writer: &TableWriter,
    dice: &Dice,
    name: &str,
    ids: &[i64],
    round: i64,
    live: &mut BTreeMap<i64, Email>,
) -> Result<super::parquet_file::Draft> {
    let emails: Vec<Email> = ids
        .iter()
        .map(|id| (!dice.once_in(25)).then(|| format!("customer{id}.{round}@example.com")))
        .collect();
    live.extend(ids.iter().copied().zip(emails.iter().cloned()));
    let first_names = ["Ada", "Björn", "Chiara", "Daisuke", "Élodie", "Farah"];
    let names = ids
        .iter()
        .map(|id| format!("{} {}", dice.pick(&first_names), id % 700));
    let tiers = ids.iter().map(|_| dice.pick(&["basic", "plus", "pro"]));
    let changed = i64::from(DAY_ONE) * MICROS_A_DAY + round * 3_600_000_000;
    let changes = ids
        .iter()
        .map(|_| changed + dice.below(3_600_000_000) as i64);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(ids.to_vec())),
        Arc::new(StringArray::from_iter(emails)),
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(StringArray::from_iter_values(tiers)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(changes).with_timezone("+00:00")),
    ];
    writer.rows(name, Struct::empty(), columns)
}
