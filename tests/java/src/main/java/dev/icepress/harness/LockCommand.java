package dev.icepress.harness;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.iceberg.aws.dynamodb.DynamoDbLockManager;

/**
 * {@code lock}: Java's own lock manager on a DynamoDB table, told what to do line by line ({@code acquire ENTITY OWNER},
 * {@code release ENTITY OWNER}); it answers each line with one line of JSON: whether it succeeded, and the milliseconds it
 * took. Keeps what it holds alive by heartbeats until it is told to release, or killed.
 */
final class LockCommand {
  private LockCommand() {}

  static void run(Main.Options options) throws Exception {
    Map<String, String> properties = new HashMap<>(Catalogs.aws(options));
    properties.put("lock.table", options.get("lock-table"));
    properties.put("lock.heartbeat-timeout-ms", options.get("lease-ms", "15000"));
    properties.put("lock.heartbeat-interval-ms", options.get("heartbeat-ms", "3000"));
    properties.put("lock.acquire-interval-ms", options.get("interval-ms", "5000"));
    properties.put("lock.acquire-timeout-ms", options.get("timeout-ms", "180000"));
    try (DynamoDbLockManager lock = new DynamoDbLockManager();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      lock.initialize(properties);
      System.out.println(Json.text(Map.of("ready", true)));
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        String[] words = line.split(" ");
        long begun = System.nanoTime();
        boolean done =
            switch (words[0]) {
              case "acquire" -> lock.acquire(words[1], words[2]);
              case "release" -> lock.release(words[1], words[2]);
              default -> throw new IllegalArgumentException("no such word: " + words[0]);
            };
        Map<String, Object> said = new LinkedHashMap<>();
        said.put(words[0], done);
        said.put("ms", (System.nanoTime() - begun) / 1_000_000);
        System.out.println(Json.text(said));
      }
    }
  }
}
