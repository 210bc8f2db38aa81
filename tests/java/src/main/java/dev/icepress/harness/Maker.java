package dev.icepress.harness;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.iceberg.AppendFiles;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.DeleteFile;
import org.apache.iceberg.FileContent;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.FileScanTask;
import org.apache.iceberg.PartitionKey;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.RowDelta;
import org.apache.iceberg.Schema;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.BaseDeleteLoader;
import org.apache.iceberg.data.GenericFileWriterFactory;
import org.apache.iceberg.data.GenericRecord;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.InternalRecordWrapper;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.deletes.BaseDVFileWriter;
import org.apache.iceberg.deletes.EqualityDeleteWriter;
import org.apache.iceberg.deletes.PositionDelete;
import org.apache.iceberg.deletes.PositionDeleteWriter;
import org.apache.iceberg.encryption.EncryptedOutputFile;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.DataWriter;
import org.apache.iceberg.io.OutputFileFactory;
import org.apache.iceberg.types.Types;

/** Writes to one table as any engine on Iceberg's library does: small data files, and each kind of delete. */
final class Maker {
  final Table table;
  final RandomRows rows;
  private int writers;

  Maker(Table table, long seed) {
    this.table = table;
    this.rows = new RandomRows(seed);
  }

  Random random() {
    return rows.random();
  }

  /** {@code commits} appends of {@code perCommit} random rows: a file for each partition value that they have. */
  Maker append(int commits, int perCommit) {
    for (int i = 0; i < commits; i++) {
      append(rows.rows(table.schema(), perCommit));
    }
    return this;
  }

  List<DataFile> append(List<Record> records) {
    List<DataFile> files = write(records, table.schema(), table.spec(), FileFormat.PARQUET);
    AppendFiles append = table.newAppend();
    files.forEach(append::appendFile);
    append.commit();
    return files;
  }

  List<DataFile> write(List<Record> records, Schema schema, PartitionSpec spec, FileFormat format) {
    Map<PartitionKey, List<Record>> groups = new LinkedHashMap<>();
    InternalRecordWrapper wrapper = new InternalRecordWrapper(table.schema().asStruct());
    PartitionKey key = new PartitionKey(spec, table.schema());
    for (Record record : records) {
      key.partition(wrapper.wrap(record));
      groups.computeIfAbsent(key.copy(), k -> new ArrayList<>()).add(record);
    }
    List<DataFile> files = new ArrayList<>();
    groups.forEach((partition, group) -> files.add(writeFile(group, schema, spec, partition, format)));
    return files;
  }

