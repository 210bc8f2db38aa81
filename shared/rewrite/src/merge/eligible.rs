//! Whether the columns of a file are in the form in which the table's own would be written, so that their pages may stand
//! beside those of others.

use parquet::{
    basic::{Repetition, Type as PhysicalType},
    schema::types::{ColumnDescriptor, SchemaDescriptor, Type, TypePtr},
};

use super::{Sound, refused};

/// What a leaf lies in, from the top down: how often each may be there, and its field id.
type Way = Vec<(Option<Repetition>, Option<i32>)>;

/// The leaves of a schema with their ways and field ids.
#[derive(Debug)]
pub(super) struct Leaves(Vec<(Option<i32>, Way)>);

impl Leaves {
    pub(super) fn of(schema: &SchemaDescriptor) -> Self {
        let mut leaves = Self(Vec::with_capacity(schema.num_columns()));
        let mut way = Way::new();
        for field in fields_of(schema.root_schema()) {
            leaves.walk(field, &mut way);
        }
        leaves
    }

    fn walk(&mut self, node: &TypePtr, way: &mut Way) {
        let info = node.get_basic_info();
        let id = info.has_id().then(|| info.id());
        way.push((info.has_repetition().then(|| info.repetition()), id));
        if node.is_primitive() {
            self.0.push((id, way.clone()));
        }
        for field in fields_of(node) {
            self.walk(field, way);
        }
        way.pop();
    }
}

fn fields_of(node: &Type) -> &[TypePtr] {
    match node {
        Type::GroupType { fields, .. } => fields,
        Type::PrimitiveType { .. } => &[],
    }
}

/// For each leaf of the table, the leaf of the file that holds it in the very same form, or why there is none.
pub(super) fn same_leaves(table: &SchemaDescriptor, file: &SchemaDescriptor) -> Vec<Sound<usize>> {
    let (wanted, held) = (Leaves::of(table), Leaves::of(file));
    let each = wanted.0.iter().enumerate().map(|(leaf, (id, way))| {
        let column = table.column(leaf);
        let mut same = held.0.iter().enumerate().filter(|(_, (of, _))| of == id);
        let (Some((found, (_, found_way))), None) = (same.next(), same.next()) else {
            return Err(refused("the file does not tell it by its field id"));
        };
        let other = file.column(found);
        let physical = column.physical_type();
        let length = |of: &ColumnDescriptor| match physical {
            PhysicalType::FIXED_LEN_BYTE_ARRAY => of.type_length(),
            _ => 0,
        };
        let is_same = physical == other.physical_type()
            && length(&column) == length(&other)
            && column.max_def_level() == other.max_def_level()
            && column.max_rep_level() == other.max_rep_level()
            && way == found_way;
        if !is_same || physical == PhysicalType::INT96 {
            return Err(refused("the file holds it in another form"));
        }
        Ok(found)
    });
    each.collect()
}
