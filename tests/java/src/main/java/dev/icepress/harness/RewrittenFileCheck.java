package dev.icepress.harness;

import java.io.IOException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.fs.Path;
import org.apache.iceberg.ContentFile;
import org.apache.iceberg.DataFile;
import org.apache.iceberg.MetricsConfig;
import org.apache.iceberg.MetricsModes;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Table;
import org.apache.iceberg.expressions.AggregateEvaluator;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.TypeUtil;
import org.apache.iceberg.types.Types;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.filter2.compat.FilterCompat;
import org.apache.parquet.filter2.predicate.FilterApi;
import org.apache.parquet.filter2.predicate.FilterPredicate;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.InitContext;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.metadata.ColumnChunkMetaData;
import org.apache.parquet.hadoop.metadata.ParquetMetadata;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.internal.column.columnindex.ColumnIndex;
import org.apache.parquet.internal.column.columnindex.OffsetIndex;
import org.apache.parquet.io.InputFile;
import org.apache.parquet.io.api.Binary;
import org.apache.parquet.schema.GroupType;
import org.apache.parquet.schema.MessageType;

/**
 * What is asked of a file that a compaction wrote, beyond what holds for any: the table's current schema, codec and
 * metrics modes, and page indexes by which parquet-java finds the same rows as without them.
 */
