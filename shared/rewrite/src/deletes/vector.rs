//! Deletion vectors: the blob of a Puffin file as a bitmap (specification, *Deletion Vectors*; Puffin specification,
//! *`deletion-vector-v1` blob type*).

use roaring::RoaringTreemap;

/// What the blob begins with, after its length.
const MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];

/// The positions that a blob marks as deleted; `Err` says what is wrong with it.
///
/// Layout: the length of magic and bitmap (4 bytes, big-endian), the magic, the bitmap (roaring, 64-bit, portable), and
/// the CRC-32 of magic and bitmap (4 bytes, big-endian).
pub(crate) fn decode_vector(blob: &[u8]) -> Result<RoaringTreemap, String> {
    let (length, rest) = blob
        .split_first_chunk::<4>()
        .ok_or("the deletion vector is shorter than its header")?;
    let (body, checksum) = rest
        .split_last_chunk::<4>()
        .ok_or("the deletion vector is shorter than its checksum")?;
    let length = u32::from_be_bytes(*length);
    if length as usize != body.len() {
        return Err(format!(
            "the deletion vector says that it has {length} bytes, and it has {}",
            body.len()
        ));
    }
    if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
        return Err("the deletion vector's checksum is wrong".to_owned());
    }
    let mut bitmap = body
        .strip_prefix(&MAGIC)
        .ok_or("the deletion vector does not begin with its magic number")?;
    let positions = RoaringTreemap::deserialize_from(&mut bitmap)
        .map_err(|error| format!("the deletion vector's bitmap can't be read: {error}"))?;
    if !bitmap.is_empty() {
        return Err(format!(
            "{} bytes follow the deletion vector's bitmap",
            bitmap.len()
        ));
    }
    Ok(positions)
}
