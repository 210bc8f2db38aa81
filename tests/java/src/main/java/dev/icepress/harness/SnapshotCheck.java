package dev.icepress.harness;

import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.iceberg.ContentFile;
import org.apache.iceberg.FileContent;
import org.apache.iceberg.LiveEntries;
import org.apache.iceberg.LiveEntries.Entry;
import org.apache.iceberg.HasTableOperations;
import org.apache.iceberg.ManifestContent;
import org.apache.iceberg.ManifestFile;
import org.apache.iceberg.PartitionField;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.Table;
import org.apache.iceberg.types.Conversions;
import org.apache.iceberg.types.Type;

/** Manifest list against manifests, sequence numbers, summary totals, and what a replace says that it replaced. */
final class SnapshotCheck {
  private final Table table;
  private final Findings findings;

  SnapshotCheck(Table table, Findings findings) {
    this.table = table;
    this.findings = findings;
  }

  List<Entry> entries(Snapshot snapshot) throws IOException {
    List<Entry> all = new ArrayList<>();
    for (ManifestFile manifest : snapshot.allManifests(table.io())) {
      all.addAll(LiveEntries.of(manifest, table.io(), table.specs()));
    }
    return all;
  }

  void run(Snapshot snapshot) throws IOException {
    Map<String, Long> totals = new HashMap<>();
    Set<String> seen = new HashSet<>();
    for (ManifestFile manifest : snapshot.allManifests(table.io())) {
      List<Entry> entries = LiveEntries.of(manifest, table.io(), table.specs());
      manifest(manifest, entries, snapshot);
      for (Entry entry : entries) {
        if (entry.live()) {
          total(entry, totals);
          if (!seen.add(key(entry.file()))) {
            findings.problem("snapshot %d: %s is live twice", snapshot.snapshotId(), entry.file().location());
          }
        }
      }
    }
    if (snapshot.firstRowId() != null) {
      lineage(snapshot);
    }
    for (String total : List.of("total-records", "total-data-files", "total-delete-files", "total-position-deletes", "total-equality-deletes", "total-files-size")) {
      String said = snapshot.summary().get(total);
      if (said != null) {
        findings.same(Long.parseLong(said), totals.getOrDefault(total, 0L), "snapshot %d (%s) %s", snapshot.snapshotId(), snapshot.operation(), total);
      } else if ("replace".equals(snapshot.operation())) {
        findings.problem("snapshot %d (replace) has no %s", snapshot.snapshotId(), total);
      }
    }
  }

  /** Format v3: every file has row ids, none twice, none that the table may give out again; one vector a data file. */
  private void lineage(Snapshot snapshot) throws IOException {
    long next = ((HasTableOperations) table).operations().current().nextRowId();
    String name = "snapshot " + snapshot.snapshotId();
    if (snapshot.addedRows() == null || snapshot.firstRowId() + snapshot.addedRows() > next) {
      findings.problem("%s gave out %s row ids from %d on, the table's next is %d", name, snapshot.addedRows(), snapshot.firstRowId(), next);
    }
    for (ManifestFile manifest : snapshot.allManifests(table.io())) {
      boolean data = manifest.content() == ManifestContent.DATA;
      if (data == (manifest.firstRowId() == null)) {
        findings.problem("%s: manifest %s has first row id %s", name, manifest.path(), manifest.firstRowId());
      }
    }
    TreeMap<Long, ContentFile<?>> starts = new TreeMap<>();
    Set<String> vectors = new HashSet<>();
    for (Entry entry : entries(snapshot)) {
      ContentFile<?> file = entry.file();
      if (!entry.live()) {
        continue;
      } else if (file instanceof org.apache.iceberg.DeleteFile delete) {
        if (delete.format() == org.apache.iceberg.FileFormat.PUFFIN && !vectors.add(delete.referencedDataFile())) {
          findings.problem("%s: %s has two live vectors", name, delete.referencedDataFile());
        }
      } else if (file.firstRowId() == null || file.firstRowId() + file.recordCount() > next) {
        findings.problem("%s: %s has first row id %s, the table's next is %d", name, file.location(), file.firstRowId(), next);
      } else {
        starts.put(file.firstRowId(), file);
      }
    }
    long end = 0;
    for (ContentFile<?> file : starts.values()) {
      if (file.firstRowId() < end) {
        findings.problem("%s: %s begins with row id %d, which another file has", name, file.location(), file.firstRowId());
      }
      end = Math.max(end, file.firstRowId() + file.recordCount());
    }
  }

