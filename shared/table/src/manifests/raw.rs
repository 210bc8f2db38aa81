//! Files as their manifest has them: looked into field by field, and carried over as the bytes that they were.

use std::collections::HashMap;

use crate::avro::{AvroError, AvroType, Cursor, Layout, Projection, Skip, Slot, Want};

/// A column's lower and upper bound.
type Bounds = (Vec<u8>, Vec<u8>);

/// How a manifest lays out its files.
#[derive(Debug)]
pub(crate) struct FileLayout {
    layout: AvroType,
    fields: Vec<RawField>,
}

#[derive(Debug)]
pub(super) struct RawField {
    pub(super) id: Option<i32>,
    pub(super) layout: AvroType,
    skip: Skip,
}

impl FileLayout {
    /// That of a file's record, with all ids in it.
    pub(super) fn new(layout: &AvroType) -> Self {
        let fields = layout.fields().into_iter().flatten();
        Self {
            fields: fields
                .map(|field| RawField {
                    id: field.id,
                    layout: field.layout.clone(),
                    skip: Skip::of(&field.layout),
                })
                .collect(),
            layout: layout.clone(),
        }
    }

    /// The fields of a file, each with its bytes.
    pub(super) fn fields_of<'a>(
        &self,
        raw: &'a [u8],
    ) -> Result<Vec<(&RawField, &'a [u8])>, AvroError> {
        let mut cursor = Cursor::new(raw);
        let mut fields = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let before = cursor.rest();
            field.skip.run(&mut cursor)?;
            fields.push((field, &before[..before.len() - cursor.rest().len()]));
        }
        Ok(fields)
    }

    /// The integers of the list with this field id, where the file has it.
    pub(crate) fn integers(&self, raw: &[u8], id: i32) -> Result<Option<Vec<i64>>, AvroError> {
        let projection = Projection::new(&self.layout, "data_file", &|field| {
            if field.id == Some(id) {
                Want::Take(id, Layout::Integers)
            } else {
                Want::Nothing
            }
        })?;
        let mut found = None;
        projection.read(&mut Cursor::new(raw), |_, slot, cursor| {
            let integers = found.insert(Vec::new());
            slot.integers(cursor, |integer| integers.push(integer))
        })?;
        Ok(found)
    }

    /// Null counts by column, where the file has them.
    pub(crate) fn null_value_counts(
        &self,
        raw: &[u8],
    ) -> Result<Option<HashMap<i32, i64>>, AvroError> {
        let mut counts = None;
        self.maps(raw, &[110], |_, slot, cursor| {
            let counts = counts.insert(HashMap::new());
            slot.pairs(cursor, |column, layout, cursor| {
                if let Ok(column) = i32::try_from(column)
                    && let Some(count) = cursor.integer(layout)?
                {
                    counts.insert(column, count);
                }
                Ok(())
            })
        })?;
        Ok(counts)
    }

    /// The bounds of the column `column`, where the file has both.
    pub(crate) fn bounds(&self, raw: &[u8], column: i32) -> Result<Option<Bounds>, AvroError> {
        let mut bounds = [None, None];
        self.maps(raw, &[125, 128], |id, slot, cursor| {
            let bound = &mut bounds[usize::from(id == 128)];
            slot.pairs(cursor, |key, layout, cursor| {
                if key == i64::from(column) && matches!(layout, AvroType::Bytes | AvroType::String)
                {
                    *bound = Some(cursor.bytes()?.to_vec());
                }
                Ok(())
            })
        })?;
        let [lower, upper] = bounds;
        Ok(lower.zip(upper))
    }

    /// Looks into the maps of these field ids.
    fn maps(
        &self,
        raw: &[u8],
        ids: &[i32],
        mut see: impl FnMut(i32, &Slot, &mut Cursor<'_>) -> Result<(), AvroError>,
    ) -> Result<(), AvroError> {
        let projection = Projection::new(&self.layout, "data_file", &|field| match field.id {
            Some(id) if ids.contains(&id) => Want::Take(id, Layout::Pairs),
            _ => Want::Nothing,
        })?;
        projection.read(&mut Cursor::new(raw), |id, slot, cursor| {
            see(id, slot, cursor)
        })
    }
}
