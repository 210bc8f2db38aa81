package dev.icepress.harness;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.iceberg.FileContent;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.HasTableOperations;
import org.apache.iceberg.LiveEntries.Entry;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.TableMetadata;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.jdbc.JdbcCatalog;

/** {@code check}: what a table's metadata claims, held against what its files hold. One JSON line a table. */
final class CheckCommand {
  private CheckCommand() {}

  static void run(Main.Options options) {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      for (TableIdentifier name : Catalogs.chosen(catalog, options)) {
        Findings findings = new Findings(options.get("schema", "current").equals("any"));
        try {
          check(catalog.loadTable(name), findings);
        } catch (Exception e) {
          findings.problem("cannot be checked: %s at %s", e, e.getStackTrace().length > 0 ? e.getStackTrace()[0] : "?");
        }
        System.out.println(findings.json(name.toString()));
      }
    }
  }

  private static void check(Table table, Findings findings) throws IOException {
    TableMetadata metadata = ((HasTableOperations) table).operations().current();
    findings.facts.put("metadata", metadata.metadataFileLocation());
    findings.facts.put("format", metadata.formatVersion());
    findings.facts.put("snapshots", metadata.snapshots().size());
    Snapshot current = table.currentSnapshot();
    if (current == null) {
      return;
    }
    findings.facts.put("operation", current.operation());
    if (current.schemaId() != null && !table.schemas().containsKey(current.schemaId())) {
      findings.problem("snapshot %d names schema %d, which the table has not", current.snapshotId(), current.schemaId());
    }
    SnapshotCheck snapshots = new SnapshotCheck(table, findings);
    Set<Long> replaces = new HashSet<>();
    for (Snapshot snapshot : metadata.snapshots()) {
      if (snapshot.sequenceNumber() > metadata.lastSequenceNumber()) {
        findings.problem("snapshot %d is of sequence %d, the table's last is %d", snapshot.snapshotId(), snapshot.sequenceNumber(), metadata.lastSequenceNumber());
      }
      if ("replace".equals(snapshot.operation()) || snapshot.summary().containsKey("icepress.process-id")) {
        replaces.add(snapshot.snapshotId());
        snapshots.run(snapshot);
        snapshots.replace(snapshot);
      }
    }
    if (!replaces.contains(current.snapshotId())) {
      snapshots.run(current);
    }
    findings.facts.put("replaces", replaces.size());
    files(table, snapshots.entries(current), replaces, findings);
  }

  private static void files(Table table, List<Entry> entries, Set<Long> replaces, Findings findings) throws IOException {
    List<Entry> data = entries.stream().filter(e -> e.live() && e.file().content() == FileContent.DATA).toList();
    List<Entry> deletes = entries.stream().filter(e -> e.live() && e.file().content() != FileContent.DATA).toList();
    List<Map<String, Object>> rewritten = new ArrayList<>();
    Map<String, Long> kinds = new TreeMap<>();
    long bytes = 0;
    for (Entry entry : data) {
      bytes += entry.file().fileSizeInBytes();
      if (entry.file().format() == FileFormat.PARQUET) {
        boolean replaced = replaces.contains(entry.snapshotId());
        boolean lineage = replaced && table.snapshot(entry.snapshotId()).firstRowId() != null;
        new DataFileCheck(table, entry.file(), replaced, lineage, findings).run(rewritten);
      }
    }
    DeleteFileCheck check = new DeleteFileCheck(table, data, findings);
    List<String> needless = new ArrayList<>();
    for (Entry entry : deletes) {
      kinds.merge(entry.file().content().name().toLowerCase(java.util.Locale.ROOT), 1L, Long::sum);
      if (!check.needed(entry)) {
        needless.add(entry.file().location());
      }
    }
    findings.facts.put("data_files", data.size());
    findings.facts.put("bytes", bytes);
    findings.facts.put("partitions", data.stream().map(e -> e.file().specId() + "/" + e.file().partition()).distinct().count());
    findings.facts.put("delete_files", deletes.size());
    findings.facts.put("delete_kinds", kinds);
    findings.facts.put("needless", needless);
    findings.facts.put("rewritten", rewritten);
  }
}
