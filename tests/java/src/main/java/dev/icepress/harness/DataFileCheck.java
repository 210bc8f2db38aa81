package dev.icepress.harness;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;
import org.apache.iceberg.ContentFile;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.Metrics;
import org.apache.iceberg.MetricsConfig;
import org.apache.iceberg.PartitionField;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.TableProperties;
import org.apache.iceberg.data.InternalRecordWrapper;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.data.parquet.GenericParquetReaders;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.InputFile;
import org.apache.iceberg.parquet.Parquet;
import org.apache.iceberg.parquet.ParquetSchemaUtil;
import org.apache.iceberg.parquet.ParquetUtil;
import org.apache.iceberg.transforms.Transform;
import org.apache.iceberg.types.Conversions;
import org.apache.iceberg.types.Type;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.metadata.ColumnChunkMetaData;
import org.apache.parquet.hadoop.metadata.ParquetMetadata;

/** One data file's manifest entry held against the file's content, all of it read back by Iceberg's Java reader. */
final class DataFileCheck {
  private final Table table;
  private final ContentFile<?> entry;
  private final boolean rewritten;
  private final boolean lineage;
  private final Findings findings;
  private final String name;

  /**
   * {@code rewritten}: a replace snapshot added the file, so more is asked of it than of a foreign writer's;
   * {@code lineage}: when rows had row ids, so it must have their columns.
   */
  DataFileCheck(Table table, ContentFile<?> entry, boolean rewritten, boolean lineage, Findings findings) {
    this.table = table;
    this.entry = entry;
    this.rewritten = rewritten;
    this.lineage = lineage;
    this.findings = findings;
    this.name = entry.location().substring(entry.location().lastIndexOf('/') + 1);
  }

  void run(List<Map<String, Object>> rewrittenFacts) throws IOException {
    InputFile input = table.io().newInputFile(entry.location());
    findings.same(entry.fileSizeInBytes(), input.getLength(), "%s file_size_in_bytes", name);
    ParquetMetadata footer = Footers.read(entry.location());
    long footerRows = footer.getBlocks().stream().mapToLong(BlockMetaData::getRowCount).sum();
    findings.same(entry.recordCount(), footerRows, "%s record_count against the footer", name);
    if (entry.splitOffsets() != null) {
      findings.same(entry.splitOffsets(), ParquetUtil.getSplitOffsets(footer), "%s split_offsets", name);
    } else if (rewritten) {
      findings.problem("%s has no split_offsets", name);
    }
    Schema schema = fileSchema(footer);
    if (schema == null) {
      findings.note("%s has no field ids; only its counts were checked", name);
      return;
    }
    boolean hasLineage = LINEAGE.stream().allMatch(id -> schemaOf(footer).findField(id) != null);
    if (lineage && !hasLineage) {
      findings.problem("%s lacks the columns of row lineage", name);
    }
    ColumnFacts facts = new ColumnFacts(schema);
    Partitions partitions = new Partitions(schema);
    try (CloseableIterable<Record> records =
        Parquet.read(input)
            .project(schema)
            .createReaderFunc(type -> GenericParquetReaders.buildReader(schema, type))
            .build()) {
      for (Record record : records) {
        facts.add(record, schema);
        partitions.add(record);
      }
    }
    findings.same(facts.rows, entry.recordCount(), "%s record_count against the rows read", name);
    partitions.report();
    Metrics stated =
        new Metrics(
            entry.recordCount(),
            entry.columnSizes(),
            entry.valueCounts(),
            entry.nullValueCounts(),
            entry.nanValueCounts(),
            entry.lowerBounds(),
            entry.upperBounds());
    counts(stated, facts, "manifest");
    bounds(stated, facts, "manifest");
    if (rewritten) {
      // What other engines skip row groups by: the footer's own statistics, through Iceberg's reading of them.
      if (footer.getBlocks().size() > 1) {
        // Iceberg passes over a row group without float statistics, as one with NaN has none: nothing to hold then.
        facts.leaves.values().stream().filter(leaf -> leaf.nans > 0).forEach(leaf -> leaf.min = leaf.max = null);
      }
      // Whole values: where Iceberg cuts them itself and one can't be cut (its characters are the highest there are), it
      // keeps the bound of an earlier row group (ParquetUtil.updateMax), which says nothing about the footer.
      bounds(ParquetUtil.footerMetrics(footer, Stream.empty(), WHOLE), facts, "footer");
      new RewrittenFileCheck(table, entry, schema, footer, facts, findings, name).run(rewrittenFacts);
    }
  }

