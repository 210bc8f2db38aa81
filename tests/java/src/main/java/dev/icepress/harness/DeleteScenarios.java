package dev.icepress.harness;

import static org.apache.iceberg.types.Types.NestedField.optional;
import static org.apache.iceberg.types.Types.NestedField.required;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.DeleteFile;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.RowDelta;
import org.apache.iceberg.Schema;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.types.Types;

/** Deletes of every kind that formats v2 and v3 know, in the mixtures that engines leave behind. */
final class DeleteScenarios {
  private DeleteScenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    PartitionSpec none = PartitionSpec.unpartitioned();
    all.put("deletes.positions", c -> c.table(Schemas.simple(), none).append(10, 40).deletePositions(0.2, true));
    all.put(
        "deletes.positions_twice",
        c -> c.table(Schemas.nested(), none).append(6, 40).deletePositions(0.2, false).append(4, 40).deletePositions(0.2, false).deletePositions(0.1, true));
    all.put(
        "deletes.positions_parts",
        c -> {
          Schema schema = Schemas.simple();
          c.table(schema, PartitionSpec.builderFor(schema).identity("low_city").build()).append(5, 60).deletePositions(0.3, false).append(2, 60).deletePositions(0.3, true);
        });
    all.put("deletes.all_gone", c -> c.table(Schemas.simple(), none).append(6, 20).deletePositions(2.0, true));
    all.put(
        "deletes.equality",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(6, 40).deleteByKey(30, "id");
          List<Record> back = maker.read().subList(0, 5);
          // Deleted, then inserted again: the newer row has to stay.
          maker.deleteKeys(back, none, "id");
          maker.append(back);
          maker.append(4, 40).deleteByKey(20, "id");
        });
    all.put(
        "deletes.equality_null_keys",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(8, 40);
          Record nullKey = GenericRecord.create(maker.table.schema());
          nullKey.setField("id", -1L);
          maker.deleteKeys(List.of(nullKey), none, "low_city");
          maker.append(4, 40).deleteByKey(6, "low_city", "note").deleteByKey(5, "amount");
          maker.append(3, 40);
        });
    all.put("deletes.equality_types", DeleteScenarios::keyTypes);
    all.put(
        "deletes.equality_key_sets",
        c -> {
          Schema schema = Schemas.simple();
          c.table(schema, PartitionSpec.builderFor(schema).bucket("id", 3).build()).append(5, 60).deleteByKey(20, "id").deleteByKey(10, "note", "amount").append(3, 60).deleteByKey(10, "id", "note").append(2, 60);
        });
    all.put("deletes.global", DeleteScenarios::global);
    all.put(
        "deletes.mixed",
        c -> {
          Schema schema = Schemas.simple();
          Maker maker = c.table(schema, PartitionSpec.builderFor(schema).identity("low_city").build());
          for (int i = 0; i < 4; i++) {
            maker.append(2, 50).deletePositions(0.1, i % 2 == 0).deleteByKey(10, "id");
          }
        });
    all.put("deletes.upserts", DeleteScenarios::upserts);
    all.put(
        "deletes.v1_upgraded",
        c -> {
          Maker maker = c.table(Schemas.simple(), none, "format-version", "1").append(6, 30);
          maker.table.updateProperties().set("format-version", "2").commit();
          maker.append(4, 30).deletePositions(0.2, true).deleteByKey(10, "id");
        });
    all.put("deletes.dangling", DeleteScenarios::dangling);
    all.put("deletes.vectors_v3", c -> c.table(Schemas.simple(), none, "format-version", "3").append(8, 40).deleteByVector(0.2));
    all.put(
        "deletes.upgraded_v3",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(6, 30).deletePositions(0.2, true);
          maker.table.updateProperties().set("format-version", "3").commit();
          maker.append(2, 30);
        });
  }

  /** Keys of every type that a delete may compare, with the zeros and NaN among them. */
  private static void keyTypes(WriteCommand.Context c) {
    // Without bounds: by them Java passes over delete files that do match. It compares UUID and fixed bounds in another
    // order than it wrote them, and a file's bounds tell nothing of the NaN in it.
    Maker maker =
        c.table(Schemas.primitives(), PartitionSpec.unpartitioned(), "write.metadata.metrics.default", "counts")
            .append(8, 40);
    for (String column : new String[] {"flag", "i32", "f64", "f32", "day", "clock", "ts", "tsz", "text", "uid", "fix", "bin", "dec_small", "dec_mid", "dec_big"}) {
      // A boolean key would empty the table: it goes together with another.
      if (column.equals("flag")) {
        maker.deleteByKey(3, "flag", "low_text", "low_int");
      } else {
        maker.deleteByKey(2, column);
      }
    }
    maker.append(2, 40);
  }

  /** Equality deletes under an unpartitioned spec hold for every partition, also of specs that came later. */
  private static void global(WriteCommand.Context c) {
    Schema schema = Schemas.simple();
    Maker maker = c.table(schema, PartitionSpec.unpartitioned()).append(4, 40);
    maker.table.updateSpec().addField("low_city").commit();
    maker.append(4, 40);
    PartitionSpec none = maker.table.specs().get(0);
    List<Record> live = maker.read();
    maker.deleteKeys(live.subList(0, 25), none, "id");
    // And one bound to a partition: it must not reach over to the rows of the old, unpartitioned spec.
    maker.deleteKeys(live.subList(20, 60), maker.table.spec(), "id");
    maker.append(3, 40);
  }

  /** What streaming upserts look like: each commit deletes the keys it is about to write again. */
  private static void upserts(WriteCommand.Context c) {
    Schema schema =
        new Schema(
            List.of(
                required(1, "id", Types.LongType.get()),
                required(2, "bucket", Types.IntegerType.get()),
                optional(3, "v", Types.StringType.get())),
            java.util.Set.of(1));
    Maker maker = c.table(schema, PartitionSpec.unpartitioned());
    for (int commit = 0; commit < 25; commit++) {
      List<Record> rows = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        Record row = GenericRecord.create(schema);
        row.setField("id", (long) maker.random().nextInt(120));
        row.setField("bucket", commit);
        row.setField("v", "value " + commit + "-" + i);
        rows.removeIf(r -> r.getField("id").equals(row.getField("id")));
        rows.add(row);
      }
      List<DeleteFile> deletes = maker.keyFiles(rows, maker.table.spec(), "id");
      RowDelta delta = maker.table.newRowDelta();
      deletes.forEach(delta::addDeletes);
      maker.write(rows, schema, maker.table.spec(), org.apache.iceberg.FileFormat.PARQUET).forEach(delta::addRows);
      delta.commit();
    }
  }

  /** Delete files that nothing needs any more: their data files were replaced by someone who left them behind. */
  private static void dangling(WriteCommand.Context c) {
    Maker maker = c.table(Schemas.simple(), PartitionSpec.unpartitioned()).append(6, 30).deletePositions(0.2, false);
    List<Record> rows = maker.read();
    var rewrite = maker.table.newOverwrite();
    maker.liveFiles().forEach(rewrite::deleteFile);
    maker.write(rows, maker.table.schema(), maker.table.spec(), org.apache.iceberg.FileFormat.PARQUET).forEach(rewrite::addFile);
    rewrite.commit();
    maker.append(5, 30);
  }
}
