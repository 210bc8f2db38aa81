package dev.icepress.harness;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.iceberg.CatalogUtil;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.jdbc.JdbcCatalog;

/** Java's own JDBC catalog on a SQLite file: the catalog that PyIceberg and Icepress share with it. */
final class Catalogs {
  private Catalogs() {}

  static JdbcCatalog open(Main.Options options) {
    Map<String, String> properties = new HashMap<>();
    // A second writer makes SQLite busy for a moment: wait, do not fail. No power is cut in a test: do not wait for the disk.
    properties.put("uri", "jdbc:sqlite:file:" + options.get("db") + "?busy_timeout=20000&synchronous=OFF");
    properties.put("warehouse", options.get("warehouse"));
    properties.put("clients", "1");
    properties.put("jdbc.schema-version", options.get("schema-version", "V1"));
    JdbcCatalog catalog = new JdbcCatalog();
    catalog.setConf(configuration());
    catalog.initialize(options.get("catalog", "default"), properties);
    return catalog;
  }

  /** Hadoop's settings for small files on the local disk. */
  static Configuration configuration() {
    Configuration configuration = new Configuration(false);
    configuration.setClass("fs.file.impl", QuietLocalFileSystem.class, FileSystem.class);
    // Each range by a thread of its own takes longer than the few bytes in it.
    configuration.setBoolean("parquet.hadoop.vectored.io.enabled", false);
    return configuration;
  }

  /** What Iceberg's AWS clients need to reach an emulator: keys and region come from the environment. */
  static Map<String, String> aws(Main.Options options) {
    String endpoint = options.get("endpoint");
    return Map.of(
        "dynamodb.endpoint", endpoint,
        "glue.endpoint", endpoint,
        "http-client.type", "urlconnection");
  }

  /**
   * The catalog that {@code --kind} names, its files on the local disk, under Java's commit lock where {@code
   * --lock-table} names one.
   */
  static Catalog ofKind(Main.Options options) {
    Map<String, String> properties = new HashMap<>();
    properties.put("warehouse", options.get("warehouse"));
    properties.put("io-impl", "org.apache.iceberg.hadoop.HadoopFileIO");
    String endpoint = options.get("endpoint", "");
    if (!endpoint.isEmpty()) {
      properties.putAll(aws(options));
    }
    String lockTable = options.get("lock-table", "");
    if (!lockTable.isEmpty()) {
      properties.put("lock-impl", "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager");
      properties.put("lock.table", lockTable);
      properties.put("lock.acquire-interval-ms", "200");
    }
    String kind = options.get("kind");
    String implementation =
        switch (kind) {
          case "glue" -> "org.apache.iceberg.aws.glue.GlueCatalog";
          case "dynamodb" -> "org.apache.iceberg.aws.dynamodb.DynamoDbCatalog";
          case "hadoop" -> "org.apache.iceberg.hadoop.HadoopCatalog";
          case "jdbc" -> {
            properties.put("uri", options.get("uri"));
            properties.put("jdbc.user", options.get("user"));
            properties.put("jdbc.schema-version", options.get("schema-version", "V1"));
            yield "org.apache.iceberg.jdbc.JdbcCatalog";
          }
          default -> throw new IllegalArgumentException("no such kind: " + kind);
        };
    return CatalogUtil.loadCatalog(
        implementation, options.get("catalog", "default"), properties, configuration());
  }

  static TableIdentifier identifier(String dotted) {
    return TableIdentifier.parse(dotted);
  }

  /** The table that {@code --table} names, else every table of every namespace. */
  static List<TableIdentifier> chosen(JdbcCatalog catalog, Main.Options options) {
    String named = options.get("table", "");
    if (!named.isEmpty()) {
      List<TableIdentifier> tables = new ArrayList<>();
      for (String name : named.split(",")) {
        tables.add(identifier(name));
      }
      return tables;
    }
    List<TableIdentifier> tables = new ArrayList<>();
    for (Namespace namespace : allNamespaces(catalog, Namespace.empty())) {
      tables.addAll(catalog.listTables(namespace));
    }
    return tables;
  }

  private static List<Namespace> allNamespaces(JdbcCatalog catalog, Namespace parent) {
    List<Namespace> found = new ArrayList<>();
    for (Namespace namespace : catalog.listNamespaces(parent)) {
      found.add(namespace);
      found.addAll(allNamespaces(catalog, namespace));
    }
    return found;
  }
}