  private static String key(ContentFile<?> file) {
    return file.location() + (file instanceof org.apache.iceberg.DeleteFile d ? "@" + d.contentOffset() : "");
  }

  private static void total(Entry entry, Map<String, Long> totals) {
    ContentFile<?> file = entry.file();
    boolean vector = file.format() == org.apache.iceberg.FileFormat.PUFFIN;
    long size = vector ? ((org.apache.iceberg.DeleteFile) file).contentSizeInBytes() : file.fileSizeInBytes();
    totals.merge("total-files-size", size, Long::sum);
    if (file.content() == FileContent.DATA) {
      totals.merge("total-data-files", 1L, Long::sum);
      totals.merge("total-records", file.recordCount(), Long::sum);
    } else {
      totals.merge("total-delete-files", 1L, Long::sum);
      boolean positions = file.content() == FileContent.POSITION_DELETES;
      totals.merge(positions ? "total-position-deletes" : "total-equality-deletes", file.recordCount(), Long::sum);
    }
  }

  private void manifest(ManifestFile manifest, List<Entry> entries, Snapshot snapshot) throws IOException {
    String name = manifest.path().substring(manifest.path().lastIndexOf('/') + 1);
    findings.same(manifest.length(), table.io().newInputFile(manifest.path()).getLength(), "%s manifest_length", name);
    int added = 0;
    int existing = 0;
    int deleted = 0;
    long addedRows = 0;
    long existingRows = 0;
    long deletedRows = 0;
    long minSequence = Long.MAX_VALUE;
    for (Entry entry : entries) {
      long rows = entry.file().recordCount();
      switch (entry.status()) {
        case "ADDED" -> {
          added++;
          addedRows += rows;
          if (!java.util.Objects.equals(entry.snapshotId(), manifest.snapshotId())) {
            findings.problem("%s: an added entry of snapshot %s in a manifest of %s", name, entry.snapshotId(), manifest.snapshotId());
          }
        }
        case "EXISTING" -> {
          existing++;
          existingRows += rows;
        }
        default -> {
          deleted++;
          deletedRows += rows;
        }
      }
      sequence(entry, manifest, snapshot, name);
      if (entry.live() && entry.dataSequence() != null) {
        minSequence = Math.min(minSequence, entry.dataSequence());
      }
      findings.same(entry.file().specId(), manifest.partitionSpecId(), "%s: spec of %s", name, entry.file().location());
    }
    countIfStated(manifest.addedFilesCount(), added, name, "added_files_count");
    countIfStated(manifest.existingFilesCount(), existing, name, "existing_files_count");
    countIfStated(manifest.deletedFilesCount(), deleted, name, "deleted_files_count");
    countIfStated(manifest.addedRowsCount(), addedRows, name, "added_rows_count");
    countIfStated(manifest.existingRowsCount(), existingRows, name, "existing_rows_count");
    countIfStated(manifest.deletedRowsCount(), deletedRows, name, "deleted_rows_count");
    if (minSequence != Long.MAX_VALUE && manifest.minSequenceNumber() > minSequence) {
      findings.problem("%s min_sequence_number says %d, is %d", name, manifest.minSequenceNumber(), minSequence);
    }
    if (manifest.sequenceNumber() > snapshot.sequenceNumber()) {
      findings.problem("%s is of sequence %d, its snapshot of %d", name, manifest.sequenceNumber(), snapshot.sequenceNumber());
    }
    summaries(manifest, entries, name);
  }

  private void countIfStated(Number said, long real, String name, String what) {
    if (said != null) {
      findings.same(said.longValue(), real, "%s %s", name, what);
    }
  }

  private void sequence(Entry entry, ManifestFile manifest, Snapshot snapshot, String name) {
    if (entry.dataSequence() == null) {
      if (entry.live()) {
        findings.problem("%s: no data sequence number for %s", name, entry.file().location());
      }
      return;
    }
    if (entry.dataSequence() > snapshot.sequenceNumber() || entry.dataSequence() > manifest.sequenceNumber()) {
      findings.problem("%s: %s has data sequence %d, later than its manifest's %d", name, entry.file().location(), entry.dataSequence(), manifest.sequenceNumber());
    }
    if (entry.fileSequence() != null && entry.dataSequence() > entry.fileSequence()) {
      findings.problem("%s: %s has data sequence %d after file sequence %d", name, entry.file().location(), entry.dataSequence(), entry.fileSequence());
    }
    if (entry.status().equals("ADDED") && entry.fileSequence() != null) {
      findings.same(entry.fileSequence(), manifest.sequenceNumber(), "%s: file sequence of %s", name, entry.file().location());
    }
  }

