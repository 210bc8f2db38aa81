//! `orders`: by month, with position deletes: four rounds of deletes for whole months, and one for single files.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, StringArray,
    StructArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use iceberg::spec::{
    ListType, Literal, NestedField, PrimitiveType, Schema, Struct, StructType, Transform, Type,
    UnboundPartitionSpec,
};

use super::{DAY_ONE, Definition, MONTH_ONE, Written, dice::Dice, writer::TableWriter};

/// The months' numbers since 1970 with their first days; the demo's year begins with 31, 28 and 31 days.
const MONTHS: [(i32, i32); 3] = [
    (MONTH_ONE, DAY_ONE),
    (MONTH_ONE + 1, DAY_ONE + 31),
    (MONTH_ONE + 2, DAY_ONE + 59),
];
const COMMITS: u64 = 8;
const ROWS_A_FILE: usize = 500;
const ROUNDS_OF_DELETES: u64 = 4;

/// The table.
pub(super) fn definition() -> Result<Definition> {
    let text = || Type::Primitive(PrimitiveType::String);
    let total = PrimitiveType::Decimal {
        precision: 10,
        scale: 2,
    };
    let line = StructType::new(vec![
        NestedField::required(8, "article", text()).into(),
        NestedField::required(9, "quantity", Type::Primitive(PrimitiveType::Int)).into(),
    ]);
    let line = NestedField::list_element(7, Type::Struct(line), true).into();
    let schema = Schema::builder()
        .with_fields(vec![
            NestedField::required(1, "order_id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::required(2, "ordered_on", Type::Primitive(PrimitiveType::Date)).into(),
            NestedField::optional(3, "customer_id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::required(4, "status", text()).into(),
            NestedField::required(5, "total", Type::Primitive(total)).into(),
            NestedField::optional(6, "lines", Type::List(ListType::new(line))).into(),
        ])
        .build()?;
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "ordered_on_month", Transform::Month)?
        .build();
    Ok(Definition {
        name: "orders",
        story: "by month, with position deletes",
        schema,
        spec,
    })
}

/// Writes its history.
pub(super) async fn fill(writer: &TableWriter, dice: &Dice) -> Result<Written> {
    let mut files: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for commit in 0..COMMITS {
        let mut drafts = Vec::new();
        for (number, (month, first_day)) in MONTHS.into_iter().enumerate() {
            let first_id = (commit * 3 + number as u64) as i64 * ROWS_A_FILE as i64 + 1;
            let columns = columns(writer, dice, first_id, first_day)?;
            let name = format!("{commit:05}-rows");
            let draft = writer.rows(&name, partition(month), columns)?;
            files.entry(month).or_default().push(draft.location.clone());
            drafts.push(draft);
        }
        writer.commit(drafts).await?;
    }

    let mut deleted: BTreeSet<(&str, i64)> = BTreeSet::new();
    for round in 0..ROUNDS_OF_DELETES {
        let mut drafts = Vec::new();
        for (month, paths) in &files {
            let mut positions = BTreeSet::new();
            for _ in 0..60 {
                let path = &paths[dice.below(paths.len() as u64) as usize];
                positions.insert((path.as_str(), dice.below(ROWS_A_FILE as u64) as i64));
            }
            let name = format!("{round:05}-deletes");
            let positions: Vec<_> = positions.into_iter().collect();
            deleted.extend(&positions);
            drafts.push(writer.position_deletes(&name, partition(*month), positions)?);
        }
        writer.commit(drafts).await?;
    }
    let mut drafts = Vec::new();
    for (month, paths) in &files {
        let path = paths.first().context("a month without files")?.as_str();
        let positions: Vec<_> = (0..ROWS_A_FILE as i64 / 2).map(|pos| (path, pos)).collect();
        deleted.extend(&positions);
        drafts.push(writer.position_deletes("file-deletes", partition(*month), positions)?);
    }
    writer.commit(drafts).await?;

    let written = COMMITS * MONTHS.len() as u64 * ROWS_A_FILE as u64;
    Ok(Written {
        live_rows: written - deleted.len() as u64,
    })
}

fn partition(month: i32) -> Struct {
    Struct::from_iter([Some(Literal::int(month))])
}

fn columns(
    writer: &TableWriter,
    dice: &Dice,
    first_id: i64,
    first_day: i32,
) -> Result<Vec<ArrayRef>> {
    let rows = || 0..ROWS_A_FILE;
    let days = rows().map(|_| first_day + dice.below(28) as i32);
    let customers = rows().map(|_| (!dice.once_in(20)).then(|| dice.below(4_000) as i64));
    let statuses = rows().map(|_| dice.pick(&["open", "paid", "sent", "returned"]));
    let totals = rows().map(|_| i128::from(dice.below(500_000)));
    Ok(vec![
        Arc::new(Int64Array::from_iter_values(
            first_id..first_id + ROWS_A_FILE as i64,
        )),
        Arc::new(Date32Array::from_iter_values(days)),
        Arc::new(Int64Array::from_iter(customers)),
        Arc::new(StringArray::from_iter_values(statuses)),
        Arc::new(Decimal128Array::from_iter_values(totals).with_precision_and_scale(10, 2)?),
        lines(writer.arrow_schema().field(5), dice)?,
    ])
}

fn lines(field: &Field, dice: &Dice) -> Result<ArrayRef> {
    let DataType::List(element) = field.data_type() else {
        anyhow::bail!("the column of lines is no list");
    };
    let DataType::Struct(fields) = element.data_type() else {
        anyhow::bail!("a line is no struct");
    };
    let lengths: Vec<usize> = (0..ROWS_A_FILE).map(|_| dice.below(4) as usize).collect();
    let total: usize = lengths.iter().sum();
    let articles = (0..total).map(|_| format!("article-{:04}", dice.below(2_000)));
    let quantities = (0..total).map(|_| 1 + dice.below(9) as i32);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(articles)),
        Arc::new(Int32Array::from_iter_values(quantities)),
    ];
    let values = StructArray::try_new(fields.clone(), columns, None)?;
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(element),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        None,
    )?))
}
