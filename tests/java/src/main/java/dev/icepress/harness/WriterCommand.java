package dev.icepress.harness;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.HasTableOperations;
import org.apache.iceberg.OverwriteFiles;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.RowDelta;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.data.parquet.GenericParquetReaders;
import org.apache.iceberg.deletes.PositionDelete;
import org.apache.iceberg.exceptions.CommitFailedException;
import org.apache.iceberg.exceptions.ValidationException;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.parquet.Parquet;

/**
 * {@code writer}: a writer that works while something else compacts, for so many commits or so many seconds. It says what
 * it did after each commit that the catalog took, one JSON line with the ids added and deleted; what it was refused it
 * does not count. {@code stream} does in turn what a streaming job leaves: appends, position and equality deletes. With
 * {@code --format} the table is upgraded to that version first. With {@code --until} it goes on after that until there is
 * such a file, up to eight times as long: whoever waits for something to happen beside it need not guess how long that takes.
 */
final class WriterCommand {
  private static final List<String> STREAM = List.of("append", "position", "append", "equality");

  private WriterCommand() {}

  static void run(Main.Options options) throws Exception {
    long next = options.number("from", 0);
    long commits = options.number("commits", 10);
    long seconds = options.number("seconds", 0);
    String kind = options.get("kind");
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Table table = catalog.loadTable(Catalogs.identifier(options.get("table")));
      if (options.number("format", 0) > formatVersion(table)) {
        table.updateProperties().set("format-version", options.get("format")).commit();
      }
      Maker maker = new Maker(table, next + kind.hashCode());
      // Counted from here on: a machine with much to do takes seconds to begin.
      long begun = System.nanoTime();
      String until = options.get("until", "");
      for (long commit = 0; ; commit++) {
        boolean isAwaited = !until.isEmpty() && !Files.exists(Path.of(until));
        long times = isAwaited ? 8 : 1;
        if (seconds > 0 ? System.nanoTime() - begun >= times * seconds * 1_000_000_000L : commit >= times * commits) {
          break;
        }
        List<Long> added = new ArrayList<>();
        List<Long> deleted = new ArrayList<>();
        try {
          switch (kind.equals("stream") ? STREAM.get((int) (commit % STREAM.size())) : kind) {
            case "append" -> {
              maker.rows.startAt(next);
              next += 10;
              added.addAll(ids(maker, maker.rows.rows(table.schema(), 10)));
            }
            case "position" -> deleted.addAll(positions(maker));
            case "equality" -> deleted.addAll(equality(maker));
            // Which rows it hits is for the tables' own lineage to show.
            case "vector" -> maker.deleteByVector(0.1);
            case "overwrite" -> {
              maker.rows.startAt(next);
              next += 3;
              overwrite(maker, added, deleted);
            }
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

  private static int formatVersion(Table table) {
    return ((HasTableOperations) table).operations().current().formatVersion();
  }

  /**
   * Deletes up to three rows of one live file by position (from format v3 on by its vector), validated as engines do: the
   * file must still be there, and have no other vector.
   */
  private static List<Long> positions(Maker maker) throws IOException {
    Table table = maker.table;
    List<FileScanTask> tasks = maker.tasks();
    long base = table.currentSnapshot().snapshotId();
    FileScanTask task = tasks.get(maker.random().nextInt(tasks.size()));
    DataFile victim = task.file();
    Set<Object> live = liveIds(table, base);
    Schema ids = table.schema().select("id");
    List<Long> positions = new ArrayList<>();
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
          positions.add(pos);
          deleted.add(id);
        }
        pos++;
      }
    }
    if (positions.isEmpty()) {
      return deleted;
    }
    RowDelta delta;
    if (formatVersion(table) >= 3) {
      delta = maker.vectors(Map.of(task, positions));
    } else {
      List<PositionDelete<Record>> deletes = new ArrayList<>();
      positions.forEach(pos -> deletes.add(PositionDelete.<Record>create().set(victim.location(), pos, null)));
      delta = table.newRowDelta().addDeletes(maker.writePositionDeletes(victim, deletes));
    }
    delta
        .validateFromSnapshot(base)
        .validateDataFilesExist(List.of(victim.location()))
        .validateDeletedFiles()
        .commit();
    return deleted;
  }

  private static Set<Object> liveIds(Table table, long snapshot) throws IOException {
    Set<Object> live = new HashSet<>();
    try (CloseableIterable<Record> records = IcebergGenerics.read(table).useSnapshot(snapshot).select("id").build()) {
      records.forEach(record -> live.add(record.getField("id")));
    }
    return live;
  }

  /**
   * Replaces one live file as an engine's UPDATE does that copies on write: three of its rows go, three new ones come,
   * the others move. Validated: a delete that hit the file meanwhile refuses it.
   */
  private static void overwrite(Maker maker, List<Long> added, List<Long> deleted) throws IOException {
    Table table = maker.table;
    List<DataFile> files = maker.liveFiles();
    long base = table.currentSnapshot().snapshotId();
    Set<Object> live = liveIds(table, base);
    DataFile victim = files.get(maker.random().nextInt(files.size()));
    PartitionSpec spec = table.specs().get(victim.specId());
    Schema schema = table.schema();
    List<Record> kept = new ArrayList<>();
    try (CloseableIterable<Record> records =
        Parquet.read(table.io().newInputFile(victim.location()))
            .project(schema)
            .createReaderFunc(type -> GenericParquetReaders.buildReader(schema, type))
            .build()) {
      for (Record record : records) {
        Long id = (Long) record.getField("id");
        if (!live.contains(id)) {
          continue;
        }
        if (deleted.size() < 3) {
          deleted.add(id);
        } else {
          kept.add(record.copy());
        }
      }
    }
    List<Record> fresh = maker.rows.rows(schema, deleted.size());
    OverwriteFiles overwrite = table.newOverwrite().deleteFile(victim);
    if (!kept.isEmpty()) {
      overwrite.addFile(maker.writeFile(kept, schema, spec, victim.partition(), FileFormat.PARQUET));
    }
    if (!fresh.isEmpty()) {
      maker.write(fresh, schema, table.spec(), FileFormat.PARQUET).forEach(overwrite::addFile);
    }
    overwrite
        .validateFromSnapshot(base)
        .conflictDetectionFilter(Expressions.alwaysTrue())
        .validateNoConflictingDeletes()
        .commit();
    fresh.forEach(row -> added.add((Long) row.getField("id")));
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
