//! From bytes to manifests and manifest lists.

use std::collections::HashMap;

use bytes::Bytes as Buffer;

use super::{
    Content, Count, Entry, FieldSummary, FileContent, Manifest, ManifestFile, ManifestHeader,
    PartitionKey, TrackedFile,
    avro::{AvroError, Cursor, Result, Scalar, Shape, broken},
    container::Container,
    row_ids::Inheritance,
};

/// The plain values of a record, by field id.
struct Record<'a>(HashMap<i32, Scalar<'a>>);

impl<'a> Record<'a> {
    fn int(&self, id: i32) -> Option<i64> {
        match self.0.get(&id) {
            Some(Scalar::Int(value)) => Some(*value),
            _ => None,
        }
    }

    fn required_int(&self, id: i32) -> Result<i64> {
        self.int(id)
            .ok_or_else(|| AvroError(format!("an entry has no number in field {id}")))
    }

    fn bytes(&self, id: i32) -> Option<&'a [u8]> {
        match self.0.get(&id) {
            Some(Scalar::Bytes(value)) => Some(value),
            _ => None,
        }
    }

    fn text(&self, id: i32) -> Result<Option<String>> {
        match self.bytes(id).map(std::str::from_utf8) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text.to_owned())),
            Some(Err(_)) => broken(format!("the text in field {id} of an entry is no UTF-8")),
        }
    }

    fn required_text(&self, id: i32) -> Result<String> {
        self.text(id)?
            .ok_or_else(|| AvroError(format!("an entry has no text in field {id}")))
    }

    fn count(&self, files: i32, rows: i32) -> Count {
        Count {
            files: self.int(files),
            rows: self.int(rows),
        }
    }
}

fn is_plain(shape: &Shape) -> bool {
    match shape {
        Shape::Union(branches) => branches.iter().all(is_plain),
        Shape::Array(_) | Shape::Map(_) | Shape::Record(_) => false,
        _ => true,
    }
}

/// Decodes a manifest list, of any version.
pub(super) fn manifest_list(file: &[u8]) -> Result<Vec<ManifestFile>> {
    let container = Container::read(file)?;
    let shape = Shape::parse(&container.schema)?;
    let mut manifests = Vec::new();
    for (count, block) in &container.blocks {
        let mut cursor = Cursor::new(block);
        for _ in 0..*count {
            let mut plain = Record(HashMap::new());
            let mut partitions = None;
            cursor.record(&shape, |field, bytes| {
                match field.id {
                    Some(507) => partitions = summaries(&field.shape, bytes)?,
                    Some(id) if is_plain(&field.shape) => {
                        plain.0.insert(id, Cursor::new(bytes).scalar(&field.shape)?);
                    }
                    _ => {}
                }
                Ok(())
            })?;
            manifests.push(ManifestFile {
                path: plain.required_text(500)?,
                length: plain.required_int(501)?,
                spec_id: int32(plain.required_int(502)?)?,
                // Version 1 knows neither deletes nor sequence numbers.
                content: match plain.int(517) {
                    None | Some(0) => Content::Data,
                    Some(1) => Content::Deletes,
                    Some(other) => return broken(format!("a manifest has content {other}")),
                },
                sequence_number: plain.int(515).unwrap_or(0),
                min_sequence_number: plain.int(516).unwrap_or(0),
                added_snapshot_id: plain.required_int(503)?,
                added: plain.count(504, 512),
                existing: plain.count(505, 513),
                deleted: plain.count(506, 514),
                partitions,
                key_metadata: plain.bytes(519).map(<[u8]>::to_vec),
                first_row_id: plain.int(520),
            });
        }
    }
    Ok(manifests)
}

fn summaries(shape: &Shape, bytes: &[u8]) -> Result<Option<Vec<FieldSummary>>> {
    let mut summaries = Vec::new();
    let is_there = Cursor::new(bytes).items(shape, |item, bytes| {
        let mut summary = FieldSummary::default();
        Cursor::new(bytes).record(item, |field, bytes| {
            let value = Cursor::new(bytes).scalar(&field.shape)?;
            match (field.id, value) {
                (Some(509), Scalar::Boolean(value)) => summary.contains_null = value,
                (Some(518), Scalar::Boolean(value)) => summary.contains_nan = Some(value),
                (Some(510), Scalar::Bytes(value)) => summary.lower_bound = Some(value.to_vec()),
                (Some(511), Scalar::Bytes(value)) => summary.upper_bound = Some(value.to_vec()),
                _ => {}
            }
            Ok(())
        })?;
        summaries.push(summary);
        Ok(())
    })?;
    Ok(is_there.then_some(summaries))
}

