package dev.icepress.harness;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DeleteFile;
import org.apache.iceberg.LiveEntries;
import org.apache.iceberg.ManifestFile;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.jdbc.JdbcCatalog;

/**
 * {@code manifests}: Java's own rewrite of manifests beside ours. {@code --do rewrite} clusters data manifests by partition;
 * {@code --do entries} says what each live entry says; {@code --do eager} has two small manifests be worth it. All say what the current snapshot's summary has, how many
 * manifests there are by content and spec, and how many tombstones. One JSON object by table.
 */
final class ManifestsCommand {
  private ManifestsCommand() {}

  static void run(Main.Options options) throws IOException {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Map<String, Object> answers = new LinkedHashMap<>();
      for (TableIdentifier name : Catalogs.chosen(catalog, options)) {
        Table table = catalog.loadTable(name);
        if (options.get("do").equals("eager")) {
          table.updateProperties().set("commit.manifest.min-count-to-merge", "2").commit();
        }
        if (options.get("do").equals("rewrite")) {
          table.rewriteManifests().clusterBy(file -> file.partition().toString()).commit();
          table.refresh();
        }
        answers.put(name.toString(), answer(table));
      }
      System.out.println(Json.text(answers));
    }
  }

  private static Map<String, Object> answer(Table table) throws IOException {
    Snapshot snapshot = table.currentSnapshot();
    List<String> entries = new ArrayList<>();
    Map<String, Integer> manifests = new TreeMap<>();
    int tombstones = 0;
    for (ManifestFile manifest : snapshot.allManifests(table.io())) {
      manifests.merge(manifest.content() + " " + manifest.partitionSpecId(), 1, Integer::sum);
      for (LiveEntries.Entry entry : LiveEntries.of(manifest, table.io(), table.specs())) {
        if (!entry.live()) {
          tombstones++;
          continue;
        }
        var file = entry.file();
        Object row = file instanceof DataFile data ? data.firstRowId() : null;
        Object about = file instanceof DeleteFile delete ? delete.referencedDataFile() + "@" + delete.contentOffset() : null;
        entries.add(
            List.of(
                    file.content(), file.location(), file.specId(), partition(file.partition()), entry.snapshotId(),
                    entry.dataSequence(), String.valueOf(entry.fileSequence()), file.recordCount(), file.fileSizeInBytes(),
                    String.valueOf(row), String.valueOf(about), bounds(file.lowerBounds()), bounds(file.upperBounds()),
                    String.valueOf(file.nullValueCounts()), String.valueOf(file.splitOffsets()),
                    String.valueOf(file.equalityFieldIds()), String.valueOf(file.sortOrderId()))
                .toString());
      }
    }
    entries.sort(null);
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("entries", entries);
    answer.put("manifests", manifests);
    answer.put("tombstones", tombstones);
    answer.put("operation", snapshot.operation());
    answer.put("summary", snapshot.summary());
    return answer;
  }

  private static List<String> partition(StructLike partition) {
    List<String> values = new ArrayList<>();
    for (int place = 0; place < partition.size(); place++) {
      values.add(PartitionStatsCommand.text(partition.get(place, Object.class)));
    }
    return values;
  }

  private static String bounds(Map<Integer, ByteBuffer> bounds) {
    Map<Integer, String> said = new TreeMap<>();
    if (bounds != null) {
      bounds.forEach((column, bound) -> said.put(column, PartitionStatsCommand.text(bound)));
    }
    return said.toString();
  }
}
