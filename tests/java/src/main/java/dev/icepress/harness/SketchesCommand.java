package dev.icepress.harness;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.datasketches.common.Family;
import org.apache.datasketches.memory.Memory;
import org.apache.datasketches.theta.CompactSketch;
import org.apache.datasketches.theta.SetOperation;
import org.apache.datasketches.theta.UpdateSketch;
import org.apache.iceberg.GenericBlobMetadata;
import org.apache.iceberg.GenericStatisticsFile;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.StatisticsFile;
import org.apache.iceberg.Table;
import org.apache.iceberg.TableOperations;
import org.apache.iceberg.HasTableOperations;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.InternalRecordWrapper;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.OutputFile;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.puffin.Blob;
import org.apache.iceberg.puffin.BlobMetadata;
import org.apache.iceberg.puffin.Puffin;
import org.apache.iceberg.puffin.PuffinCompressionCodec;
import org.apache.iceberg.puffin.PuffinReader;
import org.apache.iceberg.puffin.PuffinWriter;
import org.apache.iceberg.puffin.StandardBlobTypes;
import org.apache.iceberg.types.Conversions;
import org.apache.iceberg.types.Types.NestedField;
import org.apache.iceberg.util.Pair;

/**
 * {@code sketches}: sketches of distinct values, ours beside those of Apache DataSketches itself. {@code --do ask} has tables ask
 * for those of all columns. {@code --do read} reads the Puffin file that the metadata names for the current snapshot with
 * Iceberg's reader, and counts the values of the rows that Iceberg reads as Spark does. {@code --do write} has the metadata name
 * a file as Spark writes it, without the column {@code --without}.
 */
final class SketchesCommand {
  private SketchesCommand() {}

