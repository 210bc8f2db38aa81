package dev.icepress.harness;

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.iceberg.Schema;
import org.apache.iceberg.parquet.ParquetSchemaUtil;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;
import org.apache.parquet.HadoopReadOptions;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.metadata.ParquetMetadata;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.MessageType;

/** Parquet footers, read by parquet-java itself. */
final class Footers {
  private Footers() {}

  static ParquetFileReader open(String location) throws IOException {
    // With options: without, Hadoop's default configuration is read anew for each file.
    Configuration configuration = Catalogs.configuration();
    HadoopInputFile file = HadoopInputFile.fromPath(new Path(location), configuration);
    return ParquetFileReader.open(file, HadoopReadOptions.builder(configuration).build());
  }

  static ParquetMetadata read(String location) throws IOException {
    try (ParquetFileReader reader = open(location)) {
      return reader.getFooter();
    }
  }

  /**
   * The file's columns as an Iceberg schema. Iceberg's own conversion makes a UUID a fixed of 16 bytes, and nanoseconds
   * microseconds; this does not.
   */
  static Schema schema(MessageType type) {
    Map<Integer, Type> exact = new HashMap<>();
    for (ColumnDescriptor column : type.getColumns()) {
      var primitive = column.getPrimitiveType();
      if (primitive.getId() == null) {
        continue;
      }
      LogicalTypeAnnotation annotation = primitive.getLogicalTypeAnnotation();
      if (annotation instanceof LogicalTypeAnnotation.UUIDLogicalTypeAnnotation) {
        exact.put(primitive.getId().intValue(), Types.UUIDType.get());
      } else if (annotation instanceof LogicalTypeAnnotation.TimestampLogicalTypeAnnotation time
          && time.getUnit() == LogicalTypeAnnotation.TimeUnit.NANOS) {
        Type nanos = time.isAdjustedToUTC() ? Types.TimestampNanoType.withZone() : Types.TimestampNanoType.withoutZone();
        exact.put(primitive.getId().intValue(), nanos);
      }
    }
    Type struct = exactly(ParquetSchemaUtil.convert(type).asStruct(), -1, exact);
    return new Schema(struct.asStructType().fields());
  }

  private static Type exactly(Type type, int id, Map<Integer, Type> exact) {
    return switch (type.typeId()) {
      case STRUCT ->
          Types.StructType.of(
              type.asStructType().fields().stream()
                  .map(
                      field ->
                          Types.NestedField.from(field)
                              .ofType(exactly(field.type(), field.fieldId(), exact))
                              .build())
                  .toList());
      case LIST -> {
        Types.ListType list = type.asListType();
        Type element = exactly(list.elementType(), list.elementId(), exact);
        yield list.isElementOptional()
            ? Types.ListType.ofOptional(list.elementId(), element)
            : Types.ListType.ofRequired(list.elementId(), element);
      }
      case MAP -> {
        Types.MapType map = type.asMapType();
        Type key = exactly(map.keyType(), map.keyId(), exact);
        Type value = exactly(map.valueType(), map.valueId(), exact);
        yield map.isValueOptional()
            ? Types.MapType.ofOptional(map.keyId(), map.valueId(), key, value)
            : Types.MapType.ofRequired(map.keyId(), map.valueId(), key, value);
      }
      default -> exact.getOrDefault(id, type);
    };
  }
}
