package dev.icepress.harness;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.jdbc.JdbcCatalog;

/** Java's own JDBC catalog on a SQLite file: the catalog that PyIceberg and Icepress share with it. */
final class Catalogs {
  private Catalogs() {}

  static JdbcCatalog open(Main.Options options) {
    Map<String, String> properties = new HashMap<>();
    // A second writer makes SQLite busy for a moment: wait, do not fail.
    properties.put("uri", "jdbc:sqlite:file:" + options.get("db") + "?busy_timeout=20000");
    properties.put("warehouse", options.get("warehouse"));
    properties.put("clients", "1");
    properties.put("jdbc.schema-version", options.get("schema-version", "V1"));
    JdbcCatalog catalog = new JdbcCatalog();
    catalog.setConf(new Configuration(false));
    catalog.initialize(options.get("catalog", "default"), properties);
    return catalog;
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
