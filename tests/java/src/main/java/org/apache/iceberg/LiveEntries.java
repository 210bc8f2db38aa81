package org.apache.iceberg;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.io.FileIO;

/** Manifest entries with their status, which Iceberg's public reader hides: this class stands in its package to see them. */
public final class LiveEntries {
  private LiveEntries() {}

  /** One entry of a manifest; {@code status} is EXISTING, ADDED or DELETED. */
  public record Entry(
      String status, Long snapshotId, Long dataSequence, Long fileSequence, ContentFile<?> file, ManifestFile manifest) {
    public boolean live() {
      return !status.equals("DELETED");
    }
  }

  public static List<Entry> of(ManifestFile manifest, FileIO io, Map<Integer, PartitionSpec> specs) throws IOException {
    List<Entry> entries = new ArrayList<>();
    if (manifest.content() == ManifestContent.DATA) {
      try (ManifestReader<DataFile> reader = ManifestFiles.read(manifest, io, specs)) {
        collect(reader.entries(), manifest, entries);
      }
    } else {
      try (ManifestReader<DeleteFile> reader = ManifestFiles.readDeleteManifest(manifest, io, specs)) {
        collect(reader.entries(), manifest, entries);
      }
    }
    return entries;
  }

  private static <F extends ContentFile<F>> void collect(
      CloseableIterable<ManifestEntry<F>> from, ManifestFile manifest, List<Entry> into) throws IOException {
    try (from) {
      for (ManifestEntry<F> entry : from) {
        into.add(
            new Entry(
                entry.status().name(),
                entry.snapshotId(),
                entry.dataSequenceNumber(),
                entry.fileSequenceNumber(),
                entry.file().copy(),
                manifest));
      }
    }
  }
}
