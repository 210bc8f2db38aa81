//! `events`: append-only, 2,000 small files over 5 days × 4 regions in 25 commits. What a streaming writer leaves.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow_array::{
    ArrayRef, Decimal128Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::{DataType, Field};
use iceberg::spec::{
    ListType, Literal, NestedField, PrimitiveType, Schema, Struct, StructType, Transform, Type,
    UnboundPartitionSpec,
};

use super::{DAY_ONE, Definition, MICROS_A_DAY, Written, dice::Dice, writer::TableWriter};

const REGIONS: [&str; 4] = ["ap", "eu", "sa", "us"];
const DAYS: i32 = 5;
const COMMITS: u64 = 25;
const FILES_A_PARTITION_AND_COMMIT: u64 = 4;

/// The table.
pub(super) fn definition() -> Result<Definition> {
    let text = || Type::Primitive(PrimitiveType::String);
    let long = || Type::Primitive(PrimitiveType::Long);
    let amount = PrimitiveType::Decimal {
        precision: 12,
        scale: 2,
    };
    let tag = NestedField::list_element(10, text(), true).into();
    let device = StructType::new(vec![
        NestedField::optional(11, "os", text()).into(),
        NestedField::optional(12, "version", text()).into(),
    ]);
    let at = Type::Primitive(PrimitiveType::Timestamptz);
    let schema = Schema::builder()
        .with_fields(vec![
            NestedField::required(1, "event_id", long()).into(),
            NestedField::required(2, "occurred_at", at).into(),
            NestedField::required(3, "region", text()).into(),
            NestedField::required(4, "user_id", long()).into(),
            NestedField::required(5, "kind", text()).into(),
            NestedField::optional(6, "url", text()).into(),
            NestedField::optional(7, "amount", Type::Primitive(amount)).into(),
            NestedField::optional(8, "tags", Type::List(ListType::new(tag))).into(),
            NestedField::optional(9, "device", Type::Struct(device)).into(),
        ])
        .build()?;
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "day", Transform::Day)?
        .add_partition_field(3, "region", Transform::Identity)?
        .build();
    Ok(Definition {
        name: "events",
        story: "append-only, many small files",
        schema,
        spec,
    })
}

/// Writes its history.
pub(super) async fn fill(writer: &TableWriter, dice: &Dice) -> Result<Written> {
    let mut next_id = 1;
    for commit in 0..COMMITS {
        let mut drafts = Vec::new();
        for day in DAY_ONE..DAY_ONE + DAYS {
            for region in REGIONS {
                for part in 0..FILES_A_PARTITION_AND_COMMIT {
                    let rows = 12 + dice.below(17) as usize;
                    let partition = Struct::from_iter([
                        Some(Literal::date(day)),
                        Some(Literal::string(region)),
                    ]);
                    let columns = columns(writer, dice, next_id, rows, day, region)?;
                    let name = format!("{commit:05}-{part}");
                    drafts.push(writer.rows(&name, partition, columns)?);
                    next_id += rows as i64;
                }
            }
        }
        writer.commit(drafts).await?;
    }
    Ok(Written {
        live_rows: u64::try_from(next_id - 1)?,
    })
}

fn columns(
    writer: &TableWriter,
    dice: &Dice,
    first_id: i64,
    rows: usize,
    day: i32,
    region: &str,
) -> Result<Vec<ArrayRef>> {
    let range = || 0..rows;
    let midnight = i64::from(day) * MICROS_A_DAY;
    let at = range().map(|_| midnight + dice.below(MICROS_A_DAY as u64) as i64);
    let urls = range().map(|_| {
        (!dice.once_in(8)).then(|| {
            let page = dice.below(100_000);
            let session = dice.below(u64::MAX);
            format!("https://shop.example.com/catalogue/articles/{page:06}?session={session:020}")
        })
    });
    let amounts = range().map(|_| dice.once_in(3).then(|| i128::from(dice.below(1_000_000))));
    let kinds = ["view", "click", "search", "cart", "purchase"];
    Ok(vec![
        Arc::new(Int64Array::from_iter_values(
            first_id..first_id + rows as i64,
        )),
        Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("+00:00")),
        Arc::new(StringArray::from_iter_values(range().map(|_| region))),
        Arc::new(Int64Array::from_iter_values(
            range().map(|_| dice.below(5_000) as i64),
        )),
        Arc::new(StringArray::from_iter_values(
            range().map(|_| dice.pick(&kinds)),
        )),
        Arc::new(StringArray::from_iter(urls)),
        Arc::new(Decimal128Array::from_iter(amounts).with_precision_and_scale(12, 2)?),
        tags(writer.arrow_schema().field(7), dice, rows)?,
        device(writer.arrow_schema().field(8), dice, rows)?,
    ])
}

fn tags(field: &Field, dice: &Dice, rows: usize) -> Result<ArrayRef> {
    let DataType::List(element) = field.data_type() else {
        anyhow::bail!("the column of tags is no list");
    };
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Arc::clone(element));
    for _ in 0..rows {
        for _ in 0..dice.below(4) {
            builder
                .values()
                .append_value(dice.pick(&["new", "sale", "mobile", "return", "gift"]));
        }
        builder.append(!dice.once_in(10));
    }
    Ok(Arc::new(builder.finish()))
}

fn device(field: &Field, dice: &Dice, rows: usize) -> Result<ArrayRef> {
    let DataType::Struct(fields) = field.data_type() else {
        anyhow::bail!("the column of devices is no struct");
    };
    let systems = (0..rows).map(|_| Some(dice.pick(&["android", "ios", "linux", "windows"])));
    let versions = (0..rows).map(|_| (!dice.once_in(5)).then(|| format!("{}.0", dice.below(20))));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(systems)),
        Arc::new(StringArray::from_iter(versions)),
    ];
    let structs = StructArray::try_new(fields.clone(), columns, None).context("devices")?;
    Ok(Arc::new(structs))
}
