//! Partition statistics files: Parquet, with the specification's fields (*Partition Statistics File*), which are others before
//! format version 3 than from it on.

use std::sync::Arc;

use bytes::Bytes as Buffer;
use iceberg::spec::{
    FormatVersion, Literal, NestedField, PrimitiveLiteral, PrimitiveType, StructType, Type,
};
use icepress_model::{SnapshotId, SpecId};
use icepress_rewrite::parquet_schema;
use icepress_table::{PartitionCounts, PartitionStats};
use parquet::{
    basic::{Compression, ZstdLevel},
    column::{reader::ColumnReader, writer::ColumnWriter},
    data_type::{ByteArray, FixedLenByteArray},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        reader::{FileReader as _, SerializedFileReader},
        writer::SerializedFileWriter,
    },
};
use uuid::Uuid;

const PARTITION: i32 = 1;
const SPEC_ID: i32 = 2;
/// What is counted, from field 3 on.
const COUNTED: i32 = 3;

/// The fields of a file's rows.
fn fields(unified: &StructType, version: FormatVersion) -> Vec<Arc<NestedField>> {
    use PrimitiveType::{Int, Long};
    let field = |id, name, kind, required| {
        Arc::new(NestedField::new(id, name, Type::Primitive(kind), required))
    };
    let from_3 = version >= FormatVersion::V3;
    let partition = Type::Struct(unified.clone());
    let mut fields = vec![
        Arc::new(NestedField::required(PARTITION, "partition", partition)),
        field(SPEC_ID, "spec_id", Int, true),
        field(3, "data_record_count", Long, true),
        field(4, "data_file_count", Int, true),
        field(5, "total_data_file_size_in_bytes", Long, true),
        field(6, "position_delete_record_count", Long, from_3),
        field(7, "position_delete_file_count", Int, from_3),
        field(8, "equality_delete_record_count", Long, from_3),
        field(9, "equality_delete_file_count", Int, from_3),
        field(10, "total_record_count", Long, false),
        field(11, "last_updated_at", Long, false),
        field(12, "last_updated_snapshot_id", Long, false),
    ];
    if from_3 {
        fields.push(field(13, "dv_count", Int, true));
    }
    fields
}

/// What a row has in the field with this id, of those that are counted.
fn counted(counts: &PartitionCounts, id: i32) -> Option<i64> {
    match id {
        3 => Some(counts.data_records),
        4 => Some(counts.data_files),
        5 => Some(counts.data_bytes),
        6 => Some(counts.position_records),
        7 => Some(counts.position_files),
        8 => Some(counts.equality_records),
        9 => Some(counts.equality_files),
        // What is left of rows is said nowhere (field 10): Java writes none either, and where it counts on from ours it keeps
        // the number as it was.
        11 => counts.updated.map(|(at, _)| at),
        12 => counts.updated.map(|(_, snapshot)| snapshot.get()),
        13 => Some(counts.vectors),
        _ => None,
    }
}

fn set_counted(counts: &mut PartitionCounts, id: i32, value: Option<i64>) {
    let number = value.unwrap_or(0);
    match id {
        3 => counts.data_records = number,
        4 => counts.data_files = number,
        5 => counts.data_bytes = number,
        6 => counts.position_records = number,
        7 => counts.position_files = number,
        8 => counts.equality_records = number,
        9 => counts.equality_files = number,
        11 => {
            let snapshot = counts
                .updated
                .map_or(SnapshotId(-1), |(_, snapshot)| snapshot);
            counts.updated = value.map(|at| (at, snapshot));
        }
        12 => {
            if let Some((_, snapshot)) = &mut counts.updated {
                *snapshot = SnapshotId(value.unwrap_or(-1));
            }
        }
        13 => counts.vectors = number,
        _ => {}
    }
}