record RewrittenFileCheck(
    Table table,
    ContentFile<?> entry,
    Schema schema,
    ParquetMetadata footer,
    ColumnFacts facts,
    Findings findings,
    String name) {

  void run(List<Map<String, Object>> out) throws IOException {
    columns();
    metricsModes();
    answers();
    pageIndexes();
    filters();
    Set<String> codecs = new TreeSet<>();
    DataFileCheck.chunks(footer).forEach(chunk -> codecs.add(chunk.getCodec().name().toLowerCase(Locale.ROOT)));
    String wanted = table.properties().getOrDefault("write.parquet.compression-codec", "zstd").toLowerCase(Locale.ROOT);
    if (facts.rows > 0) {
      findings.same(String.join(",", codecs), wanted, "%s codec", name);
    }
    Map<String, Object> facts = new LinkedHashMap<>();
    facts.put("file", entry.location());
    facts.put("bytes", entry.fileSizeInBytes());
    facts.put("rows", entry.recordCount());
    facts.put("row_groups", footer.getBlocks().size());
    facts.put("codecs", codecs);
    facts.put("sort_order", entry.sortOrderId());
    out.add(facts);
  }

  /** The file carries every column of the table as it is now, or once was where that will do, with its id and type, and no other. */
  private void columns() {
    boolean isOld = findings.anySchema && table.schemas().values().stream().anyMatch(this::isOf);
    if (!isOld) {
      columns(table.schema());
    }
  }

  private boolean isOf(Schema past) {
    Findings trial = new Findings(false);
    new RewrittenFileCheck(table, entry, schema, footer, facts, trial, name).columns(past);
    return trial.problems.isEmpty();
  }

  private void columns(Schema tableSchema) {
    Map<Integer, Types.NestedField> wanted = new HashMap<>(TypeUtil.indexById(tableSchema.asStruct()));
    // Such a column is in no file: there is nothing in it.
    wanted.values().removeIf(field -> field.type().typeId() == Type.TypeID.UNKNOWN);
    Map<Integer, Types.NestedField> have = TypeUtil.indexById(schema.asStruct());
    if (!wanted.keySet().equals(have.keySet())) {
      findings.problem("%s has the fields %s, the table %s", name, new TreeSet<>(have.keySet()), new TreeSet<>(wanted.keySet()));
      return;
    }
    wanted.forEach(
        (id, field) -> {
          Type mine = have.get(id).type();
          boolean same = field.type().isPrimitiveType() ? field.type().equals(mine) : field.type().typeId() == mine.typeId();
          if (!same) {
            findings.problem("%s field %d is %s, the table says %s", name, id, mine, field.type());
          }
          if (have.get(id).isOptional() && field.isRequired()) {
            findings.note("%s field %d (%s) is required in the table, optional in the file", name, id, field.name());
          }
        });
  }

  /** MIN and MAX as Iceberg answers them from the manifest alone, against the rows. Spark asks only under {@code full}. */
  private void answers() {
    MetricsConfig config = MetricsConfig.forTable(table);
    for (ColumnFacts.Leaf leaf : facts.leaves.values()) {
      String column = table.schema().findColumnName(leaf.field.fieldId());
      if (column == null || leaf.repeated || leaf.min == null || !(config.columnMode(column) instanceof MetricsModes.Full)) {
        continue;
      }
      AggregateEvaluator evaluator =
          AggregateEvaluator.create(table.schema(), List.of(Expressions.min(column), Expressions.max(column)));
      evaluator.update((DataFile) entry);
      if (!evaluator.allAggregatorsValid()) {
        // Without a bound, rows are read.
        continue;
      }
      answer(column, leaf, "min", evaluator.result().get(0, Object.class), leaf.min);
      answer(column, leaf, "max", evaluator.result().get(1, Object.class), leaf.max);
    }
  }

  private void answer(String column, ColumnFacts.Leaf leaf, String what, Object stated, Object real) {
    Type type = table.schema().findType(leaf.field.fieldId());
    Object promoted = ColumnFacts.promote(real, type);
    // A zero of either sign is the same number to whoever asks.
    boolean same =
        stated instanceof Number a && promoted instanceof Number b && a.doubleValue() == b.doubleValue()
            || stated != null && ColumnFacts.order(type).compare(stated, promoted) == 0;
    if (!same) {
      findings.problem("%s column %s: %s is answered %s from the manifest, is %s", name, column, what, stated, promoted);
    }
  }

  private void metricsModes() {
    MetricsConfig config = MetricsConfig.forTable(table);
    for (ColumnFacts.Leaf leaf : facts.leaves.values()) {
      int id = leaf.field.fieldId();
      String column = table.schema().findColumnName(id);
      if (column == null || leaf.repeated) {
        continue;
      }
      MetricsModes.MetricsMode mode = config.columnMode(column);
      boolean counted = entry.valueCounts() != null && entry.valueCounts().containsKey(id);
      boolean bounded = entry.lowerBounds() != null && entry.lowerBounds().containsKey(id);
      boolean none = mode instanceof MetricsModes.None;
      boolean bounds = !none && !(mode instanceof MetricsModes.Counts);
      if (none && counted || !bounds && bounded) {
        findings.problem("%s column %s: metrics mode %s, yet counts %s, bounds %s", name, column, mode, counted, bounded);
      }
      if (!none && !counted) {
        findings.problem("%s column %s: metrics mode %s, yet no counts", name, column, mode);
      }
      if (bounds && !bounded && leaf.min != null && leaf.field.type().typeId() != Type.TypeID.UUID) {
        findings.note("%s column %s: metrics mode %s, yet no lower bound", name, column, mode);
      }
      if (mode instanceof MetricsModes.Truncate truncate && bounded && leaf.field.type().typeId() == Type.TypeID.STRING) {
        String text = new String(bytes(entry.lowerBounds().get(id)), java.nio.charset.StandardCharsets.UTF_8);
        if (text.codePointCount(0, text.length()) > truncate.length()) {
          findings.problem("%s column %s: bound longer than %s", name, column, mode);
        }
      }
    }
  }

  private static byte[] bytes(java.nio.ByteBuffer buffer) {
    byte[] copy = new byte[buffer.remaining()];
    buffer.duplicate().get(copy);
    return copy;
  }

  /** Pages in order and complete, and their null counts adding up to the chunk's. */
  private void pageIndexes() throws IOException {
    int missing = 0;
    try (ParquetFileReader reader = Footers.open(entry.location())) {
      for (BlockMetaData block : reader.getFooter().getBlocks()) {
        for (ColumnChunkMetaData chunk : block.getColumns()) {
          OffsetIndex offsets = reader.readOffsetIndex(chunk);
          ColumnIndex columns = reader.readColumnIndex(chunk);
          if (offsets == null) {
            missing++;
            continue;
          }
          long last = -1;
          for (int page = 0; page < offsets.getPageCount(); page++) {
            long first = offsets.getFirstRowIndex(page);
            if (page == 0 && first != 0 || first <= last && page > 0 || first >= block.getRowCount()) {
              findings.problem("%s %s: page %d starts at row %d of %d", name, chunk.getPath(), page, first, block.getRowCount());
            }
            last = first;
          }
          if (columns != null && columns.getNullCounts() != null) {
            long nulls = columns.getNullCounts().stream().mapToLong(Long::longValue).sum();
            if (chunk.getStatistics() != null && chunk.getStatistics().isNumNullsSet()) {
              findings.same(nulls, chunk.getStatistics().getNumNulls(), "%s %s: sum of the pages' null counts", name, chunk.getPath());
            }
          }
        }
      }
    }
    if (missing > 0) {
      findings.note("%s: %d column chunks without an offset index", name, missing);
    }
  }

  /** Equality on sampled values: with row-group statistics, dictionaries, Bloom filters and page indexes, or without. */
  private void filters() throws IOException {
    int tried = 0;
    for (ColumnDescriptor column : footer.getFileMetaData().getSchema().getColumns()) {
      if (column.getMaxRepetitionLevel() > 0 || column.getPrimitiveType().getId() == null || tried >= 12) {
        continue;
      }
      ColumnFacts.Leaf leaf = facts.leaves.get(column.getPrimitiveType().getId().intValue());
      if (leaf == null || leaf.sample.isEmpty() || leaf.min == null) {
        continue;
      }
      tried++;
      MessageType alone = only(column.getPath());
      // With skipping whole rows, so that what skips pages skips the same rows of every column; to count the rows without,
      // the column suffices.
      MessageType whole = footer.getFileMetaData().getSchema();
      for (Object value :
          new LinkedHashSet<>(List.of(leaf.sample.get(0), leaf.sample.get(leaf.sample.size() - 1), leaf.min, leaf.max))) {
        FilterPredicate predicate = equal(column, leaf, value);
        if (predicate != null) {
          long with = matching(predicate, whole, true);
          long without = matching(predicate, alone, false);
          if (with != without || with == 0) {
            findings.problem("%s column %s = %s: %d rows with skipping, %d without", name, leaf.field.name(), value, with, without);
          }
        }
      }
    }
  }

  private static FilterPredicate equal(ColumnDescriptor column, ColumnFacts.Leaf leaf, Object value) {
    String path = String.join(".", column.getPath());
    if (path.chars().filter(c -> c == '.').count() != column.getPath().length - 1) {
      // The filter interface splits names at dots, so a name with one cannot be asked for.
      return null;
    }
    if (value instanceof Integer i) {
      return FilterApi.eq(FilterApi.intColumn(path), i);
    } else if (value instanceof Long l) {
      return FilterApi.eq(FilterApi.longColumn(path), l);
    } else if (value instanceof CharSequence s) {
      return FilterApi.eq(FilterApi.binaryColumn(path), Binary.fromString(s.toString()));
    } else if (value instanceof Double d && d != 0) {
      return FilterApi.eq(FilterApi.doubleColumn(path), d);
    } else if (value instanceof Float f && f != 0) {
      return FilterApi.eq(FilterApi.floatColumn(path), f);
    }
    return null;
  }

  /** The file's schema with one of its leaves only. */
  private MessageType only(String[] path) {
    MessageType schema = footer.getFileMetaData().getSchema();
    return new MessageType(schema.getName(), only(schema.getType(path[0]), path, 1));
  }

  private static org.apache.parquet.schema.Type only(org.apache.parquet.schema.Type field, String[] path, int depth) {
    if (field.isPrimitive()) {
      return field;
    }
    GroupType group = field.asGroupType();
    return group.withNewFields(only(group.getType(path[depth]), path, depth + 1));
  }

  private long matching(FilterPredicate predicate, MessageType read, boolean skipping) throws IOException {
    long rows = 0;
    // Not as a text in the configuration: not every name can be read from that.
    ReadSupport<Group> columns =
        new GroupReadSupport() {
          @Override
          public ReadContext init(InitContext context) {
            return new ReadContext(read);
          }
        };
    // Not from a path: that reads Hadoop's default configuration anew for each reader.
    InputFile file = HadoopInputFile.fromPath(new Path(entry.location()), Catalogs.configuration());
    ParquetReader.Builder<Group> builder =
        new ParquetReader.Builder<Group>(file) {
          @Override
          protected ReadSupport<Group> getReadSupport() {
            return columns;
          }
        }
            .withFilter(FilterCompat.get(predicate))
            .useStatsFilter(skipping)
            .useDictionaryFilter(skipping)
            .useBloomFilter(skipping)
            .useColumnIndexFilter(skipping)
            .useRecordFilter(true);
    try (ParquetReader<Group> reader = builder.build()) {
      while (reader.read() != null) {
        rows++;
      }
    }
    return rows;
  }
}
