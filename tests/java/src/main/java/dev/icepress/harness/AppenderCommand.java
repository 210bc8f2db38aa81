package dev.icepress.harness;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Table;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.SupportsNamespaces;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.exceptions.CommitFailedException;

/**
 * {@code appender}: makes a table in a catalog of any kind, unless it is there, and appends to it, ten rows a commit. One
 * JSON line for each commit: the ids added, or why it was refused; at the end one with the ids of all rows, the version
 * of Java's reader. With {@code --commits 0} it only reads.
 */
final class AppenderCommand {
  private AppenderCommand() {}

  static void run(Main.Options options) throws Exception {
    Catalog catalog = Catalogs.ofKind(options);
    TableIdentifier name = Catalogs.identifier(options.get("table"));
    if (!catalog.tableExists(name)) {
      create(catalog, name, options);
    }
    Table table = catalog.loadTable(name);
    long from = options.number("from", 0);
    Maker maker = new Maker(table, from);
    maker.rows.startAt(from);
    for (long commit = 0; commit < options.number("commits", 0); commit++) {
      List<Record> rows = maker.rows.rows(table.schema(), 10);
      Map<String, Object> said = new LinkedHashMap<>();
      try {
        maker.append(rows);
        said.put("added", rows.stream().map(row -> row.getField("id")).toList());
      } catch (CommitFailedException e) {
        said.put("refused", e.toString());
      }
      System.out.println(Json.text(said));
      Thread.sleep(options.number("pause-ms", 50));
    }
    table.refresh();
    List<Object> ids = new ArrayList<>();
    maker.read().forEach(row -> ids.add(row.getField("id")));
    long files = maker.liveFiles().size();
    System.out.println(Json.text(Map.of("rows", ids, "files", files)));
  }

  private static void create(Catalog catalog, TableIdentifier name, Main.Options options) {
    if (catalog instanceof SupportsNamespaces namespaces && !namespaces.namespaceExists(name.namespace())) {
      namespaces.createNamespace(name.namespace(), Map.of());
    }
    Map<String, String> properties = new LinkedHashMap<>();
    properties.put("format-version", "2");
    properties.put("commit.retry.num-retries", options.get("retries", "20"));
    properties.put("write.metadata.compression-codec", options.get("codec", "none"));
    catalog
        .buildTable(name, Schemas.simple())
        .withPartitionSpec(PartitionSpec.unpartitioned())
        .withProperties(properties)
        .create();
  }
}