fn int32(value: i64) -> Result<i32> {
    i32::try_from(value).map_err(|_| AvroError(format!("{value} is no 32-bit number")))
}

const EXISTING: i64 = 0;
const ADDED: i64 = 1;
const DELETED: i64 = 2;

/// Decodes a manifest and lets its entries inherit from `file`, its entry in the manifest list.
pub(super) fn manifest(content: &[u8], file: &ManifestFile) -> Result<Manifest> {
    let container = Container::read(content)?;
    let shape = Shape::parse(&container.schema)?;
    let header = header(&container, &shape, file)?;
    let mut row_ids = Inheritance::new(file);
    let mut entries = Vec::new();
    let mut counted = [Count {
        files: Some(0),
        rows: Some(0),
    }; 3];
    for (count, block) in container.blocks {
        let block = Buffer::from(block);
        let mut cursor = Cursor::new(&block);
        for _ in 0..count {
            let mut plain = Record(HashMap::new());
            let mut raw = None;
            cursor.record(&shape, |field, bytes| {
                match field.id {
                    Some(2) => raw = Some(bytes),
                    Some(id) => {
                        plain.0.insert(id, Cursor::new(bytes).scalar(&field.shape)?);
                    }
                    None => {}
                }
                Ok(())
            })?;
            let Some(raw) = raw else {
                return broken("an entry has no file");
            };
            let status = plain.required_int(0)?;
            let mut tracked = tracked_file(&header, block.slice_ref(raw))?;
            let index = match status {
                ADDED => 0,
                EXISTING => 1,
                DELETED => 2,
                other => return broken(format!("an entry has status {other}")),
            };
            let sum = &mut counted[index];
            sum.files = sum.files.map(|files| files + 1);
            sum.rows = sum
                .rows
                .map(|rows| rows.saturating_add(tracked.rows as i64));
            if status == DELETED {
                continue;
            }
            if header.content == Content::Data {
                tracked.first_row_id = row_ids.first_of(tracked.first_row_id, tracked.rows)?;
            }
            let inherit = |own: Option<i64>| match own {
                Some(own) => Ok(own),
                // As Java does it: what was added takes the manifest's number, and so does all of version 1.
                None if status == ADDED || file.sequence_number == 0 => Ok(file.sequence_number),
                None => broken(format!(
                    "the entry of {} is not new and has no sequence number",
                    tracked.path
                )),
            };
            entries.push(Entry {
                snapshot_id: plain.int(1).unwrap_or(file.added_snapshot_id),
                sequence_number: inherit(plain.int(3))?,
                file_sequence_number: inherit(plain.int(4))?,
                file: tracked,
            });
        }
        if !cursor.is_at_end() {
            return broken("a block has more bytes than records");
        }
    }
    Ok(Manifest {
        header,
        entries,
        counted,
    })
}

fn header(container: &Container, shape: &Shape, file: &ManifestFile) -> Result<ManifestHeader> {
    let Some(data_file) = shape.field(2)? else {
        return broken("its Avro schema has no field 2, the file of an entry");
    };
    let Some(partition) = data_file.shape.field(102)? else {
        return broken("its Avro schema has no field 102, the partition");
    };
    let Some(partition_json) = type_of(&container.schema, 2).and_then(|json| type_of(json, 102))
    else {
        return broken("its Avro schema has no field 102, the partition");
    };
    let content = match container.text("content") {
        None | Some("data") => Content::Data,
        Some("deletes") => Content::Deletes,
        Some(other) => return broken(format!("it has content '{other}'")),
    };
    if content != file.content {
        return broken("it tracks another kind of files than the manifest list says");
    }
    let get = |key: &str| container.header.get(key).cloned();
    let (Some(schema), Some(partition_spec)) = (get("schema"), get("partition-spec")) else {
        return broken("its header lacks schema or partition spec");
    };
    Ok(ManifestHeader {
        content,
        spec_id: file.spec_id,
        schema,
        schema_id: get("schema-id"),
        partition_spec,
        partition_json: partition_json.clone(),
        partition_shape: partition.shape.clone(),
        file_shape: data_file.shape.clone(),
    })
}

