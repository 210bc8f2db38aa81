package dev.icepress.harness;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.GenericBlobMetadata;
import org.apache.iceberg.GenericStatisticsFile;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.SnapshotRef;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.puffin.Blob;
import org.apache.iceberg.puffin.Puffin;
import org.apache.iceberg.puffin.PuffinWriter;

/**
 * {@code expire}: Java's own expiry as the judge of ours. {@code --do age} gives tables a past: a tag, branches, a
 * staged snapshot, statistics, files that are replaced and one that comes back. {@code --do expire} expires everything
 * older than {@code --older-than} and says which files it would delete, deleting none. {@code --do read} says how many
 * rows each snapshot has; {@code --do ids} which values of the column {@code id}.
 * {@code --do set} sets {@code --properties}, KEY=VALUE with semicolons between them. All tables, or those that {@code --table} names; one JSON object by table.
 */
final class ExpireCommand {
  private ExpireCommand() {}

  static void run(Main.Options options) throws IOException {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Map<String, Object> answers = new LinkedHashMap<>();
      for (TableIdentifier name : Catalogs.chosen(catalog, options)) {
        Table table = catalog.loadTable(name);
        Object answer =
            switch (options.get("do")) {
              case "age" -> age(table);
              case "expire" -> expire(table, options.number("older-than", 0));
              case "read" -> read(table);
              case "ids" -> ids(table);
              case "set" -> set(table, options.get("properties"));
              default -> throw new IllegalArgumentException("--do age|expire|read|ids|set");
            };
        answers.put(name.toString(), answer);
      }
      System.out.println(Json.text(answers));
    }
  }

  private static Map<String, Object> age(Table table) throws IOException {
    table.updateProperties().set("write.wap.enabled", "true").commit();
    statistics(table);
    table.manageSnapshots().createTag("release", table.currentSnapshot().snapshotId()).commit();
    table.manageSnapshots().createBranch("side", table.currentSnapshot().snapshotId()).commit();
    Maker maker = new Maker(table, 5);
    append(maker, table.newAppend().toBranch("side"));
    append(maker, table.newAppend().toBranch("side"));
    table.manageSnapshots().createBranch("keeps", table.currentSnapshot().snapshotId()).commit();
    append(maker, table.newAppend().toBranch("keeps"));
    table.manageSnapshots().setMinSnapshotsToKeep("keeps", 2).commit();
    append(maker, table.newAppend().stageOnly().set("wap.id", "audit-1"));
    // Out, and back under its own path; out for good.
    var back = append(maker, table.newAppend());
    var gone = append(maker, table.newAppend());
    statistics(table);
    var delete = table.newDelete();
    back.forEach(delete::deleteFile);
    gone.forEach(delete::deleteFile);
    delete.commit();
    AppendFiles again = table.newAppend();
    back.forEach(again::appendFile);
    again.commit();
    append(maker, table.newAppend());
    statistics(table);
    table.refresh();
    Map<String, Object> refs = new LinkedHashMap<>();
    for (Map.Entry<String, SnapshotRef> ref : table.refs().entrySet()) {
      refs.put(ref.getKey(), ref.getValue().snapshotId());
    }
    return refs;
  }

  private static java.util.List<org.apache.iceberg.DataFile> append(Maker maker, AppendFiles append) {
    Table table = maker.table;
    table.refresh();
    var files = maker.write(maker.rows.rows(table.schema(), 10), table.schema(), table.spec(), FileFormat.PARQUET);
    files.forEach(append::appendFile);
    append.commit();
    table.refresh();
    return files;
  }

  private static void statistics(Table table) throws IOException {
    Snapshot snapshot = table.currentSnapshot();
    String path = table.location() + "/metadata/stats-" + snapshot.snapshotId() + ".puffin";
    try (PuffinWriter writer = Puffin.write(table.io().newOutputFile(path)).createdBy("test").build()) {
      writer.add(
          new Blob(
              "apache-datasketches-theta-v1",
              java.util.List.of(1),
              snapshot.snapshotId(),
              snapshot.sequenceNumber(),
              java.nio.ByteBuffer.wrap(new byte[] {1, 2, 3})));
      writer.finish();
      var blobs = writer.writtenBlobsMetadata().stream().map(GenericBlobMetadata::from);
      table
          .updateStatistics()
          .setStatistics(
              new GenericStatisticsFile(
                  snapshot.snapshotId(), path, writer.fileSize(), writer.footerSize(), blobs.toList()))
          .commit();
    }
  }

  private static Map<String, Object> expire(Table table, long olderThan) {
    Set<String> files = new ConcurrentSkipListSet<>();
    table.expireSnapshots().expireOlderThan(olderThan).deleteWith(files::add).commit();
    table.refresh();
    Set<Long> snapshots = new TreeSet<>();
    table.snapshots().forEach(snapshot -> snapshots.add(snapshot.snapshotId()));
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("files", files);
    answer.put("snapshots", snapshots);
    answer.put("refs", new TreeSet<>(table.refs().keySet()));
    return answer;
  }

  private static Map<String, Object> set(Table table, String properties) {
    var update = table.updateProperties();
    for (String property : properties.split(";")) {
      String[] sides = property.split("=", 2);
      update.set(sides[0], sides[1]);
    }
    update.commit();
    return Map.of();
  }

  private static Map<String, Object> ids(Table table) throws IOException {
    Map<String, Object> all = new LinkedHashMap<>();
    for (Snapshot snapshot : table.snapshots()) {
      List<Object> ids = new ArrayList<>();
      try (CloseableIterable<Record> records =
          IcebergGenerics.read(table).useSnapshot(snapshot.snapshotId()).select("id").build()) {
        for (Record record : records) {
          ids.add(record.getField("id"));
        }
      }
      all.put(Long.toString(snapshot.snapshotId()), ids);
    }
    return all;
  }

  private static Map<String, Object> read(Table table) throws IOException {
    Map<String, Object> rows = new LinkedHashMap<>();
    for (Snapshot snapshot : table.snapshots()) {
      long count = 0;
      try (CloseableIterable<Record> records =
          IcebergGenerics.read(table).useSnapshot(snapshot.snapshotId()).build()) {
        for (Record ignored : records) {
          count++;
        }
      }
      rows.put(Long.toString(snapshot.snapshotId()), count);
    }
    return rows;
  }
}
