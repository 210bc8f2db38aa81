package dev.icepress.harness;

final class DamageCommand {
  private DamageCommand() {}

  static void run(Main.Options options) {
    throw new UnsupportedOperationException();
  }
}
