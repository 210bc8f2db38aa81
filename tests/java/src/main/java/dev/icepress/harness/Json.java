package dev.icepress.harness;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.data.Record;

/**
 * A row as JSON that any reader can reproduce exactly. Structs and rows are arrays in field order; maps are sorted
 * arrays of pairs; floats are the bits of the double they equal, in hex, with one NaN; decimals are plain text; dates,
 * times and timestamps count days and microseconds; bytes and UUIDs are hex and text.
 */
final class Json {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  private static final LocalDateTime EPOCH = LocalDateTime.ofEpochSecond(0, 0, ZoneOffset.UTC);

  private Json() {}

  static String text(Object value) {
    try {
      return MAPPER.writeValueAsString(value);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The first {@code columns} fields of a record. */
  static String row(Record record, int columns) {
    List<Object> fields = new ArrayList<>();
    for (int i = 0; i < columns; i++) {
      fields.add(plain(record.get(i)));
    }
    return text(fields);
  }

  private static Object plain(Object value) {
    if (value == null || value instanceof Boolean || value instanceof Integer || value instanceof Long) {
      return value;
    } else if (value instanceof Float f) {
      return bits(f.doubleValue());
    } else if (value instanceof Double d) {
      return bits(d);
    } else if (value instanceof BigDecimal d) {
      return d.toPlainString();
    } else if (value instanceof LocalDate d) {
      return d.toEpochDay();
    } else if (value instanceof LocalTime t) {
      return t.toNanoOfDay() / 1000;
    } else if (value instanceof LocalDateTime t) {
      // What is finer than microseconds stands apart, so that values that both types have look alike.
      int rest = t.getNano() % 1000;
      long micros = ChronoUnit.MICROS.between(EPOCH, t.minusNanos(rest));
      return rest == 0 ? (Object) micros : micros + "+" + rest + "ns";
    } else if (value instanceof OffsetDateTime t) {
      return plain(t.withOffsetSameInstant(ZoneOffset.UTC).toLocalDateTime());
    } else if (value instanceof byte[] b) {
      return hex(ByteBuffer.wrap(b));
    } else if (value instanceof ByteBuffer b) {
      return hex(b);
    } else if (value instanceof Record r) {
      List<Object> fields = new ArrayList<>();
      for (int i = 0; i < r.size(); i++) {
        fields.add(plain(r.get(i)));
      }
      return fields;
    } else if (value instanceof List<?> l) {
      List<Object> items = new ArrayList<>();
      l.forEach(item -> items.add(plain(item)));
      return items;
    } else if (value instanceof Map<?, ?> m) {
      List<Object> pairs = new ArrayList<>();
      m.forEach((k, v) -> pairs.add(java.util.Arrays.asList(plain(k), plain(v))));
      pairs.sort((a, b) -> text(a).compareTo(text(b)));
      return pairs;
    }
    return value.toString();
  }

  private static String bits(double value) {
    return "f" + String.format("%016x", Double.doubleToLongBits(value));
  }

  static String hex(ByteBuffer bytes) {
    StringBuilder text = new StringBuilder("x");
    for (int i = bytes.position(); i < bytes.limit(); i++) {
      text.append(String.format("%02x", bytes.get(i)));
    }
    return text.toString();
  }
}
