"""What is known of the tables that the Java harness writes: which reader can read which, and what has to become of each."""

# Nothing to gain: no snapshot, or one file without deletes.
UNCHANGED = {"types.no_snapshot", "types.one_file"}

# Data files that are not Parquet stay; their Parquet neighbours may be compacted.
FOREIGN_FORMATS = {"props.with_avro": 3, "props.with_orc": 3}

# PyIceberg 0.12 says that it cannot read equality deletes, nor Avro data files.
PYICEBERG_REFUSES = {
    "deletes.equality",
    "deletes.equality_key_sets",
    "deletes.equality_null_keys",
    "deletes.equality_types",
    "deletes.global",
    "deletes.mixed",
    "deletes.upserts",
    "deletes.v1_upgraded",
    "evolve.with_deletes",
    "props.with_avro",
}

# chDB 4.4: no deletion vectors; loses its way in delete files older than the schema, in files outside the table's
# folder, and in some partition values.
CHDB_CANNOT = {
    "deletes.vectors_v3",
    "evolve.with_deletes",
    "parts.low_types",
    "props.data_path",
    "props.metadata_path",
}

# chDB 4.4 may count other rows than Java here: it applies deletes by float and by NULL keys and from an older,
# unpartitioned spec otherwise than the specification has it. Once they are compacted away, it has to count what Java counts.
CHDB_WRONG_ABOUT_DELETES = {"deletes.equality_null_keys", "deletes.equality_types", "deletes.global"}

TABLES = sorted(
    UNCHANGED
    | set(FOREIGN_FORMATS)
    | PYICEBERG_REFUSES
    | CHDB_CANNOT
    | {
        "deletes.all_gone",
        "deletes.dangling",
        "deletes.positions",
        "deletes.positions_parts",
        "deletes.positions_twice",
        "deletes.upgraded_v3",
        "deletes.vectors_v3",
        "evolve.columns_v1",
        "evolve.columns_v2",
        "evolve.nested",
        "evolve.new_struct",
        "parts.bucket",
        "parts.bucket_text",
        "parts.day",
        "parts.evolved",
        "parts.hive",
        "parts.identity",
        "parts.identity_types",
        "parts.identity_v1",
        "parts.many",
        "parts.nested_source",
        "parts.source_dropped",
        "parts.times",
        "parts.truncate",
        "parts.truncate_dec",
        "parts.void_v1",
        "props.bloom",
        "props.codec_changed",
        "props.gzip",
        "props.lz4",
        "props.many_manifests",
        "props.metadata_gzip",
        "props.metrics_columns",
        "props.metrics_counts",
        "props.metrics_full",
        "props.metrics_full_parts",
        "props.metrics_none",
        "props.metrics_truncate4",
        "props.no_dictionary",
        "props.object_storage",
        "props.refs",
        "props.rolled_back",
        "props.small_row_groups",
        "props.small_targets",
        "props.snappy",
        "props.sorted",
        "props.staged",
        "props.uncompressed",
        "props.zstd",
        "types.deep.inside",
        "types.nested",
        "types.nested_v1",
        "types.odd_names",
        "types.plain_v1",
        "types.plain_v2",
        "types.primitives_v1",
        "types.primitives_v2",
        "types.wide",
    }
)
