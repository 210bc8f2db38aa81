package dev.icepress.harness;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DataFiles;
import org.apache.iceberg.Metrics;
import org.apache.iceberg.PartitionData;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.types.Conversions;
import org.apache.iceberg.types.Types;

/**
 * {@code damage}: appends a sound Parquet file under a manifest entry that lies about it in one respect. It is here so
 * that the check itself can be checked: a table damaged in any of these ways must not come out clean.
 */
final class DamageCommand {
  private DamageCommand() {}

  static void run(Main.Options options) {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Table table = catalog.loadTable(Catalogs.identifier(options.get("table")));
      Maker maker = new Maker(table, 99);
      maker.rows.startAt(1_000_000);
      List<Record> rows = maker.rows.rows(table.schema(), 30);
      if (table.schema().findField("city") != null) {
        rows.forEach(row -> row.setField("city", "Ulm"));
      }
      PartitionSpec spec = table.spec();
      DataFile real = maker.write(rows, table.schema(), spec, org.apache.iceberg.FileFormat.PARQUET).get(0);
      table.newAppend().appendFile(lie(options.get("kind"), table, real)).commit();
    }
  }

  private static DataFile lie(String kind, Table table, DataFile real) {
    int id = table.schema().findField("id").fieldId();
    Map<Integer, Long> values = new HashMap<>(real.valueCounts());
    Map<Integer, Long> nulls = new HashMap<>(real.nullValueCounts());
    Map<Integer, ByteBuffer> lower = new HashMap<>(real.lowerBounds());
    Map<Integer, ByteBuffer> upper = new HashMap<>(real.upperBounds());
    long records = real.recordCount();
    DataFiles.Builder builder = DataFiles.builder(table.spec()).copy(real);
    switch (kind) {
      case "lower_bound" -> lower.put(id, bytes(Long.MAX_VALUE));
      case "upper_bound" -> upper.put(id, bytes(Long.MIN_VALUE));
      case "value_count" -> values.merge(id, 1L, Long::sum);
      case "null_count" -> nulls.merge(id, 1L, Long::sum);
      case "record_count" -> records++;
      case "size" -> builder.withFileSizeInBytes(real.fileSizeInBytes() + 1);
      case "split_offsets" -> builder.withSplitOffsets(List.of(5L));
      case "partition" -> {
        PartitionData wrong = new PartitionData(table.spec().partitionType());
        wrong.set(0, "no row is from here");
        builder.withPartition(wrong);
      }
      default -> throw new IllegalArgumentException("no such damage: " + kind);
    }
    return builder
        .withMetrics(new Metrics(records, real.columnSizes(), values, nulls, real.nanValueCounts(), lower, upper))
        .withRecordCount(records)
        .build();
  }

  private static ByteBuffer bytes(long value) {
    return Conversions.toByteBuffer(Types.LongType.get(), value);
  }
}