  private static final MetricsConfig WHOLE =
      MetricsConfig.fromProperties(Map.of(TableProperties.DEFAULT_WRITE_METRICS_MODE, "full"));

  private static final Set<Integer> LINEAGE =
      Set.of(MetadataColumns.ROW_ID.fieldId(), MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER.fieldId());

  /**
   * The file's own columns under their own ids and types; null if the file carries no ids. Without row lineage, which
   * Java's readers fill in from elsewhere: it is compared row by row by {@code rows --lineage yes}.
   */
  private Schema fileSchema(ParquetMetadata footer) {
    if (!ParquetSchemaUtil.hasIds(footer.getFileMetaData().getSchema())) {
      return null;
    }
    return new Schema(schemaOf(footer).columns().stream().filter(field -> !LINEAGE.contains(field.fieldId())).toList());
  }

  private static Schema schemaOf(ParquetMetadata footer) {
    return Footers.schema(footer.getFileMetaData().getSchema());
  }

  private void counts(Metrics stated, ColumnFacts facts, String where) {
    for (Map<Integer, ?> map : Stream.of(stated.valueCounts(), stated.nullValueCounts(), stated.nanValueCounts()).filter(Objects::nonNull).toList()) {
      for (Integer id : map.keySet()) {
        if (!facts.leaves.containsKey(id) && !LINEAGE.contains(id)) {
          findings.problem("%s: %s counts values of field %d, which the file has not", name, where, id);
        }
      }
    }
    for (ColumnFacts.Leaf leaf : facts.leaves.values()) {
      int id = leaf.field.fieldId();
      Long values = count(stated.valueCounts(), id);
      if (values != null && (values < leaf.values - leaf.hidden || !leaf.repeated && values > leaf.values)) {
        // Below a list or map, Parquet counts a slot for an empty or NULL one too, so there it may say more.
        findings.problem(
            "%s column %s: %s value count says %d, is %d (of them %d inside NULL structs)",
            name, leaf.field.name(), where, values, leaf.values, leaf.hidden);
      }
      Long nulls = count(stated.nullValueCounts(), id);
      if (nulls != null && !leaf.repeated && (nulls < leaf.nulls || nulls > leaf.nulls + leaf.hidden)) {
        findings.problem(
            "%s column %s: %s null count says %d, is %d (and %d inside NULL structs)",
            name, leaf.field.name(), where, nulls, leaf.nulls, leaf.hidden);
      }
      if (nulls != null && leaf.repeated && nulls < leaf.nulls) {
        findings.problem("%s column %s: %s null count says %d, is at least %d", name, leaf.field.name(), where, nulls, leaf.nulls);
      }
      Long nans = count(stated.nanValueCounts(), id);
      if (nans != null) {
        findings.same(nans, leaf.nans, "%s column %s: %s NaN count", name, leaf.field.name(), where);
      }
    }
  }

  private static Long count(Map<Integer, Long> counts, int id) {
    return counts == null ? null : counts.get(id);
  }

  private void bounds(Metrics stated, ColumnFacts facts, String where) {
    for (Map<Integer, ByteBuffer> map : Stream.of(stated.lowerBounds(), stated.upperBounds()).filter(Objects::nonNull).toList()) {
      boolean lower = map == stated.lowerBounds();
      map.forEach(
          (id, bytes) -> {
            ColumnFacts.Leaf leaf = facts.leaves.get(id);
            if (leaf == null && LINEAGE.contains(id)) {
              return;
            } else if (leaf == null) {
              findings.problem("%s: %s bound of field %d, which the file has not", name, where, id);
            } else {
              bound(leaf, bytes, lower, where);
            }
          });
    }
  }

