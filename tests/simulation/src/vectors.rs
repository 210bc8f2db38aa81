//! Deletion vectors as the foreign writer writes them and the judging reader reads them, by the letter of the
//! specification (*Deletion Vectors*, and Puffin's `deletion-vector-v1`). Shares nothing with the code that is tried.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use iceberg::{
    io::FileIO,
    puffin::{Blob, CompressionCodec, DELETION_VECTOR_V1, PuffinReader, PuffinWriter},
};
use roaring::RoaringTreemap;

/// What follows on a blob's length.
const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// The field id of a row's position.
const POSITION_ID: i32 = 2_147_483_645;
/// Where the crate's writer writes to before the bytes go to storage.
const SCRATCH: &str = "memory:/scratch.puffin";

/// Where a vector lies in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The data file that it is about.
    pub path: String,
    /// Where its blob begins, in bytes.
    pub offset: i64,
    /// The blob's length in bytes.
    pub length: i64,
    /// How many rows it hides.
    pub rows: u64,
}

/// The positions that the blob at `offset` of a Puffin file hides.
pub fn read_vector(file: &Bytes, offset: i64, length: i64) -> Result<Vec<i64>, String> {
    let place = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(length).ok());
    let blob = place.and_then(|(from, length)| file.get(from..from.checked_add(length)?));
    let blob = blob.ok_or_else(|| format!("no {length} bytes at {offset} of a vector's file"))?;
    let (size, rest) = blob.split_first_chunk::<4>().ok_or("a short vector")?;
    let (body, sum) = rest.split_last_chunk::<4>().ok_or("a short vector")?;
    if u32::from_be_bytes(*size) as usize != body.len() {
        return Err("a vector has another length than it says".to_owned());
    }
    if crc32fast::hash(body) != u32::from_be_bytes(*sum) {
        return Err("a vector's checksum is wrong".to_owned());
    }
    let bits = body.strip_prefix(&MAGIC).ok_or("no vector's magic")?;
    let positions = RoaringTreemap::deserialize_from(bits).map_err(|error| error.to_string())?;
    Ok(positions.iter().map(|position| position as i64).collect())
}

fn blob(positions: &BTreeSet<i64>) -> Vec<u8> {
    let positions: RoaringTreemap = positions.iter().map(|position| *position as u64).collect();
    let mut body = MAGIC.to_vec();
    positions.serialize_into(&mut body).unwrap();
    let mut blob = (body.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(&body);
    blob.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
    blob
}

/// One Puffin file with a vector for each data file.
pub async fn write_vectors(
    vectors: &BTreeMap<String, BTreeSet<i64>>,
) -> Result<(Bytes, Vec<Placed>), iceberg::Error> {
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH)?;
    let mut writer = PuffinWriter::new(&output, HashMap::new(), false).await?;
    for (path, positions) in vectors {
        let properties = HashMap::from([
            ("referenced-data-file".to_owned(), path.clone()),
            ("cardinality".to_owned(), positions.len().to_string()),
        ]);
        let blob = Blob::builder()
            .r#type(DELETION_VECTOR_V1.to_owned())
            .fields(vec![POSITION_ID])
            .snapshot_id(-1)
            .sequence_number(-1)
            .data(blob(positions))
            .properties(properties)
            .build();
        writer.add(blob, CompressionCodec::None).await?;
    }
    writer.close().await?;
    let input = scratch.new_input(SCRATCH)?;
    let content = input.read().await?;
    let reader = PuffinReader::new(input);
    let blobs = reader.file_metadata().await?.blobs();
    let placed = vectors
        .iter()
        .zip(blobs)
        .map(|((path, positions), blob)| Placed {
            path: path.clone(),
            offset: blob.offset() as i64,
            length: blob.length() as i64,
            rows: positions.len() as u64,
        });
    Ok((content, placed.collect()))
}
