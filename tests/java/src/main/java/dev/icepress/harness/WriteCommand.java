package dev.icepress.harness;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.catalog.Catalog;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.jdbc.JdbcCatalog;

/** {@code write}: makes every table of the scenarios, or the ones that {@code --only} names. */
final class WriteCommand {
  private WriteCommand() {}

  /** What makes one table. */
  interface Scenario {
    void make(Context context);
  }

  /** Creates the scenario's table under the name it is registered with. */
  record Context(JdbcCatalog catalog, TableIdentifier name, long seed, String warehouse) {
    Maker table(Schema schema, PartitionSpec spec, String... properties) {
      return new Maker(builder(schema, spec, properties).create(), seed);
    }

    Catalog.TableBuilder builder(Schema schema, PartitionSpec spec, String... properties) {
      Map<String, String> map = new LinkedHashMap<>();
      map.put("format-version", "2");
      for (int i = 0; i < properties.length; i += 2) {
        map.put(properties[i], properties[i + 1]);
      }
      return catalog.buildTable(name, schema).withPartitionSpec(spec).withProperties(map);
    }
  }

  static void run(Main.Options options) {
    Map<String, Scenario> all = new LinkedHashMap<>();
    TypeScenarios.register(all);
    PartitionScenarios.register(all);
    EvolutionScenarios.register(all);
    DeleteScenarios.register(all);
    PropertyScenarios.register(all);
    V3Scenarios.register(all);
    LightScenarios.register(all);
    String only = options.get("only", "");
    // These are made for the tests that ask for them.
    Set<String> usual = new LinkedHashSet<>(all.keySet());
    usual.removeIf(name -> name.startsWith("v3.") || name.startsWith("refused.") || name.startsWith("light."));
    Set<String> chosen = only.isEmpty() ? usual : Set.copyOf(List.of(only.split(",")));
    for (String name : chosen) {
      if (!all.containsKey(name)) {
        throw new IllegalArgumentException("no scenario " + name + "; there are " + all.keySet());
      }
    }
    long seed = options.number("seed", 1);
    try (JdbcCatalog catalog = Catalogs.open(options)) {
      all.forEach(
          (name, scenario) -> {
            if (chosen.contains(name)) {
              TableIdentifier identifier = TableIdentifier.parse(name);
              namespaces(catalog, identifier.namespace());
              scenario.make(
                  new Context(catalog, identifier, seed * 7919 + name.hashCode(), options.get("warehouse")));
              System.out.println(name);
            }
          });
    }
  }

  private static void namespaces(JdbcCatalog catalog, Namespace namespace) {
    for (int levels = 1; levels <= namespace.length(); levels++) {
      Namespace part = Namespace.of(java.util.Arrays.copyOf(namespace.levels(), levels));
      if (!catalog.namespaceExists(part)) {
        catalog.createNamespace(part, Map.of());
      }
    }
  }
}
