package dev.icepress.harness;

import java.util.Map;
import org.apache.iceberg.FileFormat;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.SortOrder;

/** Table properties that a rewrite has to follow, and tables that it must leave as they are. */
final class PropertyScenarios {
  private PropertyScenarios() {}

  static void register(Map<String, WriteCommand.Scenario> all) {
    PartitionSpec none = PartitionSpec.unpartitioned();
    for (String codec : new String[] {"gzip", "snappy", "zstd", "uncompressed", "lz4"}) {
      String written = codec.equals("lz4") ? "lz4_raw" : codec;
      all.put("props." + codec, c -> c.table(Schemas.simple(), none, "write.parquet.compression-codec", written).append(8, 40));
    }
    all.put(
        "props.codec_changed",
        c -> {
          Maker maker = c.table(Schemas.primitives(), none, "write.parquet.compression-codec", "snappy").append(5, 40);
          maker.table.updateProperties().set("write.parquet.compression-codec", "gzip").commit();
          maker.append(5, 40);
        });
    all.put(
        "props.small_row_groups",
        c ->
            c.table(Schemas.primitives(), none, "write.parquet.row-group-size-bytes", "20000", "write.parquet.page-size-bytes", "2000", "write.parquet.row-group-check-min-record-count", "20", "write.parquet.row-group-check-max-record-count", "40", "write.parquet.page-row-limit", "50")
                .append(6, 400));
    all.put(
        "props.small_targets",
        c -> {
          Schema schema = Schemas.primitives();
          c.table(schema, PartitionSpec.builderFor(schema).bucket("id", 2).build(), "write.target-file-size-bytes", "60000", "write.parquet.row-group-size-bytes", "30000", "write.parquet.row-group-check-min-record-count", "20", "write.parquet.row-group-check-max-record-count", "40").append(10, 150);
        });
    all.put("props.no_dictionary", c -> c.table(Schemas.primitives(), none, "write.parquet.dict-size-bytes", "64").append(6, 60));
    all.put("props.bloom", c -> c.table(Schemas.simple(), none, "write.parquet.bloom-filter-enabled.column.note", "true").append(8, 40));
    all.put("props.data_path", c -> c.table(Schemas.simple(), none, "write.data.path", "file:" + c.warehouse() + "/elsewhere/data_path").append(8, 20));
    all.put("props.metadata_path", c -> c.table(Schemas.simple(), none, "write.metadata.path", "file:" + c.warehouse() + "/elsewhere/metadata_path").append(8, 20));
    all.put("props.metadata_gzip", c -> c.table(Schemas.simple(), none, "write.metadata.compression-codec", "gzip").append(8, 20));
    all.put(
        "props.object_storage",
        c -> {
          Schema schema = Schemas.simple();
          c.table(schema, PartitionSpec.builderFor(schema).identity("low_city").build(), "write.object-storage.enabled", "true").append(6, 40);
        });
    for (String mode : new String[] {"none", "counts", "truncate(4)", "full"}) {
      String name = mode.replaceAll("[()]", "");
      all.put("props.metrics_" + name, c -> c.table(Schemas.primitives(), none, "write.metadata.metrics.default", mode).append(6, 60));
    }
    // Partitions of texts that begin alike: the smallest and greatest of some are longer than a statistic of Parquet's.
    all.put(
        "props.metrics_full_parts",
        c -> {
          Schema schema = Schemas.primitives();
          c.table(schema, PartitionSpec.builderFor(schema).truncate("text", 6).build(), "write.metadata.metrics.default", "full").append(6, 120);
        });
    all.put(
        "props.metrics_columns",
        c ->
            c.table(Schemas.nested(), none, "write.metadata.metrics.default", "counts", "write.metadata.metrics.column.id", "full", "write.metadata.metrics.column.place.name", "truncate(8)", "write.metadata.metrics.column.must.a", "none")
                .append(6, 40));
    all.put(
        "props.sorted",
        c -> {
          Schema schema = Schemas.simple();
          SortOrder order = SortOrder.builderFor(schema).asc("low_city").desc("amount").build();
          Maker maker = new Maker(c.builder(schema, none).withSortOrder(order).create(), c.seed());
          maker.append(8, 40);
        });
    all.put(
        "props.refs",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(4, 30);
          maker.table.manageSnapshots().createTag("kept", maker.table.currentSnapshot().snapshotId()).createBranch("side").commit();
          maker.append(4, 30).deletePositions(0.1, true);
          var side = maker.table.newAppend().toBranch("side");
          maker.write(maker.rows.rows(maker.table.schema(), 10), maker.table.schema(), maker.table.spec(), FileFormat.PARQUET).forEach(side::appendFile);
          side.commit();
        });
    all.put(
        "props.staged",
        c -> {
          Maker maker = c.table(Schemas.simple(), none, "write.wap.enabled", "true").append(6, 30);
          var staged = maker.table.newAppend().stageOnly();
          maker.write(maker.rows.rows(maker.table.schema(), 10), maker.table.schema(), maker.table.spec(), FileFormat.PARQUET).forEach(staged::appendFile);
          staged.set("wap.id", "trial").commit();
        });
    all.put(
        "props.rolled_back",
        c -> {
          Maker maker = c.table(Schemas.simple(), none).append(5, 30);
          long good = maker.table.currentSnapshot().snapshotId();
          maker.append(2, 30);
          maker.table.manageSnapshots().rollbackTo(good).commit();
        });
    all.put("props.many_manifests", c -> c.table(Schemas.simple(), none, "commit.manifest-merge.enabled", "false").append(30, 5));
    for (FileFormat format : new FileFormat[] {FileFormat.AVRO, FileFormat.ORC}) {
      // Only Parquet is rewritten: the others must be left where they are, with a reason.
      all.put(
          "props.with_" + format.name().toLowerCase(java.util.Locale.ROOT),
          c -> {
            Maker maker = c.table(Schemas.simple(), none).append(6, 30);
            for (int i = 0; i < 3; i++) {
              var append = maker.table.newAppend();
              maker.write(maker.rows.rows(maker.table.schema(), 10), maker.table.schema(), maker.table.spec(), format).forEach(append::appendFile);
              append.commit();
            }
          });
    }
  }
}
