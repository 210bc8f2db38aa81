package dev.icepress.harness;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The command line: a word for what to do, then options. Every command takes {@code --db FILE}, {@code --warehouse
 * DIR} and {@code --catalog NAME}. Exit code 0: done; 1: an error, told on standard error.
 */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws Exception {
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
    if (args.length == 0) {
      usage();
    }
    Options options = Options.parse(args);
    switch (args[0]) {
      case "write" -> WriteCommand.run(options);
      case "rows" -> RowsCommand.run(options);
      case "check" -> CheckCommand.run(options);
      case "origins" -> OriginsCommand.run(options);
      case "damage" -> DamageCommand.run(options);
      case "writer" -> WriterCommand.run(options);
      case "rest" -> RestCommand.run(options);
      case "lock" -> LockCommand.run(options);
      case "appender" -> AppenderCommand.run(options);
      case "wap" -> WapCommand.run(options);
      case "expire" -> ExpireCommand.run(options);
      case "manifests" -> ManifestsCommand.run(options);
      case "partition-stats" -> PartitionStatsCommand.run(options);
      case "sketches" -> SketchesCommand.run(options);
      default -> usage();
    }
    // Iceberg's worker pools and file system threads must not keep the process alive.
    System.exit(0);
  }

  private static void usage() {
    System.err.println(
        """
        harness COMMAND --db FILE --warehouse DIR [--catalog NAME] [OPTION…]
          write  [--seed N] [--only NAME,…] [--schema-version V0|V1]   make the tables
          rows   --out DIR [--table NS.NAME] [--lineage yes]           one JSON line a row, DIR/NS.NAME.jsonl
          check  [--table NS.NAME] [--schema current|any]              one JSON line a table: what is wrong with it
          origins --table NS.NAME                                      v3: each row's lineage against who wrote it
          damage --table NS.NAME --kind KIND                           append a file whose manifest entry lies
          writer --table NS.NAME --kind append|position|equality|vector|overwrite|stream --commits N|--seconds N --from ID [--pause-ms N] [--format V]
          wap    --table NS.NAME --do stage|publish                    write, audit, publish: JSON, ids by ref
          expire --do age|expire|read [--table NS.NAME] [--older-than MS]   a past, Java's expiry as the judge of ours
          sketches --do ask|read|write [--table NS.NAME] [--without COLUMN]   of distinct values: ours, and of Java's rows
          rest   [--credential ID:SECRET] [--token-seconds N] [--keys-seconds N] [--lose K]   a REST server; see there
          lock   --lock-table T --endpoint URL   Java's lock manager, told what to do on standard input
          appender --kind glue|hadoop|dynamodb|jdbc --table NS.NAME --commits N --from ID   makes a table, appends""");
    System.exit(2);
  }

  /** Options as {@code --name value}; positional words are an error, so that a typo never passes for a default. */
  static final class Options {
    private final Map<String, String> values = new HashMap<>();

    static Options parse(String[] args) {
      Options options = new Options();
      List<String> words = new ArrayList<>(List.of(args).subList(1, args.length));
      while (!words.isEmpty()) {
        String word = words.remove(0);
        if (!word.startsWith("--") || words.isEmpty()) {
          throw new IllegalArgumentException("expected --name value, got " + word);
        }
        options.values.put(word.substring(2), words.remove(0));
      }
      return options;
    }

    String get(String name) {
      String value = values.get(name);
      if (value == null) {
        throw new IllegalArgumentException("--" + name + " is missing");
      }
      return value;
    }

    String get(String name, String otherwise) {
      return values.getOrDefault(name, otherwise);
    }

    long number(String name, long otherwise) {
      return Long.parseLong(values.getOrDefault(name, Long.toString(otherwise)));
    }
  }
}
