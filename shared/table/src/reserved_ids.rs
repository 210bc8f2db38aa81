//! Field ids that the specification keeps for itself (specification, *Reserved Field IDs*), and the names that go with
//! them: no column of a table has one.

/// The greatest id that a table's own columns may have.
const GREATEST_OF_TABLES: i32 = 2_147_483_447;

/// `_pos`: a row's position in its file. What a deletion vector says that it is about.
pub const ROW_POSITION: i32 = 2_147_483_645;
/// `file_path` of position delete files: the data file.
pub const DELETE_FILE_PATH: i32 = 2_147_483_546;
/// `pos` of position delete files: the row in it.
pub const DELETE_POSITION: i32 = 2_147_483_545;
/// `_row_id` of data files: which row a row is (format version 3).
pub const ROW_ID: i32 = 2_147_483_540;
/// `_last_updated_sequence_number` of data files: when the row changed last (format version 3).
pub const LAST_UPDATED: i32 = 2_147_483_539;

/// Name of [`DELETE_FILE_PATH`].
pub const DELETE_FILE_PATH_NAME: &str = "file_path";
/// Name of [`DELETE_POSITION`].
pub const DELETE_POSITION_NAME: &str = "pos";
/// Name of [`ROW_ID`].
pub const ROW_ID_NAME: &str = "_row_id";
/// Name of [`LAST_UPDATED`].
pub const LAST_UPDATED_NAME: &str = "_last_updated_sequence_number";

/// Whether an id is the specification's own.
pub const fn is_reserved(id: i32) -> bool {
    id > GREATEST_OF_TABLES
}