  /** The manifest list's partition summaries: what a planner skips whole manifests by. */
  private void summaries(ManifestFile manifest, List<Entry> entries, String name) {
    PartitionSpec spec = table.specs().get(manifest.partitionSpecId());
    List<ManifestFile.PartitionFieldSummary> summaries = manifest.partitions();
    if (summaries == null || spec.isUnpartitioned()) {
      return;
    }
    if (summaries.size() != spec.fields().size()) {
      findings.problem("%s has %d partition summaries for %d fields", name, summaries.size(), spec.fields().size());
      return;
    }
    for (int i = 0; i < summaries.size(); i++) {
      PartitionField field = spec.fields().get(i);
      Type type = spec.partitionType().fields().get(i).type();
      ManifestFile.PartitionFieldSummary summary = summaries.get(i);
      for (Entry entry : entries) {
        Object value = entry.file().partition().get(i, Object.class);
        if (value == null) {
          if (!summary.containsNull()) {
            findings.problem("%s summary of %s: contains_null is false, there is one", name, field.name());
          }
        } else if (isNaN(value)) {
          if (summary.containsNaN() != null && !summary.containsNaN()) {
            findings.problem("%s summary of %s: contains_nan is false, there is one", name, field.name());
          }
        } else if (summary.lowerBound() != null && summary.upperBound() != null) {
          var order = ColumnFacts.order(type);
          Object lower = Conversions.fromByteBuffer(type, summary.lowerBound());
          Object upper = Conversions.fromByteBuffer(type, summary.upperBound());
          boolean signed = value instanceof java.util.UUID;
          if (!signed && (order.compare(lower, value) > 0 || order.compare(upper, value) < 0)) {
            findings.problem("%s summary of %s: %s..%s excludes %s", name, field.name(), lower, upper, value);
          }
        } else {
          findings.problem("%s summary of %s has no bounds, there is %s", name, field.name(), value);
        }
      }
    }
  }

  private static boolean isNaN(Object value) {
    return (value instanceof Float f && f.isNaN()) || (value instanceof Double d && d.isNaN());
  }

  /** A replace's summary and tombstones against the difference between its parent's live files and its own. */
  void replace(Snapshot snapshot) throws IOException {
    Snapshot parent = snapshot.parentId() == null ? null : table.snapshot(snapshot.parentId());
    if (parent == null) {
      return;
    }
    Map<String, ContentFile<?>> before = live(parent);
    Map<String, ContentFile<?>> after = live(snapshot);
    Map<String, Long> difference = new HashMap<>();
    Set<String> removed = new HashSet<>();
    after.forEach((key, file) -> tally(difference, before.containsKey(key) ? null : "added", file));
    before.forEach(
        (key, file) -> {
          if (!after.containsKey(key)) {
            tally(difference, "deleted", file);
            removed.add(key);
          }
        });
    for (String what : List.of("added-data-files", "deleted-data-files", "added-records", "deleted-records", "added-delete-files", "removed-delete-files")) {
      long said = Long.parseLong(snapshot.summary().getOrDefault(what, "0"));
      findings.same(said, difference.getOrDefault(what, 0L), "snapshot %d (replace) %s", snapshot.snapshotId(), what);
    }
    if (difference.getOrDefault("added-records", 0L) > difference.getOrDefault("deleted-records", 0L)) {
      findings.problem("snapshot %d (replace) added more records than it removed", snapshot.snapshotId());
    }
    Set<String> tombstones = new HashSet<>();
    for (Entry entry : entries(snapshot)) {
      if (!entry.live() && entry.snapshotId() != null && entry.snapshotId() == snapshot.snapshotId()) {
        tombstones.add(key(entry.file()));
      }
    }
    findings.same(tombstones, removed, "snapshot %d (replace) tombstones", snapshot.snapshotId());
  }

  private Map<String, ContentFile<?>> live(Snapshot snapshot) throws IOException {
    Map<String, ContentFile<?>> files = new HashMap<>();
    for (Entry entry : entries(snapshot)) {
      if (entry.live()) {
        files.put(key(entry.file()), entry.file());
      }
    }
    return files;
  }

  private static void tally(Map<String, Long> into, String verb, ContentFile<?> file) {
    if (verb == null) {
      return;
    }
    if (file.content() == FileContent.DATA) {
      into.merge(verb + "-data-files", 1L, Long::sum);
      into.merge(verb + "-records", file.recordCount(), Long::sum);
    } else {
      into.merge((verb.equals("added") ? "added" : "removed") + "-delete-files", 1L, Long::sum);
    }
  }
}