  private void bound(ColumnFacts.Leaf leaf, ByteBuffer bytes, boolean lower, String where) {
    Type now = table.schema().findType(leaf.field.fieldId());
    Type type = now == null || !now.isPrimitiveType() ? leaf.field.type() : now;
    Object stated;
    try {
      stated = Conversions.fromByteBuffer(type, bytes.duplicate());
    } catch (RuntimeException e) {
      findings.problem("%s column %s: %s %s bound cannot be read as %s: %s", name, leaf.field.name(), where, lower ? "lower" : "upper", type, e);
      return;
    }
    Object real = ColumnFacts.promote(lower ? leaf.min : leaf.max, type);
    if (real == null) {
      return;
    }
    if (isNaN(stated)) {
      findings.problem("%s column %s: %s bound is NaN", name, leaf.field.name(), where);
      return;
    }
    Comparator<Object> order = ColumnFacts.order(type);
    int compared = order.compare(stated, real);
    boolean holds = lower ? compared <= 0 : compared >= 0;
    // Java joins row groups' UUID bounds, which Parquet keeps unsigned, by a signed order: its own may hold in neither.
    if (!holds && !rewritten && stated instanceof UUID) {
      return;
    }
    if (!holds) {
      findings.problem(
          "%s column %s: %s %s bound %s excludes %s",
          name, leaf.field.name(), where, lower ? "lower" : "upper", show(stated), show(real));
    }
  }

  private static boolean isNaN(Object value) {
    return (value instanceof Float f && f.isNaN()) || (value instanceof Double d && d.isNaN());
  }

  private static String show(Object value) {
    return value instanceof ByteBuffer b ? Json.hex(b) : String.valueOf(value);
  }

  /** The partition tuple against what each row's values transform to. */
  private final class Partitions {
    private final Schema schema;
    private final InternalRecordWrapper wrapper;
    private final PartitionSpec spec = table.specs().get(entry.specId());
    private final List<String> wrong = new ArrayList<>();

    Partitions(Schema schema) {
      this.schema = schema;
      this.wrapper = new InternalRecordWrapper(schema.asStruct());
    }

    @SuppressWarnings("unchecked")
    void add(Record record) {
      for (int i = 0; i < spec.fields().size() && wrong.isEmpty(); i++) {
        PartitionField field = spec.fields().get(i);
        Object stated = entry.partition().get(i, Object.class);
        if (field.transform().isVoid()) {
          if (stated != null) {
            wrong.add(field.name() + " is void, says " + stated);
          }
          continue;
        }
        Type now = table.schema().findType(field.sourceId());
        var accessor = schema.accessorForField(field.sourceId());
        if (accessor == null) {
          if (rewritten && now != null) {
            wrong.add(field.name() + ": the rewritten file lacks the source column");
          }
          continue;
        }
        Type type = now == null ? schema.findType(field.sourceId()) : now;
        Object source = ColumnFacts.promote(ColumnFacts.internal(accessor.get(wrapper.wrap(record))), type);
        Transform<Object, Object> transform = (Transform<Object, Object>) field.transform();
        Object real = transform.bind(type).apply(source);
        Type result = transform.getResultType(type);
        boolean same = stated == null || real == null ? stated == real : ColumnFacts.order(result).compare(stated, real) == 0;
        if (!same) {
          wrong.add(field.name() + " says " + stated + ", a row has " + real);
        }
      }
    }

    void report() {
      wrong.forEach(text -> findings.problem("%s partition: %s", name, text));
    }
  }

  static List<ColumnChunkMetaData> chunks(ParquetMetadata footer) {
    List<ColumnChunkMetaData> all = new ArrayList<>();
    footer.getBlocks().forEach(block -> all.addAll(block.getColumns()));
    return all;
  }
}
