//! What a file says of one of its columns.

use arrow_schema::DataType;

/// A column of a file, with what is below it.
#[derive(Debug, Clone)]
pub(crate) struct FileColumn {
    /// Its field id, where it has one.
    pub(crate) id: Option<i32>,
    /// Whether the name mapping lists it without an id: it is to be left out.
    pub(crate) is_ignored: bool,
    /// Its name in the file.
    pub(crate) name: String,
    /// How the reader decodes it.
    pub(crate) data_type: DataType,
    /// Its first leaf among the file's leaves.
    pub(crate) first_leaf: usize,
    /// How many leaves it has.
    pub(crate) leaves: usize,
    /// Fields of a struct; the element of a list; key and value of a map.
    pub(crate) children: Vec<FileColumn>,
}
