package dev.icepress.harness;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.iceberg.DeleteFile;
import org.apache.iceberg.FileContent;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.LiveEntries.Entry;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.data.parquet.GenericParquetReaders;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.parquet.Parquet;
import org.apache.iceberg.types.Types;

/** One delete file: is it whole, and does any live data file still need it? */
final class DeleteFileCheck {
  private static final Schema POSITIONS =
      new Schema(MetadataColumns.DELETE_FILE_PATH, MetadataColumns.DELETE_FILE_POS);

  private final Table table;
  private final List<Entry> liveData;
  private final Findings findings;

  DeleteFileCheck(Table table, List<Entry> liveData, Findings findings) {
    this.table = table;
    this.liveData = liveData;
    this.findings = findings;
  }

  /** Whether a reader would apply the file to any live data file. */
  boolean needed(Entry entry) throws IOException {
    DeleteFile file = (DeleteFile) entry.file();
    InputFile input = table.io().newInputFile(file.location());
    findings.same(file.fileSizeInBytes(), input.getLength(), "%s file_size_in_bytes", file.location());
    if (file.format() == FileFormat.PUFFIN) {
      return liveData.stream().anyMatch(data -> data.file().location().equals(file.referencedDataFile()));
    }
    return file.content() == FileContent.POSITION_DELETES ? positions(entry, file, input) : equality(entry, file, input);
  }

  private boolean positions(Entry entry, DeleteFile file, InputFile input) throws IOException {
    Map<String, Long> hits = new HashMap<>();
    long rows = 0;
    String lastPath = "";
    long lastPos = -1;
    try (CloseableIterable<Record> records = read(input, POSITIONS)) {
      for (Record record : records) {
        String path = record.get(0).toString();
        long pos = (Long) record.get(1);
        rows++;
        int order = path.compareTo(lastPath);
        if (order < 0 || order == 0 && pos < lastPos) {
          findings.problem("%s is not sorted by path and position", file.location());
        }
        lastPath = path;
        lastPos = pos;
        hits.merge(path, pos, Math::max);
      }
    }
    findings.same(file.recordCount(), rows, "%s record_count", file.location());
    if (file.referencedDataFile() != null && !hits.keySet().equals(java.util.Set.of(file.referencedDataFile()))) {
      findings.problem("%s says it is for %s, and is for %s", file.location(), file.referencedDataFile(), hits.keySet());
    }
    return liveData.stream()
        .anyMatch(
            data ->
                hits.containsKey(data.file().location())
                    && data.dataSequence() <= entry.dataSequence()
                    && samePartition(data, entry));
  }

  private boolean equality(Entry entry, DeleteFile file, InputFile input) throws IOException {
    if (file.equalityFieldIds() == null || file.equalityFieldIds().isEmpty()) {
      findings.problem("%s has no equality ids", file.location());
      return true;
    }
    for (int id : file.equalityFieldIds()) {
      if (table.schema().findField(id) == null && table.schemas().values().stream().noneMatch(s -> s.findField(id) != null)) {
        findings.problem("%s compares field %d, which no schema of the table has", file.location(), id);
      }
    }
    PartitionSpec spec = table.specs().get(file.specId());
    return liveData.stream()
        .anyMatch(
            data ->
                data.dataSequence() < entry.dataSequence()
                    && (spec.isUnpartitioned() || samePartition(data, entry)));
  }

  private boolean samePartition(Entry data, Entry delete) {
    if (data.file().specId() != delete.file().specId()) {
      return false;
    }
    Types.StructType type = table.specs().get(data.file().specId()).partitionType();
    for (int i = 0; i < type.fields().size(); i++) {
      Object left = data.file().partition().get(i, Object.class);
      Object right = delete.file().partition().get(i, Object.class);
      boolean same =
          left == null || right == null
              ? Objects.equals(left, right)
              : ColumnFacts.order(type.fields().get(i).type()).compare(left, right) == 0;
      if (!same) {
        return false;
      }
    }
    return true;
  }

  private static CloseableIterable<Record> read(InputFile input, Schema schema) {
    return Parquet.read(input)
        .project(schema)
        .createReaderFunc(type -> GenericParquetReaders.buildReader(schema, type))
        .build();
  }
}
