package dev.icepress.harness;

import static org.apache.iceberg.types.Types.NestedField.optional;
import static org.apache.iceberg.types.Types.NestedField.required;

import java.util.Map;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.types.Types;

/** Tables whose schema changed between the files: by name a reader is lost, by field id it is not. */
final class EvolutionScenarios {
  private EvolutionScenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    PartitionSpec none = PartitionSpec.unpartitioned();
    for (String version : new String[] {"1", "2"}) {
      all.put("evolve.columns_v" + version, c -> columns(c.table(base(), none, "format-version", version)));
    }
    all.put("evolve.nested", c -> nested(c.table(Schemas.nested(), none)));
    all.put("evolve.new_struct", c -> newStruct(c.table(Schemas.simple(), none)));
    all.put(
        "evolve.with_deletes",
        c -> {
          Maker maker = c.table(base(), none);
          maker.append(4, 25).deleteByKey(15, "a").deletePositions(0.1, true);
          maker.table.updateSchema().updateColumn("a", Types.LongType.get()).renameColumn("a", "z").commit();
          maker.append(4, 25).deleteByKey(20, "z").deletePositions(0.1, true);
          maker.table.updateSchema().deleteColumn("s").addColumn("s", Types.IntegerType.get()).commit();
          maker.append(3, 25).deleteByKey(10, "s", "id");
        });
  }

  private static Schema base() {
    return new Schema(
        required(1, "id", Types.LongType.get()),
        optional(2, "a", Types.IntegerType.get()),
        optional(3, "f", Types.FloatType.get()),
        optional(4, "d", Types.DecimalType.of(7, 2)),
        optional(5, "s", Types.StringType.get()),
        optional(6, "gone", Types.StringType.get()),
        required(7, "must", Types.IntegerType.get()));
  }

  private static void columns(Maker maker) {
    maker.append(4, 25);
    maker.table.updateSchema().renameColumn("s", "text").commit();
    maker.append(3, 25);
    // int to long, float to double, and a decimal that outgrows its physical type: INT32 to INT64 to bytes.
    maker.table.updateSchema().updateColumn("a", Types.LongType.get()).updateColumn("f", Types.DoubleType.get()).updateColumn("d", Types.DecimalType.of(15, 2)).commit();
    maker.append(3, 25);
    maker.table.updateSchema().updateColumn("d", Types.DecimalType.of(30, 2)).commit();
    maker.append(2, 25);
    maker.table.updateSchema().deleteColumn("gone").commit();
    maker.append(2, 25);
    // The same name again, under a new id: what the old files hold under it must not come back.
    maker.table.updateSchema().addColumn("gone", Types.StringType.get()).commit();
    maker.append(2, 25);
    maker.table.updateSchema().moveFirst("text").moveAfter("id", "d").makeColumnOptional("must").commit();
    maker.append(3, 25);
    // Two columns trade names.
    maker.table.updateSchema().renameColumn("text", "tmp").commit();
    maker.table.updateSchema().renameColumn("gone", "text").commit();
    maker.table.updateSchema().renameColumn("tmp", "gone").commit();
    maker.append(3, 25);
  }

  private static void nested(Maker maker) {
    maker.append(4, 25);
    maker.table.updateSchema().addColumn("place", "zip", Types.StringType.get()).addColumn("place.inner", "more", Types.ListType.ofOptional(100, Types.StringType.get())).commit();
    maker.append(3, 25);
    maker.table.updateSchema().addColumn("lines", "tax", Types.DoubleType.get()).addColumn("by_num", "who", Types.StructType.of(optional(101, "name", Types.StringType.get()))).commit();
    maker.append(3, 25);
    maker.table.updateSchema().renameColumn("place.inner.x", "renamed").deleteColumn("lines.price").renameColumn("tags", "labels").commit();
    maker.append(3, 25);
    maker.table.updateSchema().addColumn("lines", "price", Types.StringType.get()).moveFirst("place.zip").updateColumn("grid.element.element", Types.DoubleType.get()).commit();
    maker.append(3, 25);
    maker.table.updateSchema().deleteColumn("place.inner").commit();
    maker.append(2, 25);
  }

  /** Whole structs, lists and maps that the older files have nothing of. */
  private static void newStruct(Maker maker) {
    maker.append(4, 25);
    maker.table.updateSchema()
        .addColumn("box", Types.StructType.of(optional(100, "w", Types.IntegerType.get()), optional(101, "deep", Types.StructType.of(optional(102, "v", Types.StringType.get())))))
        .addColumn("many", Types.ListType.ofOptional(103, Types.StringType.get()))
        .addColumn("dict", Types.MapType.ofOptional(104, 105, Types.StringType.get(), Types.LongType.get()))
        .commit();
    maker.append(4, 25);
    // A struct all of whose old fields are gone: old files hold none of what is asked of it.
    maker.table.updateSchema().deleteColumn("box.w").deleteColumn("box.deep").addColumn("box", "fresh", Types.DateType.get()).commit();
    maker.append(4, 25);
  }
}
