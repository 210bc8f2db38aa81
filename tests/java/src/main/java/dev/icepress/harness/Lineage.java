package dev.icepress.harness;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.GenericDeleteFilter;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.IdentityPartitionConverters;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.data.parquet.GenericParquetReaders;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.parquet.Parquet;
import org.apache.iceberg.util.PartitionUtil;

/**
 * Rows with their lineage, by Iceberg's own Parquet readers and delete filter. Not by its generic scan: that of 1.11.0
 * takes the file sequence number for rows without a number of their own, where the specification (and 1.11.1) has the
 * data sequence number.
 */
final class Lineage {
  private Lineage() {}

  /** Live rows of {@code files} (all of the current snapshot where null), in the table's columns and the two of lineage. */
  static List<Record> read(Table table, Collection<DataFile> files) {
    Set<String> chosen = files == null ? null : new HashSet<>(files.stream().map(DataFile::location).toList());
    List<Record> rows = new ArrayList<>();
    try (CloseableIterable<FileScanTask> tasks = table.newScan().planFiles()) {
      for (FileScanTask task : tasks) {
        if (chosen == null || chosen.contains(task.file().location())) {
          read(table, task, rows);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return rows;
  }

  private static void read(Table table, FileScanTask task, List<Record> into) throws IOException {
    Schema wanted = MetadataColumns.schemaWithRowLineage(table.schema());
    GenericDeleteFilter deletes = new GenericDeleteFilter(table.io(), task, table.schema(), wanted);
    Schema needed = deletes.requiredSchema();
    Map<Integer, Object> constants = new HashMap<>(PartitionUtil.constantsMap(task, IdentityPartitionConverters::convertConstant));
    Long number = task.file().dataSequenceNumber();
    constants.put(MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER.fieldId(), number);
    try (CloseableIterable<Record> records =
        Parquet.read(table.io().newInputFile(task.file().location()))
            .project(needed)
            .createReaderFunc(type -> GenericParquetReaders.buildReader(needed, type, constants))
            .build()) {
      for (Record record : deletes.filter(records)) {
        Record row = GenericRecord.create(wanted);
        for (int i = 0; i < wanted.columns().size(); i++) {
          row.set(i, record.get(i));
        }
        if (task.file().firstRowId() == null) {
          // No ids yet, but the row has changed when it did.
          row.setField(MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER.name(), number);
        }
        into.add(row.copy());
      }
    }
  }
}
