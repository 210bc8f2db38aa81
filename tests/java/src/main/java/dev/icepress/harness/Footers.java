package dev.icepress.harness;

import java.io.IOException;
import java.util.HashSet;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.iceberg.Schema;
import org.apache.iceberg.parquet.ParquetSchemaUtil;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;
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
    return ParquetFileReader.open(HadoopInputFile.fromPath(new Path(location), new Configuration(false)));
  }

  static ParquetMetadata read(String location) throws IOException {
    try (ParquetFileReader reader = open(location)) {
      return reader.getFooter();
    }
  }

  /** The file's columns as an Iceberg schema. Iceberg's own conversion makes a UUID a fixed of 16 bytes; this does not. */
  static Schema schema(MessageType type) {
    Set<Integer> uuids = new HashSet<>();
    for (ColumnDescriptor column : type.getColumns()) {
      var primitive = column.getPrimitiveType();
      if (primitive.getId() != null
          && primitive.getLogicalTypeAnnotation() instanceof LogicalTypeAnnotation.UUIDLogicalTypeAnnotation) {
        uuids.add(primitive.getId().intValue());
      }
    }
    Type struct = withUuids(ParquetSchemaUtil.convert(type).asStruct(), -1, uuids);
    return new Schema(struct.asStructType().fields());
  }

  private static Type withUuids(Type type, int id, Set<Integer> uuids) {
    return switch (type.typeId()) {
      case STRUCT ->
          Types.StructType.of(
              type.asStructType().fields().stream()
                  .map(
                      field ->
                          Types.NestedField.from(field)
                              .ofType(withUuids(field.type(), field.fieldId(), uuids))
                              .build())
                  .toList());
      case LIST -> {
        Types.ListType list = type.asListType();
        Type element = withUuids(list.elementType(), list.elementId(), uuids);
        yield list.isElementOptional()
            ? Types.ListType.ofOptional(list.elementId(), element)
            : Types.ListType.ofRequired(list.elementId(), element);
      }
      case MAP -> {
        Types.MapType map = type.asMapType();
        Type key = withUuids(map.keyType(), map.keyId(), uuids);
        Type value = withUuids(map.valueType(), map.valueId(), uuids);
        yield map.isValueOptional()
            ? Types.MapType.ofOptional(map.keyId(), map.valueId(), key, value)
            : Types.MapType.ofRequired(map.keyId(), map.valueId(), key, value);
      }
      default -> uuids.contains(id) ? Types.UUIDType.get() : type;
    };
  }
}