/// Encodes rows. The error is a message for people.
pub(super) fn encode(
    rows: &[PartitionStats],
    unified: &StructType,
    version: FormatVersion,
) -> Result<Vec<u8>, String> {
    let failed = |error: ParquetError| format!("the file can't be written: {error}");
    let fields = fields(unified, version);
    let schema = parquet_schema(&fields).map_err(|error| error.message)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).map_err(failed)?;
    let mut group = writer.next_row_group().map_err(failed)?;
    let partition_fields = unified.fields().iter().enumerate();
    for (place, field) in partition_fields {
        let values = rows.iter().map(|row| match row.partition.get(place) {
            Some(Some(Literal::Primitive(value))) => Some(value),
            _ => None,
        });
        let values: Vec<Option<&PrimitiveLiteral>> = values.collect();
        let mut column = group.next_column().map_err(failed)?;
        if let Some(column) = &mut column {
            put_values(column.untyped(), &values, &field.field_type).map_err(failed)?;
        }
        close(column)?;
    }
    for field in fields.iter().filter(|field| field.id >= SPEC_ID) {
        let values = rows.iter().map(|row| match field.id {
            SPEC_ID => Some(i64::from(row.spec_id.get())),
            id => counted(&row.counts, id),
        });
        let values: Vec<Option<i64>> = values.collect();
        let mut column = group.next_column().map_err(failed)?;
        if let Some(column) = &mut column {
            put_numbers(column.untyped(), &values, field.required).map_err(failed)?;
        }
        close(column)?;
    }
    group.close().map_err(failed)?;
    writer.into_inner().map_err(failed)
}

fn close(column: Option<parquet::file::writer::SerializedColumnWriter<'_>>) -> Result<(), String> {
    match column {
        Some(column) => column
            .close()
            .map_err(|error| format!("the file can't be written: {error}")),
        None => Err("the file has fewer columns than its schema".to_owned()),
    }
}

/// Which values there are, as definition levels.
fn levels<T>(values: &[Option<T>]) -> Vec<i16> {
    values
        .iter()
        .map(|value| i16::from(value.is_some()))
        .collect()
}

fn put_numbers(
    column: &mut ColumnWriter<'_>,
    values: &[Option<i64>],
    required: bool,
) -> Result<(), ParquetError> {
    let levels = (!required).then(|| levels(values));
    let levels = levels.as_deref();
    let there = values.iter().flatten();
    match column {
        ColumnWriter::Int32ColumnWriter(writer) => {
            let narrow = |number: &i64| {
                i32::try_from(*number)
                    .map_err(|_| ParquetError::General(format!("{number} does not fit an int")))
            };
            let numbers = there.map(narrow).collect::<Result<Vec<i32>, _>>()?;
            writer.write_batch(&numbers, levels, None)?;
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let numbers: Vec<i64> = there.copied().collect();
            writer.write_batch(&numbers, levels, None)?;
        }
        _ => return Err(ParquetError::General("a count is no number".to_owned())),
    }
    Ok(())
}

