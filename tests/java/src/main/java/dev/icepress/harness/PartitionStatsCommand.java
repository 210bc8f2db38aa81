package dev.icepress.harness;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.PartitionStatisticsFile;
import org.apache.iceberg.PartitionStats;
import org.apache.iceberg.PartitionStatsHandler;
import org.apache.iceberg.Partitioning;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.TableUtil;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.types.Types.StructType;

/**
 * {@code partition-stats}: Java's partition statistics beside ours. {@code --do compute} has Java count for the current
 * snapshot, from earlier statistics on where there are some, and sets nothing; {@code --do read} reads the file that the
 * metadata names for it. The rows in the file's order, by table.
 */
final class PartitionStatsCommand {
  private PartitionStatsCommand() {}

  static void run(Main.Options options) throws IOException {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Map<String, Object> answers = new LinkedHashMap<>();
      for (TableIdentifier name : Catalogs.chosen(catalog, options)) {
        Table table = catalog.loadTable(name);
        answers.put(name.toString(), rows(table, options.get("do").equals("compute") ? computed(table) : named(table)));
      }
      System.out.println(Json.text(answers));
    }
  }

  private static PartitionStatisticsFile computed(Table table) throws IOException {
    return PartitionStatsHandler.computeAndWriteStatsFile(table);
  }

  private static PartitionStatisticsFile named(Table table) {
    long current = table.currentSnapshot().snapshotId();
    return table.partitionStatisticsFiles().stream().filter(file -> file.snapshotId() == current).findFirst().orElseThrow();
  }

  private static List<Map<String, Object>> rows(Table table, PartitionStatisticsFile file) throws IOException {
    StructType type = Partitioning.partitionType(table);
    Schema schema = PartitionStatsHandler.schema(type, TableUtil.formatVersion(table));
    List<Map<String, Object>> rows = new ArrayList<>();
    try (CloseableIterable<PartitionStats> stats =
        PartitionStatsHandler.readPartitionStatsFile(schema, table.io().newInputFile(file.path()))) {
      for (PartitionStats row : stats) {
        List<String> partition = new ArrayList<>();
        for (int place = 0; place < type.fields().size(); place++) {
          partition.add(text(row.partition().get(place, Object.class)));
        }
        Map<String, Object> said = new LinkedHashMap<>();
        said.put("partition", partition);
        said.put("spec", row.specId());
        said.put(
            "counts",
            List.of(
                row.dataRecordCount(), row.dataFileCount(), row.totalDataFileSizeInBytes(), row.positionDeleteRecordCount(),
                row.positionDeleteFileCount(), row.equalityDeleteRecordCount(), row.equalityDeleteFileCount(), row.dvCount()));
        said.put("total", row.totalRecords());
        said.put("updated", row.lastUpdatedAt());
        said.put("by", row.lastUpdatedSnapshotId());
        rows.add(said);
      }
    }
    return rows;
  }

  /** A value of a partition, or a bound; bytes in hex. */
  static String text(Object value) {
    if (value instanceof ByteBuffer buffer) {
      byte[] bytes = new byte[buffer.remaining()];
      buffer.duplicate().get(bytes);
      return HexFormat.of().formatHex(bytes);
    }
    return value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : String.valueOf(value);
  }
}
