//! The baseline: arrow-rs decodes each file and encodes its batches again, with the writer settings that the rewrite
//! uses. No field ids are looked up, no deletes, no metrics, one thread.

use std::{fs::File, path::Path};

use anyhow::{Result, ensure};
use icepress_model::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{duel::DICTIONARY, rewriting::TARGET, tables::Shape};

/// Rewrites a table's files into files of the target's size in `folder`; returns the bytes written.
pub(crate) fn decode_and_encode(folder: &Path, shape: &Shape, row_group: Bytes) -> Result<u64> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_data_page_size_limit(1 << 20)
        .set_data_page_row_count_limit(20_000)
        .set_dictionary_page_size_limit(usize::try_from(DICTIONARY)?)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(usize::try_from(row_group.get())?))
        .build();
    let mut writer: Option<ArrowWriter<File>> = None;
    let (mut files, mut rows, mut bytes, mut row_groups) = (0, 0, 0, 0);
    let mut close = |mut writer: ArrowWriter<File>| -> Result<()> {
        row_groups += writer.finish()?.num_row_groups();
        bytes += writer.bytes_written() as u64;
        Ok(())
    };
    for input in shape.inputs(|_| Vec::new())? {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&input.path)?)?
            .with_batch_size(8192)
            .build()?;
        for batch in reader {
            let batch = batch?;
            let open = match &mut writer {
                Some(open) => open,
                None => {
                    files += 1;
                    let file = File::create(folder.join(format!("{files}.parquet")))?;
                    writer.insert(ArrowWriter::try_new(
                        file,
                        batch.schema(),
                        Some(properties.clone()),
                    )?)
                }
            };
            rows += batch.num_rows() as u64;
            open.write(&batch)?;
            if (open.bytes_written() + open.in_progress_size()) as u64 >= TARGET.get()
                && let Some(full) = writer.take()
            {
                close(full)?;
            }
        }
    }
    if let Some(last) = writer.take() {
        close(last)?;
    }
    ensure!(rows == shape.all_rows(), "rows were lost");
    eprintln!(
        "plain: {files} files, {row_groups} row groups, {}",
        Bytes(bytes)
    );
    Ok(bytes)
}
