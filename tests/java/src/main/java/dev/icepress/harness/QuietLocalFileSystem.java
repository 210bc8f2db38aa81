package dev.icepress.harness;

import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

/**
 * Hadoop's local disk without permissions: where its native library is missing, it starts {@code chmod} for each file and
 * folder that it makes.
 */
public final class QuietLocalFileSystem extends LocalFileSystem {
  public QuietLocalFileSystem() {
    super(
        new RawLocalFileSystem() {
          @Override
          public void setPermission(Path path, FsPermission permission) {}
        });
  }
}
