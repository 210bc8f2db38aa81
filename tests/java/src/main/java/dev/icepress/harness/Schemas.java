package dev.icepress.harness;

import static org.apache.iceberg.types.Types.NestedField.optional;
import static org.apache.iceberg.types.Types.NestedField.required;

import org.apache.iceberg.Schema;
import org.apache.iceberg.types.Types;

/** The schemas that several scenarios share. */
final class Schemas {
  private Schemas() {}

  static Schema simple() {
    return new Schema(
        required(1, "id", Types.LongType.get()),
        optional(2, "low_city", Types.StringType.get()),
        optional(3, "amount", Types.DecimalType.of(12, 2)),
        optional(4, "at", Types.TimestampType.withZone()),
        optional(5, "note", Types.StringType.get()));
  }

  /** Every primitive type of format v1 and v2, optional, then required. */
  static Schema primitives() {
    return new Schema(
        required(1, "id", Types.LongType.get()),
        optional(2, "flag", Types.BooleanType.get()),
        optional(3, "i32", Types.IntegerType.get()),
        optional(4, "i64", Types.LongType.get()),
        optional(5, "f32", Types.FloatType.get()),
        optional(6, "f64", Types.DoubleType.get()),
        optional(7, "day", Types.DateType.get()),
        optional(8, "clock", Types.TimeType.get()),
        optional(9, "ts", Types.TimestampType.withoutZone()),
        optional(10, "tsz", Types.TimestampType.withZone()),
        optional(11, "text", Types.StringType.get()),
        optional(12, "uid", Types.UUIDType.get()),
        optional(13, "fix", Types.FixedType.ofLength(7)),
        optional(14, "bin", Types.BinaryType.get()),
        optional(15, "dec_small", Types.DecimalType.of(7, 3)),
        optional(16, "dec_mid", Types.DecimalType.of(17, 0)),
        optional(17, "dec_big", Types.DecimalType.of(38, 10)),
        optional(18, "all_null_text", Types.StringType.get()),
        optional(19, "all_null_num", Types.DoubleType.get()),
        optional(20, "low_text", Types.StringType.get()),
        optional(21, "low_int", Types.IntegerType.get()),
        required(22, "req_text", Types.StringType.get()),
        required(23, "req_f64", Types.DoubleType.get()),
        required(24, "req_dec", Types.DecimalType.of(20, 5)),
        required(25, "req_uid", Types.UUIDType.get()),
        required(26, "req_tsz", Types.TimestampType.withZone()));
  }

  static Schema nested() {
    return new Schema(
        required(1, "id", Types.IntegerType.get()),
        optional(
            2,
            "place",
            Types.StructType.of(
                required(3, "lat", Types.DoubleType.get()),
                optional(4, "name", Types.StringType.get()),
                optional(
                    5,
                    "inner",
                    Types.StructType.of(
                        optional(6, "x", Types.LongType.get()),
                        optional(7, "uid", Types.UUIDType.get()),
                        optional(8, "d", Types.DecimalType.of(25, 4)))))),
        optional(9, "tags", Types.ListType.ofOptional(10, Types.StringType.get())),
        required(11, "nums", Types.ListType.ofRequired(12, Types.LongType.get())),
        optional(
            13,
            "lines",
            Types.ListType.ofOptional(
                14,
                Types.StructType.of(
                    required(15, "sku", Types.StringType.get()),
                    optional(16, "price", Types.DecimalType.of(9, 2)),
                    optional(17, "parts", Types.ListType.ofOptional(18, Types.IntegerType.get()))))),
        optional(
            19, "attrs", Types.MapType.ofOptional(20, 21, Types.StringType.get(), Types.StringType.get())),
        optional(
            22,
            "by_num",
            Types.MapType.ofOptional(
                23,
                24,
                Types.IntegerType.get(),
                Types.StructType.of(
                    optional(25, "when", Types.TimestampType.withZone()),
                    optional(26, "vals", Types.ListType.ofOptional(27, Types.DoubleType.get()))))),
        optional(
            28,
            "grid",
            Types.ListType.ofOptional(29, Types.ListType.ofOptional(30, Types.FloatType.get()))),
        required(
            31,
            "must",
            Types.StructType.of(
                required(32, "a", Types.StringType.get()), optional(33, "b", Types.DateType.get()))));
  }
}
