//! The baseline: arrow-rs decodes each file and encodes its batches again, with the writer settings that the rewrite
//! uses for a table without properties. No field ids are looked up, no deletes, no metrics, one thread.

use std::{fs::File, path::Path};

use anyhow::{Result, ensure};
use icepress_model::{Bytes, InputFile};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::events::ROWS;

/// Rewrites `inputs` into files of `target` bytes.
pub(super) fn decode_and_encode(folder: &Path, inputs: &[InputFile], target: Bytes) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(20_000)
        .set_dictionary_page_size_limit(2 << 20)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(128 << 20))
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    let (mut files, mut rows, mut bytes, mut row_groups) = (0, 0, 0, 0);
    let mut close = |writer: ArrowWriter<File>, bytes: &mut usize| -> Result<()> {
        let mut writer = writer;
        row_groups += writer.finish()?.num_row_groups();
        *bytes += writer.bytes_written();
        Ok(())
    };
    for input in inputs {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&input.path)?)?
            .with_batch_size(8192)
            .build()?;
        for batch in reader {
            let batch = batch?;
            let open = match &mut writer {
                Some(open) => open,
                None => {
                    files += 1;
                    let file = File::create(folder.join(format!("plain-{files}.parquet")))?;
                    writer.insert(ArrowWriter::try_new(
                        file,
                        batch.schema(),
                        Some(properties.clone()),
                    )?)
                }
            };
            rows += batch.num_rows() as u64;
            open.write(&batch)?;
            if (open.bytes_written() + open.in_progress_size()) as u64 >= target.get()
                && let Some(full) = writer.take()
            {
                close(full, &mut bytes)?;
            }
        }
    }
    if let Some(last) = writer.take() {
        close(last, &mut bytes)?;
    }
    ensure!(rows == inputs.len() as u64 * ROWS, "rows were lost");
    eprintln!(
        "plain: {files} files, {row_groups} row groups, {}",
        Bytes(bytes as u64)
    );
    Ok(())
}
