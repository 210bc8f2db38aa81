package dev.icepress.harness;

import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.iceberg.Schema;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.types.Comparators;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;
import org.apache.iceberg.util.DateTimeUtil;

/** What one file's columns really hold, by field id, found by reading every row of it. */
final class ColumnFacts {
  /** One leaf column. Counts below a list or map are of elements; an empty list or map leaves none. */
  static final class Leaf {
    final Types.NestedField field;
    final boolean repeated;
    long values;
    /** NULL although every parent is there. */
    long nulls;
    /** Absent because a struct above is NULL. */
    long hidden;
    long nans;
    Object min;
    Object max;
    /** A few of the values, for trying filters. */
    final List<Object> sample = new ArrayList<>();

    Leaf(Types.NestedField field, boolean repeated) {
      this.field = field;
      this.repeated = repeated;
    }

    private void add(Object value) {
      values++;
      if (value == null) {
        nulls++;
        return;
      }
      if ((value instanceof Float f && f.isNaN()) || (value instanceof Double d && d.isNaN())) {
        nans++;
        return;
      }
      Object plain = internal(value, field.type());
      Comparator<Object> order = order(field.type());
      if (min == null || order.compare(plain, min) < 0) {
        min = plain;
      }
      if (max == null || order.compare(plain, max) > 0) {
        max = plain;
      }
      if (sample.size() < 3 || (values & (values - 1)) == 0) {
        sample.add(plain);
      }
    }
  }

  final Map<Integer, Leaf> leaves = new TreeMap<>();
  long rows;

  ColumnFacts(Schema schema) {
    declare(schema.asStruct(), false);
  }

  private void declare(Types.StructType struct, boolean repeated) {
    for (Types.NestedField field : struct.fields()) {
      declare(field, repeated);
    }
  }

  private void declare(Types.NestedField field, boolean repeated) {
    switch (field.type().typeId()) {
      case STRUCT -> declare(field.type().asStructType(), repeated);
      case LIST -> declare(field.type().asListType().fields().get(0), true);
      case MAP -> field.type().asMapType().fields().forEach(part -> declare(part, true));
      default -> leaves.put(field.fieldId(), new Leaf(field, repeated));
    }
  }

  void add(Record record, Schema schema) {
    rows++;
    struct(schema.asStruct(), record);
  }

  private void struct(Types.StructType struct, Record record) {
    for (int i = 0; i < struct.fields().size(); i++) {
      value(struct.fields().get(i), record.get(i));
    }
  }

  private void value(Types.NestedField field, Object value) {
    Type type = field.type();
    switch (type.typeId()) {
      case STRUCT -> {
        if (value == null) {
          hide(field);
        } else {
          struct(type.asStructType(), (Record) value);
        }
      }
      case LIST -> {
        if (value != null) {
          ((List<?>) value).forEach(item -> value(type.asListType().fields().get(0), item));
        }
      }
      case MAP -> {
        if (value != null) {
          ((Map<?, ?>) value)
              .forEach(
                  (k, v) -> {
                    value(type.asMapType().fields().get(0), k);
                    value(type.asMapType().fields().get(1), v);
                  });
        }
      }
      default -> leaves.get(field.fieldId()).add(value);
    }
  }

  private void hide(Types.NestedField field) {
    switch (field.type().typeId()) {
      case STRUCT -> field.type().asStructType().fields().forEach(this::hide);
      case LIST, MAP -> {}
      default -> {
        leaves.get(field.fieldId()).values++;
        leaves.get(field.fieldId()).hidden++;
      }
    }
  }

  /** The value of a column as Iceberg's bounds and partition tuples carry it. */
  static Object internal(Object value, Type type) {
    if (type.typeId() == Type.TypeID.TIMESTAMP_NANO) {
      if (value instanceof LocalDateTime t) {
        return DateTimeUtil.nanosFromTimestamp(t);
      } else if (value instanceof OffsetDateTime t) {
        return DateTimeUtil.nanosFromTimestamptz(t);
      }
    }
    return internal(value);
  }

  /** The value as Iceberg's bounds and partition tuples carry it. */
  static Object internal(Object value) {
    if (value instanceof LocalDate d) {
      return DateTimeUtil.daysFromDate(d);
    } else if (value instanceof LocalTime t) {
      return DateTimeUtil.microsFromTime(t);
    } else if (value instanceof LocalDateTime t) {
      return DateTimeUtil.microsFromTimestamp(t);
    } else if (value instanceof OffsetDateTime t) {
      return DateTimeUtil.microsFromTimestamptz(t);
    } else if (value instanceof byte[] b) {
      return ByteBuffer.wrap(b.clone());
    } else if (value instanceof ByteBuffer b) {
      ByteBuffer copy = ByteBuffer.allocate(b.remaining());
      copy.put(b.duplicate()).flip();
      return copy;
    }
    return value;
  }

  /** The specification's order: strings and bytes unsigned, UUIDs as unsigned bytes, minus zero before zero. */
  @SuppressWarnings("unchecked")
  static Comparator<Object> order(Type type) {
    if (type.typeId() == Type.TypeID.UUID) {
      return (a, b) -> {
        UUID left = (UUID) a;
        UUID right = (UUID) b;
        int high = Long.compareUnsigned(left.getMostSignificantBits(), right.getMostSignificantBits());
        return high != 0
            ? high
            : Long.compareUnsigned(left.getLeastSignificantBits(), right.getLeastSignificantBits());
      };
    }
    return (Comparator<Object>) (Comparator<?>) Comparators.forType(type.asPrimitiveType());
  }

  /** A value of an old type as the type that the table has now: what a promoted column reads as. */
  static Object promote(Object value, Type to) {
    if (value instanceof Integer i && to.typeId() == Type.TypeID.LONG) {
      return i.longValue();
    } else if (value instanceof Float f && to.typeId() == Type.TypeID.DOUBLE) {
      return f.doubleValue();
    } else if (value instanceof BigDecimal d && to instanceof Types.DecimalType decimal) {
      return d.setScale(decimal.scale());
    }
    return value;
  }
}
