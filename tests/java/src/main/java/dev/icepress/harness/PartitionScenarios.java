package dev.icepress.harness;

import static org.apache.iceberg.types.Types.NestedField.optional;
import static org.apache.iceberg.types.Types.NestedField.required;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.PartitionKey;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.data.InternalRecordWrapper;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.types.Types;

/** Each partition transform, on each kind of source column, and specs that changed over the table's life. */
final class PartitionScenarios {
  private PartitionScenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    all.put("parts.identity", c -> identity(c, "2"));
    all.put("parts.identity_v1", c -> identity(c, "1"));
    all.put(
        "parts.identity_types",
        c -> {
          Schema schema = Schemas.primitives();
          for (String[] each :
              new String[][] {{"flag"}, {"low_int"}, {"low_text", "flag"}}) {
            // One table, its spec replaced twice: three specs of identity over different types.
            if (each[0].equals("flag")) {
              c.table(schema, PartitionSpec.builderFor(schema).identity("flag").build()).append(6, 20);
            } else {
              Maker maker = new Maker(c.catalog().loadTable(c.name()), c.seed() + each.length);
              maker.rows.startAt(1000L * each.length);
              var update = maker.table.updateSpec();
              maker.table.spec().fields().stream()
                  .filter(f -> !f.transform().isVoid())
                  .forEach(f -> update.removeField(f.name()));
              for (String column : each) {
                update.addField(column + "_" + each.length, Expressions.ref(column));
              }
              update.commit();
              maker.append(6, 20);
            }
          }
        });
    all.put(
        "parts.low_types",
        c -> {
          Schema schema =
              new Schema(
                  required(1, "id", Types.LongType.get()),
                  optional(2, "low_dec", Types.DecimalType.of(9, 2)),
                  optional(3, "low_uid", Types.UUIDType.get()),
                  optional(4, "low_day", Types.DateType.get()),
                  optional(5, "low_tsz", Types.TimestampType.withZone()),
                  optional(6, "low_bin", Types.BinaryType.get()),
                  optional(7, "low_fix", Types.FixedType.ofLength(5)),
                  optional(8, "low_f64", Types.DoubleType.get()),
                  optional(9, "text", Types.StringType.get()));
          PartitionSpec spec =
              PartitionSpec.builderFor(schema).identity("low_dec").identity("low_day").build();
          Maker maker = c.table(schema, spec).append(6, 30);
          maker.table.updateSpec().removeField("low_dec").addField("low_uid").commit();
          maker.append(6, 30);
          maker.table.updateSpec().removeField("low_day").removeField("low_uid").addField("low_bin").addField("low_tsz").commit();
          maker.append(6, 30);
        });
    all.put(
        "parts.bucket",
        c -> {
          Schema schema = Schemas.primitives();
          c.table(schema, PartitionSpec.builderFor(schema).bucket("i64", 3).bucket("uid", 2).build()).append(6, 40);
        });
    all.put(
        "parts.bucket_text",
        c -> {
          Schema schema = Schemas.primitives();
          c.table(schema, PartitionSpec.builderFor(schema).bucket("text", 2).bucket("dec_big", 2).build()).append(6, 40);
        });
    all.put(
        "parts.truncate",
        c -> {
          Schema schema = Schemas.primitives();
          PartitionSpec spec =
              PartitionSpec.builderFor(schema).truncate("low_text", 3).truncate("low_int", 1000).build();
          c.table(schema, spec).append(6, 30);
        });
    all.put(
        "parts.truncate_dec",
        c -> {
          Schema schema = Schemas.simple();
          Maker maker = c.table(schema, PartitionSpec.builderFor(schema).truncate("amount", 1_000_000_000).build());
          for (int i = 0; i < 6; i++) {
            List<Record> rows = maker.rows.rows(schema, 20);
            // Java cannot write a partition value that truncation pushed past the column's precision.
            rows.forEach(row -> row.setField("amount", tenth((BigDecimal) row.getField("amount"))));
            maker.append(rows);
          }
        });
    all.put(
        "parts.day",
        c -> {
          Schema schema = Schemas.simple();
          c.table(schema, PartitionSpec.builderFor(schema).month("at").build()).append(6, 30);
        });
    all.put(
        "parts.times",
        c -> {
          Schema schema =
              new Schema(
                  required(1, "id", Types.LongType.get()),
                  optional(2, "low_day", Types.DateType.get()),
                  optional(3, "low_ts", Types.TimestampType.withoutZone()),
                  optional(4, "low_tsz", Types.TimestampType.withZone()),
                  optional(5, "v", Types.DoubleType.get()));
          PartitionSpec spec =
              PartitionSpec.builderFor(schema).day("low_day").hour("low_ts").build();
          Maker maker = c.table(schema, spec).append(6, 20);
          maker.table.updateSpec().removeField("low_day_day").removeField("low_ts_hour").addField(Expressions.day("low_tsz")).addField(Expressions.year("low_ts")).commit();
          maker.append(6, 20);
        });
    all.put(
        "parts.void_v1",
        c -> {
          Schema schema = Schemas.simple();
          PartitionSpec spec =
              PartitionSpec.builderFor(schema).identity("low_city").bucket("id", 2).build();
          Maker maker = c.table(schema, spec, "format-version", "1").append(6, 20);
          maker.table.updateSpec().removeField("low_city").commit();
          maker.append(6, 20);
        });
    all.put(
        "parts.nested_source",
        c -> {
          Schema schema =
              new Schema(
                  required(1, "id", Types.LongType.get()),
                  optional(
                      2,
                      "place",
                      Types.StructType.of(
                          optional(3, "low_land", Types.StringType.get()), optional(4, "n", Types.IntegerType.get()))),
                  optional(5, "text", Types.StringType.get()));
          c.table(schema, PartitionSpec.builderFor(schema).identity("place.low_land").build()).append(6, 30);
        });
    all.put(
        "parts.evolved",
        c -> {
          Schema schema = Schemas.simple();
          Maker maker = c.table(schema, PartitionSpec.unpartitioned()).append(6, 20);
          maker.table.updateSpec().addField("low_city").commit();
          maker.append(6, 20);
          maker.table.updateSpec().removeField("low_city").addField(Expressions.bucket("id", 3)).commit();
          maker.append(6, 20);
          maker.table.updateSpec().addField("low_city2", Expressions.ref("low_city")).commit();
          maker.append(6, 20);
          maker.table.updateSpec().removeField("low_city2").removeField("id_bucket_3").commit();
          maker.append(6, 20);
        });
    all.put(
        "parts.source_dropped",
        c -> {
          Schema schema = Schemas.simple();
          Maker maker = c.table(schema, PartitionSpec.builderFor(schema).identity("low_city").build()).append(6, 20);
          maker.table.updateSpec().removeField("low_city").commit();
          maker.table.updateSchema().deleteColumn("note").renameColumn("low_city", "town").commit();
          maker.append(6, 20);
        });
    all.put("parts.hive", PartitionScenarios::hive);
    all.put(
        "parts.many",
        c -> {
          Schema schema = Schemas.simple();
          c.table(schema, PartitionSpec.builderFor(schema).bucket("id", 40).build()).append(6, 200);
        });
  }

  private static BigDecimal tenth(BigDecimal value) {
    return value == null ? null : new BigDecimal(value.unscaledValue().divide(BigInteger.TEN), value.scale());
  }

  private static void identity(WriteCommand.Context c, String version) {
    Schema schema =
        new Schema(
            required(1, "id", Types.LongType.get()),
            optional(2, "city", Types.StringType.get()),
            optional(3, "v", Types.DoubleType.get()));
    Maker maker =
        c.table(schema, PartitionSpec.builderFor(schema).identity("city").build(), "format-version", version);
    // What a folder name has to escape, and what is NULL, empty or looks like NULL.
    String[] cities = {"Ulm", "a/b c", "50%=x", "é ü?&+", "", null, "null", "#hash"};
    for (int commit = 0; commit < 6; commit++) {
      List<Record> rows = maker.rows.rows(schema, 40);
      for (int i = 0; i < rows.size(); i++) {
        rows.get(i).setField("city", cities[i % cities.length]);
      }
      maker.append(rows);
    }
  }

  /** As Hive laid tables out: the identity partition column is in the folder's name, not in the files. */
  private static void hive(WriteCommand.Context c) {
    Schema schema =
        new Schema(
            required(1, "id", Types.LongType.get()),
            optional(2, "v", Types.StringType.get()),
            optional(3, "land", Types.StringType.get()),
            optional(4, "yr", Types.IntegerType.get()));
    PartitionSpec spec = PartitionSpec.builderFor(schema).identity("land").identity("yr").build();
    Maker maker = c.table(schema, spec);
    Schema inFile = new Schema(schema.findField(1), schema.findField(2));
    for (int i = 0; i < 36; i++) {
      Record like = maker.rows.rows(schema, 1).get(0);
      like.setField("land", new String[] {"DE", "FR", null}[i % 3]);
      like.setField("yr", 2024 + (i / 3) % 2);
      PartitionKey key = new PartitionKey(spec, schema);
      key.partition(new InternalRecordWrapper(schema.asStruct()).wrap(like));
      List<Record> rows = maker.rows.rows(inFile, 15);
      DataFile file = maker.writeFile(rows, inFile, spec, key, FileFormat.PARQUET);
      AppendFiles append = maker.table.newAppend();
      append.appendFile(file).commit();
    }
  }
}