  static void run(Main.Options options) throws IOException {
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      Map<String, Object> answers = new LinkedHashMap<>();
      for (TableIdentifier name : Catalogs.chosen(catalog, options)) {
        Table table = catalog.loadTable(name);
        switch (options.get("do")) {
          case "ask" -> table.updateProperties().set("icepress.statistics.ndv-columns", "*").commit();
          case "read" -> answers.put(name.toString(), Map.of("blobs", named(table), "rows", counted(table)));
          case "write" -> write(table, options.get("without"));
          default -> throw new IllegalArgumentException("--do ask, read or write");
        }
      }
      System.out.println(Json.text(answers));
    }
  }

  private static List<Map<String, Object>> named(Table table) throws IOException {
    Snapshot current = table.currentSnapshot();
    StatisticsFile file =
        table.statisticsFiles().stream().filter(it -> it.snapshotId() == current.snapshotId()).findFirst().orElseThrow();
    List<Map<String, Object>> blobs = new ArrayList<>();
    // The footer's length is the metadata's: the reader asks for it by that.
    try (PuffinReader reader =
        Puffin.read(table.io().newInputFile(file.path()))
            .withFileSize(file.fileSizeInBytes())
            .withFooterSize(file.fileFooterSizeInBytes())
            .build()) {
      List<BlobMetadata> metadata = reader.fileMetadata().blobs();
      int place = 0;
      for (Pair<BlobMetadata, ByteBuffer> blob : reader.readAll(metadata)) {
        BlobMetadata about = blob.first();
        // Of several columns together, as nobody here writes it.
        if (about.inputFields().size() > 1) {
          blobs.add(Map.of("type", about.type(), "fields", about.inputFields(), "bytes", bytes(blob.second()).length));
          place++;
          continue;
        }
        CompactSketch sketch = CompactSketch.heapify(Memory.wrap(bytes(blob.second())));
        Map<String, Object> said = about(about, sketch);
        said.put("in_metadata", file.blobMetadata().get(place).equals(GenericBlobMetadata.from(about)));
        said.put("is_current", about.snapshotId() == current.snapshotId() && about.sequenceNumber() == current.sequenceNumber());
        said.put("ordered", sketch.isOrdered());
        // What a reader does that has sketches of its own: by the same seed.
        said.put("united", SetOperation.builder().buildUnion().union(sketch, empty()).getEstimate());
        blobs.add(said);
        place++;
      }
    }
    return blobs;
  }

  private static CompactSketch empty() {
    return UpdateSketch.builder().build().compact();
  }

  private static Map<String, Object> about(BlobMetadata blob, CompactSketch sketch) {
    Map<String, Object> said = new LinkedHashMap<>();
    said.put("type", blob.type());
    said.put("fields", blob.inputFields());
    said.put("codec", blob.compressionCodec());
    said.put("properties", new TreeMap<>(blob.properties()));
    said.put("estimate", sketch.getEstimate());
    said.put("retained", sketch.getRetainedEntries(true));
    return said;
  }

  private static byte[] bytes(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return bytes;
  }

  /** The estimate of each column by its name, over the rows that Iceberg reads. */
  private static Map<String, Object> counted(Table table) throws IOException {
    Map<String, Object> estimates = new TreeMap<>();
    sketches(table, Family.QUICKSELECT).forEach((field, sketch) -> {
      // To its nominal size: so it does not matter in which order values came.
      sketch.rebuild();
      estimates.put(field.name(), List.of(field.fieldId(), sketch.getEstimate()));
    });
    return estimates;
  }

  private static Map<NestedField, UpdateSketch> sketches(Table table, Family family) throws IOException {
    Schema schema = table.schemas().getOrDefault(table.currentSnapshot().schemaId(), table.schema());
    Map<NestedField, UpdateSketch> sketches = new LinkedHashMap<>();
    schema.columns().stream()
        .filter(field -> field.type().isPrimitiveType())
        .forEach(field -> sketches.put(field, UpdateSketch.builder().setFamily(family).build()));
    InternalRecordWrapper internal = new InternalRecordWrapper(table.schema().asStruct());
    try (CloseableIterable<Record> rows = IcebergGenerics.read(table).build()) {
      for (Record row : rows) {
        internal.wrap(row);
        for (Map.Entry<NestedField, UpdateSketch> column : sketches.entrySet()) {
          int place = table.schema().columns().indexOf(table.schema().findField(column.getKey().fieldId()));
          Object value = internal.get(place, Object.class);
          if (value != null) {
            column.getValue().update(Conversions.toByteBuffer(column.getKey().type(), value));
          }
        }
      }
    }
    return sketches;
  }

  private static void write(Table table, String without) throws IOException {
    Snapshot snapshot = table.currentSnapshot();
    TableOperations operations = ((HasTableOperations) table).operations();
    OutputFile output = table.io().newOutputFile(operations.metadataFileLocation(snapshot.snapshotId() + "-java.stats"));
    try (PuffinWriter writer = Puffin.write(output).createdBy("the harness").build()) {
      for (Map.Entry<NestedField, UpdateSketch> column : sketches(table, Family.ALPHA).entrySet()) {
        if (column.getKey().name().equals(without)) {
          continue;
        }
        UpdateSketch sketch = column.getValue();
        writer.add(
            new Blob(
                StandardBlobTypes.APACHE_DATASKETCHES_THETA_V1,
                List.of(column.getKey().fieldId()),
                snapshot.snapshotId(),
                snapshot.sequenceNumber(),
                ByteBuffer.wrap(sketch.compact().toByteArray()),
                PuffinCompressionCodec.ZSTD,
                Map.of("ndv", String.valueOf((long) sketch.getEstimate()))));
      }
      writer.add(
          new Blob(
              StandardBlobTypes.APACHE_DATASKETCHES_THETA_V1,
              List.of(1, 2),
              snapshot.snapshotId(),
              snapshot.sequenceNumber(),
              ByteBuffer.wrap(new byte[] {1, 2})));
      writer.finish();
      table
          .updateStatistics()
          .setStatistics(
              new GenericStatisticsFile(
                  snapshot.snapshotId(),
                  output.location(),
                  writer.fileSize(),
                  writer.footerSize(),
                  writer.writtenBlobsMetadata().stream().map(GenericBlobMetadata::from).toList()))
          .commit();
    }
  }
}