/// The type of a field of a record, or of a record in a union, in a schema's JSON.
fn type_of(json: &serde_json::Value, id: i64) -> Option<&serde_json::Value> {
    let record = match json {
        serde_json::Value::Array(branches) => branches
            .iter()
            .find(|branch| branch.get("fields").is_some())?,
        record => record,
    };
    let fields = record.get("fields")?.as_array()?;
    fields
        .iter()
        .find(|field| field.get("field-id").and_then(serde_json::Value::as_i64) == Some(id))?
        .get("type")
}

fn tracked_file(header: &ManifestHeader, raw: Buffer) -> Result<TrackedFile> {
    let mut plain = Record(HashMap::new());
    let mut partition = None;
    Cursor::new(&raw).record(&header.file_shape, |field, bytes| {
        match field.id {
            Some(102) => {
                partition = Some(PartitionKey::decode(header.spec_id, &field.shape, bytes)?);
            }
            Some(id @ (100 | 101 | 103 | 104 | 134 | 142..=145)) => {
                plain.0.insert(id, Cursor::new(bytes).scalar(&field.shape)?);
            }
            _ => {}
        }
        Ok(())
    })?;
    let unsigned = |id: i32| {
        plain.required_int(id).and_then(|value| {
            u64::try_from(value)
                .map_err(|_| AvroError(format!("an entry has {value} in field {id}")))
        })
    };
    let content = match (plain.int(134), header.content) {
        (None | Some(0), Content::Data) => FileContent::Data,
        (Some(1), Content::Deletes) => FileContent::PositionDeletes,
        (Some(2), Content::Deletes) => FileContent::EqualityDeletes,
        (other, _) => return broken(format!("an entry has content {other:?} where it must not")),
    };
    Ok(TrackedFile {
        content,
        path: plain.required_text(100)?,
        format: plain.required_text(101)?,
        partition: partition.ok_or_else(|| AvroError("an entry has no partition".to_owned()))?,
        rows: unsigned(103)?,
        size: unsigned(104)?,
        first_row_id: plain.int(142),
        referenced_data_file: plain.text(143)?,
        blob: plain.int(144).zip(plain.int(145)),
        raw: raw.clone(),
    })
}

/// Null counts by column, where the file has them.
pub(crate) fn null_value_counts(
    shape: &Shape,
    file: &TrackedFile,
) -> Result<Option<HashMap<i32, i64>>> {
    let mut counts = None;
    Cursor::new(&file.raw).record(shape, |field, bytes| {
        if field.id == Some(110) {
            let mut found = HashMap::new();
            let is_there = Cursor::new(bytes).items(&field.shape, |item, bytes| {
                if let (Scalar::Int(column), Scalar::Int(count)) = pair(item, bytes)? {
                    found.insert(int32(column)?, count);
                }
                Ok(())
            })?;
            counts = is_there.then_some(found);
        }
        Ok(())
    })?;
    Ok(counts)
}

/// The bounds of the column `column`, where the file has both.
pub(crate) fn bounds(
    shape: &Shape,
    file: &TrackedFile,
    column: i32,
) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut lower = None;
    let mut upper = None;
    Cursor::new(&file.raw).record(shape, |field, bytes| {
        let found = match field.id {
            Some(125) => &mut lower,
            Some(128) => &mut upper,
            _ => return Ok(()),
        };
        Cursor::new(bytes).items(&field.shape, |item, bytes| {
            match pair(item, bytes)? {
                (Scalar::Int(id), Scalar::Bytes(bound)) if id == i64::from(column) => {
                    *found = Some(bound.to_vec());
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(lower.zip(upper))
}

fn pair<'a>(shape: &Shape, bytes: &'a [u8]) -> Result<(Scalar<'a>, Scalar<'a>)> {
    let mut values = [Scalar::Null; 2];
    let mut place = 0;
    Cursor::new(bytes).record(shape, |field, bytes| {
        if let Some(value) = values.get_mut(place) {
            *value = Cursor::new(bytes).scalar(&field.shape)?;
        }
        place += 1;
        Ok(())
    })?;
    let [key, value] = values;
    Ok((key, value))
}
