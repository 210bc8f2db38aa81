package dev.icepress.harness;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;

/**
 * {@code rows}: every row of a table's current snapshot as Java's generic reader sees it, or with {@code --lineage yes}
 * with its row id and last updated sequence number behind. One summary line a table.
 */
final class RowsCommand {
  private RowsCommand() {}

  static void run(Main.Options options) throws IOException {
    boolean lineage = options.get("lineage", "no").equals("yes");
    Path out = Path.of(options.get("out"));
    Files.createDirectories(out);
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      for (TableIdentifier name : Catalogs.chosen(catalog, options)) {
        Map<String, Object> summary = new LinkedHashMap<>();
        summary.put("table", name.toString());
        try {
          summary.put("rows", write(catalog.loadTable(name), out.resolve(name + ".jsonl"), lineage));
        } catch (Exception e) {
          summary.put("error", e.toString());
        }
        System.out.println(Json.text(summary));
      }
    }
  }

  private static long write(Table table, Path file, boolean lineage) throws IOException {
    long count = 0;
    if (lineage) {
      try (BufferedWriter writer = Files.newBufferedWriter(file)) {
        for (Record record : Lineage.read(table, null)) {
          writer.write(Json.row(record, record.size()));
          writer.newLine();
          count++;
        }
      }
      return count;
    }
    // Where position deletes apply, Java's reader leaves its own position column at the end of the row.
    int columns = table.schema().columns().size();
    try (CloseableIterable<Record> records = IcebergGenerics.read(table).build();
        BufferedWriter writer = Files.newBufferedWriter(file)) {
      for (Record record : records) {
        writer.write(Json.row(record, columns));
        writer.newLine();
        count++;
      }
    }
    return count;
  }
}