fn put_values(
    column: &mut ColumnWriter<'_>,
    values: &[Option<&PrimitiveLiteral>],
    field_type: &Type,
) -> Result<(), ParquetError> {
    use PrimitiveLiteral as L;
    let levels = levels(values);
    let levels = Some(levels.as_slice());
    let there = values.iter().flatten();
    let misfit = |value: &PrimitiveLiteral| {
        ParquetError::General(format!("{value:?} is no value of the type {field_type}"))
    };
    macro_rules! put {
        ($writer:expr, $kind:ty, $($pattern:pat => $value:expr),+) => {{
            let values = there
                .map(|value| match value {
                    $($pattern => Ok($value),)+
                    other => Err(misfit(other)),
                })
                .collect::<Result<Vec<$kind>, _>>()?;
            $writer.write_batch(&values, levels, None)?;
        }};
    }
    match column {
        ColumnWriter::BoolColumnWriter(writer) => put!(writer, bool, L::Boolean(it) => *it),
        ColumnWriter::Int32ColumnWriter(writer) => put!(
            writer, i32,
            L::Int(it) => *it,
            L::Int128(it) => *it as i32
        ),
        ColumnWriter::Int64ColumnWriter(writer) => put!(
            writer, i64,
            L::Long(it) => *it,
            L::Int128(it) => *it as i64
        ),
        ColumnWriter::FloatColumnWriter(writer) => {
            put!(writer, f32, L::Float(it) => it.into_inner())
        }
        ColumnWriter::DoubleColumnWriter(writer) => {
            put!(writer, f64, L::Double(it) => it.into_inner())
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => put!(
            writer, ByteArray,
            L::String(it) => ByteArray::from(it.as_str()),
            L::Binary(it) => ByteArray::from(it.clone())
        ),
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            let length = writer.get_descriptor().type_length().unsigned_abs() as usize;
            put!(
                writer, FixedLenByteArray,
                L::UInt128(it) => ByteArray::from(it.to_be_bytes().to_vec()).into(),
                L::Int128(it) => ByteArray::from(it.to_be_bytes()[16 - length.min(16)..].to_vec()).into(),
                L::Binary(it) => ByteArray::from(it.clone()).into()
            );
        }
        ColumnWriter::Int96ColumnWriter(_) => {
            return Err(ParquetError::General("no partition is an INT96".to_owned()));
        }
    }
    Ok(())
}

/// The rows of a file, of any version. The error says what can't be read.
pub(super) fn decode(content: Buffer, unified: &StructType) -> Result<Vec<PartitionStats>, String> {
    let failed = |error: ParquetError| error.to_string();
    let reader = SerializedFileReader::new(content).map_err(failed)?;
    let mut rows = Vec::new();
    for place in 0..reader.num_row_groups() {
        let group = reader.get_row_group(place).map_err(failed)?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let first = rows.len();
        let empty = PartitionStats {
            spec_id: SpecId(0),
            partition: vec![None; unified.fields().len()],
            counts: PartitionCounts::default(),
        };
        rows.resize(first + count, empty);
        let mut seen = Vec::new();
        for (number, described) in group.metadata().schema_descr().columns().iter().enumerate() {
            let info = described.self_type().get_basic_info();
            if !info.has_id() {
                continue;
            }
            let id = info.id();
            let column = group.get_column_reader(number).map_err(failed)?;
            let values = values_of(column, count, described.max_def_level())?;
            let rows = &mut rows[first..];
            if described.path().parts().len() > 1 {
                let place = unified.fields().iter().position(|field| field.id == id);
                let Some(place) = place else { continue };
                let kind = &unified.fields()[place].field_type;
                for (row, value) in rows.iter_mut().zip(values) {
                    row.partition[place] = match value {
                        None => None,
                        Some(raw) => Some(Literal::Primitive(
                            literal(raw, kind)
                                .ok_or_else(|| format!("a {kind} is of another type"))?,
                        )),
                    };
                }
                continue;
            }
            seen.push(id);
            for (row, value) in rows.iter_mut().zip(values) {
                let number = match value {
                    None => None,
                    Some(Raw::Int(number)) => Some(i64::from(number)),
                    Some(Raw::Long(number)) => Some(number),
                    Some(_) => return Err(format!("field {id} is no number")),
                };
                match id {
                    SPEC_ID => {
                        let spec = number.and_then(|number| i32::try_from(number).ok());
                        row.spec_id = SpecId(spec.ok_or("a row has no spec_id")?);
                    }
                    id => set_counted(&mut row.counts, id, number),
                }
            }
        }
        if let Some(missing) = (SPEC_ID..COUNTED + 3).find(|id| !seen.contains(id)) {
            return Err(format!("it has no field {missing}"));
        }
    }
    Ok(rows)
}

enum Raw {
    Boolean(bool),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
}

