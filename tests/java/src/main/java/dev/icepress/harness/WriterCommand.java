package dev.icepress.harness;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.RowDelta;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.data.parquet.GenericParquetReaders;
import org.apache.iceberg.deletes.PositionDelete;
import org.apache.iceberg.exceptions.CommitFailedException;
import org.apache.iceberg.exceptions.ValidationException;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.parquet.Parquet;

/**
 * {@code writer}: a writer that works while something else compacts. It says what it did after each commit that the
 * catalog took, one JSON line with the ids added and deleted; what it was refused it does not count.
 */
final class WriterCommand {
  private WriterCommand() {}

  static void run(Main.Options options) throws Exception {
    long next = options.number("from", 0);
    long commits = options.number("commits", 10);
    String kind = options.get("kind");
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Table table = catalog.loadTable(Catalogs.identifier(options.get("table")));
      Maker maker = new Maker(table, next + kind.hashCode());
      for (long commit = 0; commit < commits; commit++) {
        List<Long> added = new ArrayList<>();
        List<Long> deleted = new ArrayList<>();
        try {
          switch (kind) {
            case "append" -> {
              maker.rows.startAt(next);
              next += 10;
              added.addAll(ids(maker, maker.rows.rows(table.schema(), 10)));
            }
            case "position" -> deleted.addAll(positions(maker));
            case "equality" -> deleted.addAll(equality(maker));
            // Which rows it hits is for the tables' own lineage to show.
            case "vector" -> maker.deleteByVector(0.1);
            default -> throw new IllegalArgumentException("no such kind: " + kind);
          }
          Map<String, Object> said = new LinkedHashMap<>();
          said.put("added", added);
          said.put("deleted", deleted);
          System.out.println(Json.text(said));
        } catch (CommitFailedException | ValidationException e) {
          Map<String, Object> said = new LinkedHashMap<>();
          said.put("refused", e.toString());
          System.out.println(Json.text(said));
        }
        Thread.sleep(options.number("pause-ms", 50));
      }
    }
  }

  private static List<Long> ids(Maker maker, List<Record> rows) {
    maker.append(rows);
    return rows.stream().map(row -> (Long) row.getField("id")).toList();
  }

  /** Deletes up to three rows of one live file by position, validated as engines do: the file must still be there. */
  private static List<Long> positions(Maker maker) throws IOException {
    Table table = maker.table;
    List<DataFile> files = maker.liveFiles();
    long base = table.currentSnapshot().snapshotId();
    java.util.Set<Object> live = new java.util.HashSet<>();
    maker.read().forEach(row -> live.add(row.getField("id")));
    DataFile victim = files.get(maker.random().nextInt(files.size()));
    Schema ids = table.schema().select("id");
    List<PositionDelete<Record>> deletes = new ArrayList<>();
    List<Long> deleted = new ArrayList<>();
    try (CloseableIterable<Record> records =
        Parquet.read(table.io().newInputFile(victim.location()))
            .project(ids)
            .createReaderFunc(type -> GenericParquetReaders.buildReader(ids, type))
            .build()) {
      long pos = 0;
      for (Record record : records) {
        Long id = (Long) record.getField("id");
        if (live.contains(id) && deleted.size() < 3 && maker.random().nextInt(4) == 0) {
          deletes.add(PositionDelete.<Record>create().set(victim.location(), pos, null));
          deleted.add(id);
        }
        pos++;
      }
    }
    if (deletes.isEmpty()) {
      return deleted;
    }
    RowDelta delta = table.newRowDelta();
    delta.addDeletes(maker.writePositionDeletes(victim, deletes));
    delta
        .validateFromSnapshot(base)
        .validateDataFilesExist(List.of(victim.location()))
        .validateDeletedFiles()
        .commit();
    return deleted;
  }

  private static List<Long> equality(Maker maker) throws IOException {
    List<Record> victims = new ArrayList<>();
    try (CloseableIterable<Record> records = IcebergGenerics.read(refreshed(maker)).build()) {
      for (Record record : records) {
        if (victims.size() < 3 && maker.random().nextInt(20) == 0) {
          victims.add(record.copy());
        }
      }
    }
    if (!victims.isEmpty()) {
      maker.deleteKeys(victims, maker.table.spec(), "id");
    }
    return victims.stream().map(row -> (Long) row.getField("id")).toList();
  }

  private static Table refreshed(Maker maker) {
    maker.table.refresh();
    return maker.table;
  }
}
