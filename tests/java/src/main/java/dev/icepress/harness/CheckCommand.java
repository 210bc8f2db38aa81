package dev.icepress.harness;

final class CheckCommand {
  private CheckCommand() {}

  static void run(Main.Options options) {
    throw new UnsupportedOperationException();
  }
}