  DataFile writeFile(List<Record> group, Schema schema, PartitionSpec spec, StructLike partition, FileFormat format) {
    GenericFileWriterFactory factory =
        new GenericFileWriterFactory.Builder(table).dataSchema(schema).dataFileFormat(format).build();
    DataWriter<Record> writer = factory.newDataWriter(output(format, spec, partition), spec, orNull(spec, partition));
    try (writer) {
      group.forEach(writer::write);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return writer.toDataFile();
  }

  /** A delete file for each data file (or one for all files of a partition), hitting about {@code share} of its rows. */
  Maker deletePositions(double share, boolean onePerDataFile) {
    Map<PartitionKeyOf, List<DataFile>> groups = new LinkedHashMap<>();
    for (DataFile file : liveFiles()) {
      String group = onePerDataFile ? file.location() : file.specId() + "/" + file.partition();
      groups.computeIfAbsent(new PartitionKeyOf(group), k -> new ArrayList<>()).add(file);
    }
    RowDelta delta = table.newRowDelta();
    boolean any = false;
    for (List<DataFile> files : groups.values()) {
      List<PositionDelete<Record>> deletes = new ArrayList<>();
      files.sort((a, b) -> a.location().compareTo(b.location()));
      for (DataFile file : files) {
        for (long pos = 0; pos < file.recordCount(); pos++) {
          if (random().nextDouble() < share) {
            deletes.add(PositionDelete.<Record>create().set(file.location(), pos, null));
          }
        }
      }
      if (!deletes.isEmpty()) {
        any = true;
        delta.addDeletes(writePositionDeletes(files.get(0), deletes));
      }
    }
    if (any) {
      delta.commit();
    }
    return this;
  }

  private record PartitionKeyOf(String text) {}

  DeleteFile writePositionDeletes(DataFile like, List<PositionDelete<Record>> deletes) {
    PartitionSpec spec = table.specs().get(like.specId());
    GenericFileWriterFactory factory = new GenericFileWriterFactory.Builder(table).build();
    PositionDeleteWriter<Record> writer =
        factory.newPositionDeleteWriter(
            output(FileFormat.PARQUET, spec, like.partition()), spec, orNull(spec, like.partition()));
    try (writer) {
      deletes.forEach(writer::write);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return writer.toDeleteFile();
  }

  /** Deletes by the values that {@code count} rows of the table have in the named columns. */
  Maker deleteByKey(int count, String... columns) {
    List<Record> live = read();
    // Files have random names, and rows come in the order of those: the choice must not.
    live.sort(java.util.Comparator.comparing(row -> ((Number) row.getField("id")).longValue()));
    Collections.shuffle(live, random());
    return deleteKeys(live.subList(0, Math.min(count, live.size())), table.spec(), columns);
  }

  /** One equality-delete file for each partition of {@code spec} that the given rows fall into. */
  Maker deleteKeys(List<Record> victims, PartitionSpec spec, String... columns) {
    RowDelta delta = table.newRowDelta();
    keyFiles(victims, spec, columns).forEach(delta::addDeletes);
    delta.commit();
    return this;
  }

  List<DeleteFile> keyFiles(List<Record> victims, PartitionSpec spec, String... columns) {
    Schema keys = table.schema().select(columns);
    int[] ids = java.util.Arrays.stream(columns).mapToInt(c -> table.schema().findField(c).fieldId()).toArray();
    Map<PartitionKey, List<Record>> groups = new LinkedHashMap<>();
    InternalRecordWrapper wrapper = new InternalRecordWrapper(table.schema().asStruct());
    PartitionKey key = new PartitionKey(spec, table.schema());
    for (Record victim : victims) {
      key.partition(wrapper.wrap(victim));
      groups.computeIfAbsent(key.copy(), k -> new ArrayList<>()).add(project(victim, keys.asStruct()));
    }
    List<DeleteFile> files = new ArrayList<>();
    groups.forEach(
        (partition, records) -> {
          GenericFileWriterFactory factory =
              new GenericFileWriterFactory.Builder(table)
                  .equalityDeleteRowSchema(keys)
                  .equalityFieldIds(ids)
                  .build();
          EqualityDeleteWriter<Record> writer =
              factory.newEqualityDeleteWriter(
                  output(FileFormat.PARQUET, spec, partition), spec, orNull(spec, partition));
          try (writer) {
            records.forEach(writer::write);
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
          files.add(writer.toDeleteFile());
        });
    return files;
  }

  /** A deletion vector for each live data file (format v3). */
  Maker deleteByVector(double share) {
    List<FileScanTask> tasks = tasks();
    long base = table.currentSnapshot().snapshotId();
    Map<FileScanTask, List<Long>> positions = new LinkedHashMap<>();
    for (FileScanTask task : tasks) {
      List<Long> deleted = new ArrayList<>();
      for (long pos = 0; pos < task.file().recordCount(); pos++) {
        if (random().nextDouble() < share) {
          deleted.add(pos);
        }
      }
      positions.put(task, deleted);
    }
    vectors(positions).validateFromSnapshot(base).commit();
    return this;
  }

  /**
   * Vectors that delete these positions, not yet committed, all in as few Puffin files as the writer makes. What was
   * deleted before by position goes into them, and its file goes, as the specification wants.
   */
  RowDelta vectors(Map<FileScanTask, List<Long>> positions) {
    Map<String, List<DeleteFile>> before = new LinkedHashMap<>();
    for (FileScanTask task : positions.keySet()) {
      for (DeleteFile file : task.deletes()) {
        if (file.content() == FileContent.POSITION_DELETES) {
          before.computeIfAbsent(task.file().location(), path -> new ArrayList<>()).add(file);
        }
      }
    }
    BaseDeleteLoader loader = new BaseDeleteLoader(file -> table.io().newInputFile(file.location()));
    BaseDVFileWriter writer =
        new BaseDVFileWriter(
            OutputFileFactory.builderFor(table, ++writers, random().nextInt(1 << 20)).format(FileFormat.PUFFIN).build(),
            path -> before.containsKey(path) ? loader.loadPositionDeletes(before.get(path), path) : null);
    try (writer) {
      positions.forEach(
          (task, deleted) -> {
            DataFile file = task.file();
            deleted.forEach(pos -> writer.delete(file.location(), pos, table.specs().get(file.specId()), file.partition()));
          });
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    RowDelta delta = table.newRowDelta();
    writer.result().deleteFiles().forEach(delta::addDeletes);
    writer.result().rewrittenDeleteFiles().forEach(delta::removeDeletes);
    return delta;
  }

  /** What a scan of the table as it is now would read, in the order of the files' names: each live data file with its deletes. */
  List<FileScanTask> tasks() {
    table.refresh();
    List<FileScanTask> tasks = new ArrayList<>();
    try (CloseableIterable<FileScanTask> planned = table.newScan().includeColumnStats().planFiles()) {
      planned.forEach(tasks::add);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    tasks.sort((a, b) -> a.file().location().compareTo(b.file().location()));
    return tasks;
  }

  List<DataFile> liveFiles() {
    return tasks().stream().map(task -> task.file().copy()).collect(java.util.stream.Collectors.toCollection(ArrayList::new));
  }

  List<Record> read() {
    table.refresh();
    List<Record> all = new ArrayList<>();
    try (CloseableIterable<Record> records = IcebergGenerics.read(table).build()) {
      records.forEach(record -> all.add(record.copy()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return all;
  }

  private static Record project(Record record, Types.StructType onto) {
    Record projected = GenericRecord.create(onto);
    for (Types.NestedField field : onto.fields()) {
      Object value = record.getField(field.name());
      boolean nested = field.type().isStructType() && value != null;
      projected.setField(field.name(), nested ? project((Record) value, field.type().asStructType()) : value);
    }
    return projected;
  }

  private EncryptedOutputFile output(FileFormat format, PartitionSpec spec, StructLike partition) {
    OutputFileFactory factory =
        OutputFileFactory.builderFor(table, ++writers, random().nextInt(1 << 20)).format(format).defaultSpec(spec).build();
    return spec.isUnpartitioned() ? factory.newOutputFile() : factory.newOutputFile(spec, partition);
  }

  private static StructLike orNull(PartitionSpec spec, StructLike partition) {
    return spec.isUnpartitioned() ? null : partition;
  }
}