fn values_of(column: ColumnReader, count: usize, most: i16) -> Result<Vec<Option<Raw>>, String> {
    macro_rules! read {
        ($reader:expr, $raw:expr) => {{
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            loop {
                let levels_too = (most > 0).then_some(&mut levels);
                let (rows, _, _) = $reader
                    .read_records(count, levels_too, None, &mut values)
                    .map_err(|error| error.to_string())?;
                if rows == 0 {
                    break;
                }
            }
            if most == 0 {
                levels = vec![0; values.len()];
            }
            let mut values = values.into_iter();
            levels
                .into_iter()
                .map(|level| match level == most {
                    true => values.next().map($raw),
                    false => None,
                })
                .collect()
        }};
    }
    let values: Vec<Option<Raw>> = match column {
        ColumnReader::BoolColumnReader(mut reader) => read!(reader, Raw::Boolean),
        ColumnReader::Int32ColumnReader(mut reader) => read!(reader, Raw::Int),
        ColumnReader::Int64ColumnReader(mut reader) => read!(reader, Raw::Long),
        ColumnReader::FloatColumnReader(mut reader) => read!(reader, Raw::Float),
        ColumnReader::DoubleColumnReader(mut reader) => read!(reader, Raw::Double),
        ColumnReader::ByteArrayColumnReader(mut reader) => {
            read!(reader, |it: ByteArray| Raw::Bytes(it.data().to_vec()))
        }
        ColumnReader::FixedLenByteArrayColumnReader(mut reader) => {
            read!(reader, |it: FixedLenByteArray| Raw::Bytes(
                it.data().to_vec()
            ))
        }
        ColumnReader::Int96ColumnReader(_) => return Err("a column is an INT96".to_owned()),
    };
    if values.len() != count {
        return Err(format!("a column has {} of {count} values", values.len()));
    }
    Ok(values)
}

fn literal(raw: Raw, kind: &Type) -> Option<PrimitiveLiteral> {
    use PrimitiveLiteral as L;
    let Type::Primitive(kind) = kind else {
        return None;
    };
    Some(match (raw, kind) {
        (Raw::Int(it), PrimitiveType::Decimal { .. }) => L::Int128(i128::from(it)),
        (Raw::Long(it), PrimitiveType::Decimal { .. }) => L::Int128(i128::from(it)),
        (Raw::Bytes(it), PrimitiveType::Decimal { .. }) => L::Int128(big_endian(&it)?),
        (Raw::Boolean(it), PrimitiveType::Boolean) => L::Boolean(it),
        (Raw::Int(it), PrimitiveType::Int | PrimitiveType::Date) => L::Int(it),
        // A type that was widened since.
        (Raw::Int(it), PrimitiveType::Long) => L::Long(i64::from(it)),
        (Raw::Float(it), PrimitiveType::Double) => L::Double(f64::from(it).into()),
        (
            Raw::Long(it),
            PrimitiveType::Long
            | PrimitiveType::Time
            | PrimitiveType::Timestamp
            | PrimitiveType::Timestamptz
            | PrimitiveType::TimestampNs
            | PrimitiveType::TimestamptzNs,
        ) => L::Long(it),
        (Raw::Float(it), PrimitiveType::Float) => L::Float(it.into()),
        (Raw::Double(it), PrimitiveType::Double) => L::Double(it.into()),
        (Raw::Bytes(it), PrimitiveType::String) => L::String(String::from_utf8(it).ok()?),
        (Raw::Bytes(it), PrimitiveType::Uuid) => L::UInt128(Uuid::from_slice(&it).ok()?.as_u128()),
        (Raw::Bytes(it), PrimitiveType::Binary | PrimitiveType::Fixed(_)) => L::Binary(it),
        _ => return None,
    })
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if bytes.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [sign; 16];
    let from = 16usize.checked_sub(bytes.len())?;
    whole[from..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

#[cfg(test)]
mod tests;
