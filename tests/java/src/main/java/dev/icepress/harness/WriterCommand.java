package dev.icepress.harness;

final class WriterCommand {
  private WriterCommand() {}

  static void run(Main.Options options) {
    throw new UnsupportedOperationException();
  }
}
