package dev.icepress.harness;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.LiveEntries;
import org.apache.iceberg.LiveEntries.Entry;
import org.apache.iceberg.ManifestContent;
import org.apache.iceberg.ManifestFile;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.data.parquet.GenericParquetReaders;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.parquet.Parquet;

/**
 * {@code origins}: whether each live row of a v3 table has the row id and the last updated sequence number that the last
 * writer gave it, however often upkeep has moved it since. One JSON line: how many rows live, how many
 * were ever written, and what is wrong. Rows are known by their column {@code id}; the table must still have all its
 * snapshots.
 */
final class OriginsCommand {
  /** Where a row came to be. */
  private record Origin(long rowId, long sequence) {}

  private OriginsCommand() {}

  static void run(Main.Options options) throws IOException {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Table table = catalog.loadTable(Catalogs.identifier(options.get("table")));
      Map<Long, Origin> origins = origins(table);
      List<String> problems = new ArrayList<>();
      Set<Long> given = new HashSet<>();
      List<Record> rows = Lineage.read(table, null);
      for (Record row : rows) {
        Long id = (Long) row.getField("id");
        Long rowId = (Long) row.getField(MetadataColumns.ROW_ID.name());
        Long sequence = (Long) row.getField(MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER.name());
        if (rowId == null || sequence == null || !new Origin(rowId, sequence).equals(origins.get(id))) {
          problems.add("row %s has row id %s and sequence %s, was written as %s".formatted(id, rowId, sequence, origins.get(id)));
        } else if (!given.add(rowId)) {
          problems.add("row id %s is given twice".formatted(rowId));
        }
      }
      Map<String, Object> said = new LinkedHashMap<>();
      said.put("rows", rows.size());
      said.put("written", origins.size());
      said.put("problems", problems.subList(0, Math.min(20, problems.size())));
      System.out.println(Json.text(said));
    }
  }

  /** By id, what the last file said that somebody other than upkeep wrote the row to. */
  private static Map<Long, Origin> origins(Table table) throws IOException {
    Set<Long> upkeep = new HashSet<>();
    for (Snapshot snapshot : table.snapshots()) {
      if (snapshot.summary().containsKey("icepress.process-id")) {
        upkeep.add(snapshot.snapshotId());
      }
    }
    Map<Long, Origin> origins = new HashMap<>();
    // Files from before an upgrade have row ids only in the lists since.
    Set<String> manifests = new HashSet<>();
    Set<String> files = new HashSet<>();
    for (Snapshot snapshot : table.snapshots()) {
      for (ManifestFile manifest : snapshot.allManifests(table.io())) {
        boolean isNew = manifest.content() == ManifestContent.DATA && manifests.add(manifest.path() + "@" + manifest.firstRowId());
        for (Entry entry : isNew ? LiveEntries.of(manifest, table.io(), table.specs()) : List.<Entry>of()) {
          DataFile file = (DataFile) entry.file();
          boolean written = entry.live() && !upkeep.contains(entry.snapshotId()) && file.firstRowId() != null;
          if (written && files.add(file.location())) {
            read(table, file, entry.dataSequence(), origins);
          }
        }
      }
    }
    return origins;
  }

  private static void read(Table table, DataFile file, long sequence, Map<Long, Origin> into) throws IOException {
    Schema ids = table.schema().select("id");
    try (CloseableIterable<Record> records =
        Parquet.read(table.io().newInputFile(file.location()))
            .project(ids)
            .createReaderFunc(type -> GenericParquetReaders.buildReader(ids, type))
            .build()) {
      long rowId = file.firstRowId();
      for (Record record : records) {
        Origin origin = new Origin(rowId++, sequence);
        into.merge((Long) record.getField("id"), origin, (one, other) -> one.sequence() > other.sequence() ? one : other);
      }
    }
  }
}
