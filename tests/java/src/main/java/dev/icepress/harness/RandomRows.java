package dev.icepress.harness;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import org.apache.iceberg.Schema;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;

/**
 * Rows of any schema from a seed, with the values that break readers and statistics: NULLs at each level, NaN, both
 * zeros, infinities, extremes, strings that share more than 64 bytes, characters around the surrogate range, empty
 * strings, lists and maps. A column whose name starts with {@code all_null} is always NULL, one that starts with
 * {@code low} repeats a few values, and {@code id} counts up.
 */
final class RandomRows {
  private final Random random;
  private long nextId;

  RandomRows(long seed) {
    this.random = new Random(seed);
  }

  void startAt(long id) {
    this.nextId = id;
  }

  Random random() {
    return random;
  }

  List<Record> rows(Schema schema, int count) {
    List<Record> rows = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      rows.add(record(schema.asStruct(), true));
    }
    return rows;
  }

  private Record record(Types.StructType struct, boolean top) {
    Record record = GenericRecord.create(struct);
    for (Types.NestedField field : struct.fields()) {
      Object value;
      if (top && field.name().equals("id")) {
        value = field.type().typeId() == Type.TypeID.INTEGER ? (Object) (int) nextId++ : (Object) nextId++;
      } else if (field.name().startsWith("all_null")) {
        value = null;
      } else if (field.name().startsWith("low")) {
        value = few(field);
      } else {
        value = maybe(field.type(), field.isOptional());
      }
      record.setField(field.name(), value);
    }
    return record;
  }

  /** One of five values that depend on the column alone, or NULL: what partitions and dictionaries are made of. */
  private Object few(Types.NestedField field) {
    int choice = random.nextInt(field.isOptional() ? 6 : 5);
    Object value = choice == 5 ? null : new RandomRows(field.fieldId() * 31L + choice).value(field.type());
    // Partition values become folder names, and those have a limit.
    return value instanceof String text && text.length() > 20 ? text.substring(0, 20) : value;
  }

  private Object maybe(Type type, boolean optional) {
    return optional && random.nextInt(6) == 0 ? null : value(type);
  }

  Object value(Type type) {
    return switch (type.typeId()) {
      case BOOLEAN -> random.nextBoolean();
      case INTEGER -> oneIn(20) ? (random.nextBoolean() ? Integer.MAX_VALUE : Integer.MIN_VALUE) : random.nextInt(2000) - 1000;
      case LONG -> oneIn(20) ? (random.nextBoolean() ? Long.MAX_VALUE : Long.MIN_VALUE) : random.nextLong() >> random.nextInt(60);
      case FLOAT -> floatValue();
      case DOUBLE -> doubleValue();
      case DATE -> LocalDate.ofEpochDay(oneIn(20) ? -random.nextInt(40_000) : 19_000 + random.nextInt(60));
      case TIME -> LocalTime.ofNanoOfDay(random.nextLong(86_400_000_000L) * 1000);
      case TIMESTAMP -> {
        LocalDateTime at = LocalDateTime.ofEpochSecond(seconds(), random.nextInt(1_000_000) * 1000, ZoneOffset.UTC);
        yield ((Types.TimestampType) type).shouldAdjustToUTC() ? OffsetDateTime.of(at, ZoneOffset.UTC) : at;
      }
      case TIMESTAMP_NANO -> {
        LocalDateTime at = LocalDateTime.ofEpochSecond(seconds(), random.nextInt(1_000_000_000), ZoneOffset.UTC);
        yield ((Types.TimestampNanoType) type).shouldAdjustToUTC() ? OffsetDateTime.of(at, ZoneOffset.UTC) : at;
      }
      // No value but NULL, or none that the generic writer takes.
      case UNKNOWN, VARIANT -> null;
      case STRING -> string();
      case UUID -> new UUID(random.nextLong(), random.nextLong());
      case FIXED -> bytes(((Types.FixedType) type).length());
      case BINARY -> ByteBuffer.wrap(oneIn(10) ? longBinary() : bytes(random.nextInt(24)));
      case DECIMAL -> decimal((Types.DecimalType) type);
      case STRUCT -> record(type.asStructType(), false);
      case LIST -> list(type.asListType());
      case MAP -> map(type.asMapType());
      default -> throw new IllegalArgumentException("no random value for " + type);
    };
  }

  private long seconds() {
    return oneIn(20) ? -random.nextLong(4_000_000_000L) : 1_700_000_000L + random.nextLong(5_000_000L);
  }

  private Float floatValue() {
    return switch (random.nextInt(12)) {
      case 0 -> Float.NaN;
      case 1 -> -0.0f;
      case 2 -> 0.0f;
      case 3 -> random.nextBoolean() ? Float.POSITIVE_INFINITY : Float.NEGATIVE_INFINITY;
      default -> (float) (random.nextGaussian() * 1e3);
    };
  }

  private Double doubleValue() {
    return switch (random.nextInt(12)) {
      case 0 -> Double.NaN;
      case 1 -> -0.0;
      case 2 -> 0.0;
      case 3 -> random.nextBoolean() ? Double.POSITIVE_INFINITY : Double.NEGATIVE_INFINITY;
      default -> random.nextGaussian() * 1e9;
    };
  }

  private String string() {
    return switch (random.nextInt(14)) {
      case 0 -> "";
      // Only what follows the 64th byte differs: a truncated bound has to be widened.
      case 1, 2 -> "shared-prefix-".repeat(6) + random.nextInt(1000);
      // The last kept character cannot be incremented simply: its successor is a surrogate, or there is none.
      case 3 -> "\uD7FF".repeat(20 + random.nextInt(10));
      case 4 -> new String(Character.toChars(0x10FFFF)).repeat(17 + random.nextInt(5));
      case 5 -> "ﬀ\uFFFF" + random.nextInt(50);
      case 6 -> "a/b c=d%20#é?&" + random.nextInt(5);
      case 7 -> "日本語テキスト".repeat(1 + random.nextInt(5));
      case 8 -> "\u0000\t\"\\'\n" + random.nextInt(9);
      default -> "word" + random.nextInt(500);
    };
  }

  private byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    return bytes;
  }

  private byte[] longBinary() {
    byte[] bytes = bytes(40);
    // Sixteen 0xFF bytes at the front leave a truncated upper bound nothing to increment.
    java.util.Arrays.fill(bytes, 0, 16 + random.nextInt(8), (byte) 0xFF);
    return bytes;
  }

  private BigDecimal decimal(Types.DecimalType type) {
    BigInteger limit = BigInteger.TEN.pow(type.precision()).subtract(BigInteger.ONE);
    BigInteger unscaled =
        oneIn(12) ? limit : new BigInteger(1 + random.nextInt(limit.bitLength()), random).min(limit);
    return new BigDecimal(random.nextBoolean() ? unscaled : unscaled.negate(), type.scale());
  }

  private List<Object> list(Types.ListType type) {
    List<Object> items = new ArrayList<>();
    for (int i = random.nextInt(4); i > 0; i--) {
      items.add(maybe(type.elementType(), type.isElementOptional()));
    }
    return items;
  }

  private Map<Object, Object> map(Types.MapType type) {
    Map<Object, Object> entries = new LinkedHashMap<>();
    for (int i = random.nextInt(4); i > 0; i--) {
      entries.put(value(type.keyType()), maybe(type.valueType(), type.isValueOptional()));
    }
    return entries;
  }

  private boolean oneIn(int n) {
    return random.nextInt(n) == 0;
  }
}
