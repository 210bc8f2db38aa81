package dev.icepress.harness;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.jdbc.JdbcCatalog;

/**
 * {@code wap}: write, audit, publish. {@code --do stage} tags the table as it is, appends to a branch of its own and
 * stages an append under a {@code wap.id}; {@code --do publish} makes that one current by cherry-picking it. Both say
 * which ids each ref has.
 */
final class WapCommand {
  private static final String WAP_ID = "wap.id";
  private static final String ID = "audit-1";

  private WapCommand() {}

  static void run(Main.Options options) throws IOException {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Table table = catalog.loadTable(Catalogs.identifier(options.get("table")));
      switch (options.get("do")) {
        case "stage" -> stage(table);
        case "publish" -> publish(table);
        default -> throw new IllegalArgumentException("--do stage|publish");
      }
      table.refresh();
      Map<String, Object> ids = new LinkedHashMap<>();
      for (Map.Entry<String, org.apache.iceberg.SnapshotRef> ref : table.refs().entrySet()) {
        ids.put(ref.getKey(), ids(table, ref.getValue().snapshotId()));
      }
      ids.put("staged", ids(table, staged(table).snapshotId()));
      System.out.println(Json.text(ids));
    }
  }

  private static void stage(Table table) {
    table.updateProperties().set("write.wap.enabled", "true").commit();
    table.manageSnapshots().createTag("before", table.currentSnapshot().snapshotId()).commit();
    table.manageSnapshots().createBranch("side", table.currentSnapshot().snapshotId()).commit();
    append(table, 100_000, table.newAppend().toBranch("side"));
    append(table, 200_000, table.newAppend().stageOnly().set(WAP_ID, ID));
  }

  private static void append(Table table, long from, AppendFiles append) {
    Maker maker = new Maker(table, from);
    maker.rows.startAt(from);
    maker.write(maker.rows.rows(table.schema(), 10), table.schema(), table.spec(), FileFormat.PARQUET)
        .forEach(append::appendFile);
    append.commit();
  }

  private static void publish(Table table) {
    table.manageSnapshots().cherrypick(staged(table).snapshotId()).commit();
  }

  private static Snapshot staged(Table table) {
    table.refresh();
    for (Snapshot snapshot : table.snapshots()) {
      if (ID.equals(snapshot.summary().get(WAP_ID))) {
        return snapshot;
      }
    }
    throw new IllegalStateException("nothing is staged");
  }

  private static List<Long> ids(Table table, long snapshot) throws IOException {
    List<Long> ids = new ArrayList<>();
    try (CloseableIterable<Record> records = IcebergGenerics.read(table).useSnapshot(snapshot).build()) {
      records.forEach(record -> ids.add((Long) record.getField("id")));
    }
    Collections.sort(ids);
    return ids;
  }
}
