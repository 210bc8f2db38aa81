package dev.icepress.harness;

import static org.apache.iceberg.types.Types.NestedField.optional;
import static org.apache.iceberg.types.Types.NestedField.required;

import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.RewriteFiles;
import org.apache.iceberg.Schema;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.expressions.Literal;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;

/** Format v3: row lineage at every stage of a table's life, deletion vectors, default values, nanoseconds. */
final class V3Scenarios {
  private V3Scenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    PartitionSpec none = PartitionSpec.unpartitioned();
    all.put("v3.plain", c -> v3(c, Schemas.simple(), none).append(12, 25));
    all.put("v3.nested", c -> v3(c, Schemas.nested(), none).append(8, 30));
    all.put(
        "v3.vectors",
        c -> {
          Schema schema = Schemas.simple();
          Maker maker = v3(c, schema, PartitionSpec.builderFor(schema).identity("low_city").build()).append(6, 60);
          maker.deleteByVector(0.2).append(2, 60).deleteByVector(0.15);
        });
    all.put("v3.vectors_all_gone", c -> v3(c, Schemas.simple(), none).append(6, 20).deleteByVector(2.0).append(1, 20));
    all.put("v3.equality", c -> v3(c, Schemas.simple(), none).append(6, 40).deleteByKey(25, "id").deleteByVector(0.1).append(3, 40).deleteByKey(15, "id", "note"));
    // Small row groups, so that positions run over many of them.
    all.put("v3.row_groups", c -> v3(c, Schemas.simple(), none, "write.parquet.row-group-size-bytes", "2000", "write.parquet.row-group-check-min-record-count", "10", "write.parquet.row-group-check-max-record-count", "10").append(6, 200).deleteByVector(0.3));
    all.put("v3.rewritten", c -> rewritten(v3(c, Schemas.simple(), none)));
    all.put("v3.some", c -> some(c, "3"));
    all.put("v3.some_upgraded", c -> some(c, "2").table.updateProperties().set("format-version", "3").commit());
    all.put("v3.upgraded", c -> upgraded(c, 1, true));
    all.put("v3.upgraded_written", c -> upgraded(c, 1, true).append(3, 20).deleteByVector(0.2).append(2, 20));
    all.put("v3.upgraded_plain", c -> upgraded(c, 2, false));
    all.put("v3.upgraded_plain_written", c -> upgraded(c, 2, false).append(3, 20).deleteByVector(0.2));
    all.put("v3.defaults", V3Scenarios::defaults);
    all.put("v3.defaults_nested", V3Scenarios::nestedDefaults);
    all.put("v3.defaults_moments", V3Scenarios::momentDefaults);
    all.put(
        "v3.nanos",
        c -> {
          Schema schema = nanos();
          Maker maker = v3(c, schema, none).append(8, 40);
          maker.deleteByKey(10, "ts").deleteByKey(10, "tsz").deleteByVector(0.1);
        });
    for (String transform : new String[] {"identity", "year", "month", "day", "hour", "bucket"}) {
      all.put("v3.nanos_" + transform, c -> nanosBy(c, transform));
    }
    // Columns that hold nothing but NULL, and are in no file.
    all.put("v3.unknown", c -> v3(c, unknown(), none).append(6, 5).deleteByVector(0.2));
    all.put("refused.unknown", c -> v3(c, with(Types.ListType.ofOptional(11, Types.UnknownType.get())), none));
    // Files that hold types which the engine does not know: the table is left as it is.
    all.put("refused.variant", c -> v3(c, with(Types.VariantType.get()), none).append(2, 5));
    all.put("refused.variant_inside", c -> v3(c, with(Types.StructType.of(optional(11, "v", Types.VariantType.get()))), none));
    all.put("refused.geometry", c -> v3(c, with(Types.GeometryType.crs84()), none));
    all.put("refused.geography", c -> v3(c, with(Types.GeographyType.crs84()), none));
  }

  private static Maker v3(WriteCommand.Context c, Schema schema, PartitionSpec spec, String... properties) {
    String[] all = java.util.Arrays.copyOf(properties, properties.length + 2);
    all[properties.length] = "format-version";
    all[properties.length + 1] = "3";
    return c.table(schema, spec, all);
  }

  private static Schema with(Type type) {
    return new Schema(required(1, "id", Types.LongType.get()), optional(2, "odd", type));
  }

  private static Schema unknown() {
    return new Schema(
        required(1, "id", Types.LongType.get()),
        optional(2, "nothing", Types.UnknownType.get()),
        optional(3, "s", Types.StructType.of(optional(4, "x", Types.IntegerType.get()), optional(5, "nothing", Types.UnknownType.get()))),
        optional(6, "note", Types.StringType.get()));
  }

  /** Rows that another engine moved before: their lineage stands in the files, and partly does not. */
  private static void rewritten(Maker maker) {
    maker.append(6, 30);
    long base = maker.table.currentSnapshot().snapshotId();
    Set<DataFile> old = new HashSet<>(maker.liveFiles().subList(0, 4));
    Schema schema = MetadataColumns.schemaWithRowLineage(maker.table.schema());
    List<Record> rows = Lineage.read(maker.table, old);
    // A row that was changed has no number of its own: it gets the commit's.
    for (int i = 0; i < rows.size(); i += 7) {
      rows.get(i).setField("note", "changed");
      rows.get(i).setField(MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER.name(), null);
    }
    DataFile merged = maker.writeFile(rows, schema, maker.table.spec(), null, FileFormat.PARQUET);
    var overwrite = maker.table.newOverwrite().validateFromSnapshot(base);
    old.forEach(overwrite::deleteFile);
    overwrite.addFile(merged).commit();
    maker.append(5, 30).deleteByVector(0.2);
  }

  /** One partition is worth a rewrite; the other's files stand in the same manifests, which are written anew. */
  private static Maker some(WriteCommand.Context c, String version) {
    Schema schema = Schemas.simple();
    Maker maker = c.table(schema, PartitionSpec.builderFor(schema).identity("low_city").build(), "format-version", version);
    for (int commit = 0; commit < 6; commit++) {
      List<Record> rows = maker.rows.rows(schema, 40);
      for (int i = 0; i < rows.size(); i++) {
        rows.get(i).setField("low_city", commit < 3 && i % 2 == 0 ? "few" : "many");
      }
      maker.append(rows);
    }
    return maker;
  }

  /** A table that began as an older version, compacted there or not, and became v3 with nothing written since. */
  private static Maker upgraded(WriteCommand.Context c, int from, boolean compacted) {
    Maker maker = c.table(Schemas.simple(), PartitionSpec.unpartitioned(), "format-version", Integer.toString(from)).append(5, 30);
    if (from == 1) {
      maker.table.updateProperties().set("format-version", "2").commit();
    }
    maker.append(3, 30).deletePositions(0.15, true).deleteByKey(12, "id");
    if (compacted) {
      // As a compaction does it: the new file is as old as its rows, and comes later.
      List<Record> rows = maker.read();
      long number = maker.table.currentSnapshot().sequenceNumber();
      RewriteFiles rewrite = maker.table.newRewrite().validateFromSnapshot(maker.table.currentSnapshot().snapshotId());
      maker.liveFiles().forEach(rewrite::deleteFile);
      maker.write(rows, maker.table.schema(), maker.table.spec(), FileFormat.PARQUET).forEach(rewrite::addFile);
      rewrite.dataSequenceNumber(number).commit();
      maker.append(5, 30);
    }
    maker.table.updateProperties().set("format-version", "3").commit();
    return maker;
  }

  private static void defaults(WriteCommand.Context c) {
    Maker maker = v3(c, Schemas.simple(), PartitionSpec.unpartitioned()).append(4, 20);
    maker.table.updateSchema()
        .addColumn("flag", Types.BooleanType.get(), Literal.of(true))
        .addColumn("i32", Types.IntegerType.get(), Literal.of(-7))
        .addRequiredColumn("i64", Types.LongType.get(), Literal.of(Long.MAX_VALUE))
        .addColumn("f32", Types.FloatType.get(), Literal.of(1.5f))
        .addColumn("f64", Types.DoubleType.get(), Literal.of(-0.25))
        .addColumn("day", Types.DateType.get(), Literal.of("2026-02-03").to(Types.DateType.get()))
        .addColumn("clock", Types.TimeType.get(), Literal.of("01:02:03.000004").to(Types.TimeType.get()))
        .addColumn("ts", Types.TimestampType.withoutZone(), Literal.of("2026-02-03T04:05:06.000007").to(Types.TimestampType.withoutZone()))
        .addColumn("tsz", Types.TimestampType.withZone(), Literal.of("2026-02-03T04:05:06.000007+00:00").to(Types.TimestampType.withZone()))
        .addRequiredColumn("text", Types.StringType.get(), Literal.of("was not there"))
        .addColumn("uid", Types.UUIDType.get(), Literal.of("f79c3e09-677c-4bbd-a479-3f349cb785e7").to(Types.UUIDType.get()))
        .addColumn("bin", Types.BinaryType.get(), Literal.of(ByteBuffer.wrap(new byte[] {1, 2, (byte) 255})))
        .addColumn("dec", Types.DecimalType.of(9, 2), Literal.of(new BigDecimal("-12.30")))
        .addColumn("fix", Types.FixedType.ofLength(3), Literal.of(ByteBuffer.wrap(new byte[] {0, (byte) 171, (byte) 255})).to(Types.FixedType.ofLength(3)))
        .commit();
    maker.append(3, 20).deleteByKey(10, "i32", "id");
    maker.table.updateSchema().updateColumnDefault("text", Literal.of("new rows only")).updateColumn("i32", Types.LongType.get()).renameColumn("i32", "renamed").commit();
    maker.append(3, 20).deleteByVector(0.1);
  }

  private static void nestedDefaults(WriteCommand.Context c) {
    Maker maker = v3(c, Schemas.nested(), PartitionSpec.unpartitioned()).append(5, 25);
    maker.table.updateSchema()
        .addColumn("place", "zip", Types.StringType.get(), Literal.of("00000"))
        .addColumn("place.inner", "more", Types.IntegerType.get(), Literal.of(3))
        .addColumn("lines", "tax", Types.DoubleType.get(), Literal.of(0.19))
        .addColumn("by_num", "who", Types.StringType.get(), Literal.of("nobody"))
        .commit();
    maker.append(4, 25);
  }

  /** Nanoseconds, full minutes and fractions of a second before 1970, at every depth. */
  private static void momentDefaults(WriteCommand.Context c) {
    Type local = Types.TimestampNanoType.withoutZone();
    Type zoned = Types.TimestampNanoType.withZone();
    Type micros = Types.TimestampType.withZone();
    Maker maker = v3(c, Schemas.nested(), PartitionSpec.unpartitioned()).append(5, 25);
    maker.table.updateSchema()
        .addColumn("since", local, Literal.of("2026-01-01T00:00:00.000000001").to(local))
        .addRequiredColumn("seen", zoned, Literal.of("1969-12-31T23:59:59.999999999+00:00").to(zoned))
        .addColumn("early", micros, Literal.of("1969-12-31T23:59:58.5+00:00").to(micros))
        .addColumn("place", "since", local, Literal.of("2026-01-01T00:00:00").to(local))
        .addColumn("lines", "at", zoned, Literal.of("2026-01-01T12:30:00+00:00").to(zoned))
        .addColumn("by_num", "at", micros, Literal.of("2026-01-01T12:00:00+00:00").to(micros))
        .commit();
    // Some rows of the next files say NULL.
    maker.append(4, 25).deleteByKey(10, "since", "id").deleteByKey(10, "seen", "id");
    maker.table.updateSchema().updateColumnDefault("since", Literal.of("2027-01-01T00:00:00.000000002").to(local)).renameColumn("seen", "seen_first").commit();
    maker.append(3, 25).deleteByVector(0.1);
  }

  private static Schema nanos() {
    return new Schema(
        required(1, "id", Types.LongType.get()),
        optional(2, "ts", Types.TimestampNanoType.withoutZone()),
        optional(3, "tsz", Types.TimestampNanoType.withZone()),
        required(4, "must", Types.TimestampNanoType.withoutZone()),
        optional(5, "low_at", Types.TimestampNanoType.withZone()));
  }

  private static void nanosBy(WriteCommand.Context c, String transform) {
    Schema schema = nanos();
    PartitionSpec.Builder spec = PartitionSpec.builderFor(schema);
    switch (transform) {
      case "identity" -> spec.identity("low_at");
      case "year" -> spec.year("low_at");
      case "month" -> spec.month("low_at");
      case "day" -> spec.day("low_at");
      case "hour" -> spec.hour("low_at");
      default -> spec.bucket("low_at", 2);
    }
    v3(c, schema, spec.build()).append(7, 30);
  }
}
