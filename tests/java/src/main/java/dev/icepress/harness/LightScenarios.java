package dev.icepress.harness;

import java.util.List;
import java.util.Map;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.types.Types;

/**
 * Tables whose best plan leaves the data files alone: files of the right size, with few of their rows deleted, by many
 * delete files.
 */
final class LightScenarios {
  private static final int ROWS = 1500;

  private LightScenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    PartitionSpec none = PartitionSpec.unpartitioned();
    all.put(
        "light.positions",
        c -> rightSize(c.table(Schemas.simple(), none).append(4, ROWS).deletePositions(0.01, true).deletePositions(0.01, false).append(1, ROWS).deletePositions(0.005, false)));
    all.put(
        "light.positions_parts",
        c -> {
          Schema schema = Schemas.simple();
          PartitionSpec spec = PartitionSpec.builderFor(schema).bucket("id", 2).build();
          rightSize(c.table(schema, spec).append(2, 2 * ROWS).deletePositions(0.01, false).append(1, 2 * ROWS).deletePositions(0.01, true).deletePositions(0.01, false));
        });
    all.put(
        "light.equality",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(3, ROWS).deleteByKey(40, "id");
          List<Record> back = maker.read().subList(0, 5);
          // Deleted, then inserted again: the newer rows have to stay.
          maker.deleteKeys(back, none, "id");
          maker.append(1, ROWS);
          maker.append(back);
          rightSize(maker.deleteByKey(20, "id", "note"), ROWS);
        });
    all.put(
        "light.equality_null_keys",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(3, ROWS);
          Record nullKey = GenericRecord.create(maker.table.schema());
          nullKey.setField("id", -1L);
          maker.deleteKeys(List.of(nullKey), none, "id", "note");
          rightSize(maker.append(1, ROWS).deleteByKey(30, "note", "id").deleteByKey(10, "amount", "id"));
        });
    all.put(
        "light.equality_key_sets",
        c -> {
          Schema schema = Schemas.simple();
          PartitionSpec spec = PartitionSpec.builderFor(schema).bucket("id", 2).build();
          rightSize(c.table(schema, spec).append(2, 2 * ROWS).deleteByKey(20, "id").deleteByKey(20, "note", "id").append(1, 2 * ROWS).deleteByKey(20, "id", "amount"));
        });
    all.put("light.equality_types", LightScenarios::keyTypes);
    all.put("light.global", LightScenarios::global);
    all.put("light.evolved", LightScenarios::evolved);
    all.put(
        "light.mixed",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(4, ROWS);
          rightSize(maker.deletePositions(0.01, false).deleteByKey(15, "id").deletePositions(0.01, true).append(1, ROWS).deleteByKey(15, "id"));
        });
    all.put(
        "light.beside_small",
        // Fresh small files beside large ones: those are rewritten with the same deletes, and these are not.
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(3, 8 * ROWS);
          long large = average(maker);
          maker.append(6, 100).deleteByKey(30, "id").deleteByKey(30, "id");
          target(maker, large);
        });
    all.put(
        "light.vectors_v3",
        c -> rightSize(c.table(Schemas.simple(), none, "format-version", "3").append(4, ROWS).deleteByVector(0.01).deleteByKey(20, "id").append(1, ROWS).deleteByKey(20, "note", "id")));
    all.put(
        "light.vectors_parts_v3",
        c -> {
          Schema schema = Schemas.simple();
          PartitionSpec spec = PartitionSpec.builderFor(schema).bucket("id", 2).build();
          rightSize(c.table(schema, spec, "format-version", "3").append(2, 2 * ROWS).deleteByKey(20, "id").deleteByVector(0.01).append(1, 2 * ROWS).deleteByKey(20, "id"));
        });
    all.put(
        "light.upgraded_v3",
        // Position deletes of format version 2, which become vectors with what came later.
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(4, ROWS).deletePositions(0.01, false).deletePositions(0.01, true);
          maker.table.updateProperties().set("format-version", "3").commit();
          rightSize(maker.append(1, ROWS).deleteByKey(20, "id"));
        });
  }

  /** Makes the size that most files have the right one. */
  private static void rightSize(Maker maker) {
    target(maker, average(maker));
  }

  /** The same, where files of fewer rows are not to count. */
  private static void rightSize(Maker maker, int rows) {
    long size = (long) maker.liveFiles().stream().filter(f -> f.recordCount() >= rows).mapToLong(f -> f.fileSizeInBytes()).average().orElseThrow();
    target(maker, size);
  }

  private static long average(Maker maker) {
    return (long) maker.liveFiles().stream().mapToLong(f -> f.fileSizeInBytes()).average().orElseThrow();
  }

  private static void target(Maker maker, long bytes) {
    maker.table.updateProperties().set("icepress.target-file-size-bytes", Long.toString(bytes)).commit();
  }

  /** Keys of every type that a delete may compare, each together with the id so that it hits few rows. */
  private static void keyTypes(WriteCommand.Context c) {
    // Without bounds: by them Java passes over delete files that do match.
    Maker maker =
        c.table(Schemas.primitives(), PartitionSpec.unpartitioned(), "write.metadata.metrics.default", "counts").append(4, 600);
    for (String column : new String[] {"flag", "i32", "f64", "f32", "day", "clock", "ts", "tsz", "text", "uid", "fix", "bin", "dec_small", "dec_mid", "dec_big"}) {
      maker.deleteByKey(6, column, "id");
    }
    rightSize(maker);
  }

  /** Equality deletes under an unpartitioned spec hold for every partition, also of specs that came later. */
  private static void global(WriteCommand.Context c) {
    Schema schema = Schemas.simple();
    Maker maker = c.table(schema, PartitionSpec.unpartitioned()).append(2, ROWS);
    maker.table.updateSpec().addField(org.apache.iceberg.expressions.Expressions.bucket("id", 2)).commit();
    maker.append(2, 2 * ROWS);
    PartitionSpec none = maker.table.specs().get(0);
    List<Record> live = maker.read();
    // As many as there are data files, so that position deletes in their place are no more files than before.
    for (int some = 0; some < 40; some += 5) {
      maker.deleteKeys(live.subList(some, some + 5), none, "id");
    }
    // And one bound to a partition: it must not reach over to the rows of the old, unpartitioned spec.
    maker.deleteKeys(live.subList(20, 80), maker.table.spec(), "id");
    rightSize(maker.append(1, 2 * ROWS));
  }

  /** Keys that were renamed, promoted, and added after the data was written. (Java 1.11 can't read a table with a key that was dropped.) */
  private static void evolved(WriteCommand.Context c) {
    Schema schema =
        new Schema(
            Types.NestedField.required(1, "id", Types.LongType.get()),
            Types.NestedField.optional(2, "number", Types.IntegerType.get()),
            Types.NestedField.optional(3, "text", Types.StringType.get()));
    Maker maker = c.table(schema, PartitionSpec.unpartitioned()).append(3, ROWS).deleteByKey(15, "number", "id");
    maker.deleteByKey(15, "text", "id");
    maker.table.updateSchema().updateColumn("number", Types.LongType.get()).renameColumn("number", "count").renameColumn("text", "old_text").commit();
    maker.deleteByKey(15, "count", "id").deleteByKey(15, "old_text", "id");
    maker.table.updateSchema().addColumn("late", Types.StringType.get()).commit();
    // NULL in all files so far.
    maker.deleteByKey(15, "late", "id");
    rightSize(maker.append(1, ROWS));
  }
}
