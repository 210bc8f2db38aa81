//! Files of an inventory in CSV: compressed with gzip, every value in quotes, keys percent-encoded.

use std::io::Read as _;

use bytes::{Buf as _, Bytes as Buffer, buf::Reader};
use csv_core::ReadRecordResult;
use flate2::read::MultiGzDecoder;
use icepress_model::TimestampMs;
use percent_encoding::percent_decode;

use super::{Batch, Row, manifest::Columns};

/// How much is unpacked at a time.
const CHUNK: usize = 256 << 10;
/// No value is longer; S3's keys are 1,024 bytes at the most, and three times that encoded.
const LONGEST_ROW: usize = 64 << 10;
/// More columns than S3 has for an inventory.
const MOST_COLUMNS: usize = 64;

/// The rows of one file.
pub(super) struct CsvRows {
    columns: Columns,
    unpacked: MultiGzDecoder<Reader<Buffer>>,
    reader: csv_core::Reader,
    chunk: Vec<u8>,
    /// Where in `chunk` what was not read yet begins and ends.
    begin: usize,
    end: usize,
    record: Vec<u8>,
    ends: Vec<usize>,
    has_ended: bool,
}

impl CsvRows {
    pub(super) fn new(columns: Columns, content: Buffer) -> Result<Self, String> {
        Ok(Self {
            columns,
            unpacked: MultiGzDecoder::new(content.reader()),
            reader: csv_core::Reader::new(),
            chunk: vec![0; CHUNK],
            begin: 0,
            end: 0,
            record: vec![0; LONGEST_ROW],
            ends: vec![0; MOST_COLUMNS],
            has_ended: false,
        })
    }

    /// The rows of about one chunk; `None` at the end.
    pub(super) fn next(&mut self) -> Batch {
        if self.has_ended {
            return Ok(None);
        }
        let mut rows = Vec::new();
        let (mut written, mut columns) = (0, 0);
        let mut chunks = 0;
        loop {
            if self.begin == self.end && !self.has_ended {
                if chunks > 0 && written == 0 && columns == 0 {
                    return Ok(Some(rows));
                }
                self.begin = 0;
                self.end = self
                    .unpacked
                    .read(&mut self.chunk)
                    .map_err(|error| format!("it can't be unpacked: {error}"))?;
                chunks += 1;
            }
            let input = &self.chunk[self.begin..self.end];
            let (result, read, out, ended) = self.reader.read_record(
                input,
                &mut self.record[written..],
                &mut self.ends[columns..],
            );
            self.begin += read;
            written += out;
            columns += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err("a row is longer than any of an inventory".to_owned());
                }
                ReadRecordResult::Record => {
                    rows.push(self.row(columns)?);
                    (written, columns) = (0, 0);
                }
                ReadRecordResult::End => {
                    self.has_ended = true;
                    return Ok(Some(rows));
                }
            }
        }
    }

    fn row(&self, columns: usize) -> Result<Row, String> {
        if columns != self.columns.all {
            return Err(format!(
                "a row has {columns} values, and the manifest names {} columns",
                self.columns.all
            ));
        }
        let value = |column: usize| {
            let begin = column.checked_sub(1).map_or(0, |before| self.ends[before]);
            &self.record[begin..self.ends[column]]
        };
        let text = |column: usize| {
            std::str::from_utf8(value(column)).map_err(|_| "a value is not UTF-8".to_owned())
        };
        let key = decoded(value(self.columns.key))?;
        let says = |column: Option<usize>| column.map(text).transpose();
        let is_latest =
            says(self.columns.is_latest)?.is_none_or(|it| it.eq_ignore_ascii_case("true"));
        let is_marker = says(self.columns.is_delete_marker)?
            .is_some_and(|it| !it.is_empty() && !it.eq_ignore_ascii_case("false"));
        let size = text(self.columns.size)?;
        let modified = text(self.columns.modified)?;
        let wrong = |what: &str, value: &str| format!("of {key} the {what} is '{value}'");
        let size = match size {
            "" => None,
            size => Some(size.parse().map_err(|_| wrong("size", size))?),
        };
        let modified = match modified {
            "" => None,
            text => Some(moment(text).ok_or_else(|| wrong("time", text))?),
        };
        Ok(Row {
            bucket: text(self.columns.bucket)?.to_owned(),
            key,
            is_current: is_latest && !is_marker,
            size,
            modified,
        })
    }
}

/// A key as it is: forms write a space as a plus sign, and a plus sign as `%2B`.
fn decoded(key: &[u8]) -> Result<String, String> {
    let spaced: Vec<u8> = key
        .iter()
        .map(|byte| match byte {
            b'+' => b' ',
            byte => *byte,
        })
        .collect();
    let text = percent_decode(&spaced).decode_utf8();
    let text =
        text.map_err(|_| format!("the key {} is not UTF-8", String::from_utf8_lossy(key)))?;
    Ok(text.into_owned())
}

/// `2026-11-29T01:02:03.000Z`.
fn moment(text: &str) -> Option<TimestampMs> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(TimestampMs(moment.as_millisecond()))
}
