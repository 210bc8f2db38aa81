package dev.icepress.harness;

import static org.apache.iceberg.types.Types.NestedField.optional;
import static org.apache.iceberg.types.Types.NestedField.required;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.types.Types;

/** Tables whose difficulty is the schema itself, and the plainest tables there are. */
final class TypeScenarios {
  private TypeScenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    PartitionSpec none = PartitionSpec.unpartitioned();
    all.put("types.plain_v1", c -> c.table(Schemas.simple(), none, "format-version", "1").append(20, 25));
    all.put("types.plain_v2", c -> c.table(Schemas.simple(), none).append(20, 25));
    all.put("types.primitives_v1", c -> c.table(Schemas.primitives(), none, "format-version", "1").append(12, 40));
    all.put("types.primitives_v2", c -> c.table(Schemas.primitives(), none).append(12, 40));
    all.put("types.nested", c -> c.table(Schemas.nested(), none).append(15, 40));
    all.put("types.nested_v1", c -> c.table(Schemas.nested(), none, "format-version", "1").append(10, 30));
    all.put("types.odd_names", c -> c.table(oddNames(), none).append(10, 20));
    all.put("types.wide", c -> c.table(wide(), none).append(8, 20));
    all.put("types.no_snapshot", c -> c.table(Schemas.primitives(), none));
    all.put("types.one_file", c -> c.table(Schemas.simple(), none).append(1, 30));
    // A namespace of two levels: both catalogs join the levels with a dot.
    all.put("types.deep.inside", c -> c.table(Schemas.simple(), none).append(8, 10));
  }

  /** Names that Avro, and so the Parquet files that Java writes, cannot carry as they are. */
  private static Schema oddNames() {
    return new Schema(
        required(10, "id", Types.LongType.get()),
        optional(7, "weird name", Types.StringType.get()),
        optional(3, "x-y", Types.IntegerType.get()),
        optional(44, "été", Types.DoubleType.get()),
        optional(5, "1st", Types.DateType.get()),
        optional(90, "with.dot", Types.StringType.get()),
        optional(
            2,
            "st ruct",
            Types.StructType.of(
                optional(1, "in-ner", Types.StringType.get()), optional(4, "ID", Types.LongType.get()))));
  }

  private static Schema wide() {
    List<Types.NestedField> fields = new ArrayList<>();
    fields.add(required(1, "id", Types.LongType.get()));
    for (int i = 2; i <= 160; i++) {
      fields.add(
          optional(
              i,
              "c" + i,
              switch (i % 4) {
                case 0 -> Types.StringType.get();
                case 1 -> Types.DoubleType.get();
                case 2 -> Types.IntegerType.get();
                default -> Types.DecimalType.of(10, 2);
              }));
    }
    return new Schema(fields);
  }
}
