//! Writing: plain values, and values of one layout as another.

use super::{AvroError, AvroType, Cursor, Skip};

/// Writes a number.
pub(crate) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Writes bytes or a string.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

/// Reads a value of layout `from` and writes it as a reader of layout `to` wants it: records by field id, whatever can stay
/// as it is byte for byte. Items of arrays that are null, or hold null, where `to` has none are left out, as readers leave
/// them out; returns `false`, and nothing of use in `out`, where the value itself is such.
pub(crate) fn transcode(
    cursor: &mut Cursor<'_>,
    from: &AvroType,
    to: &AvroType,
    out: &mut Vec<u8>,
) -> Result<bool, AvroError> {
    use AvroType as A;
    if is_same(from, to) {
        let before = cursor.rest();
        Skip::of(from).run(cursor)?;
        out.extend_from_slice(&before[..before.len() - cursor.rest().len()]);
        return Ok(true);
    }
    match (from, to) {
        (A::Union(branches), _) => {
            let branch = cursor.varint()?;
            let inner = usize::try_from(branch)
                .ok()
                .and_then(|branch| branches.get(branch))
                .ok_or_else(|| AvroError::corrupt(format!("branch {branch} of a union")))?;
            transcode(cursor, inner, to, out)
        }
        (_, A::Union(branches)) => {
            let fits = |branch: &A| (*from == A::Null) == (*branch == A::Null);
            let mut chosen = branches.iter().enumerate();
            let Some((index, branch)) = chosen.find(|(_, branch)| fits(branch)) else {
                return Err(misfit(from, to));
            };
            put_long(index as i64, out);
            transcode(cursor, from, branch, out)
        }
        (A::Null, _) => Ok(false),
        (A::Array(items), A::Array(wanted)) => {
            let mut kept = Vec::new();
            let mut count = 0;
            cursor.items(|cursor| {
                let before = kept.len();
                match transcode(cursor, items, wanted, &mut kept)? {
                    true => count += 1,
                    false => kept.truncate(before),
                }
                Ok(())
            })?;
            if count > 0 {
                put_long(count, out);
                out.append(&mut kept);
            }
            put_long(0, out);
            Ok(true)
        }
        (A::Record(fields), A::Record(wanted)) => {
            let mut found = Vec::with_capacity(fields.len());
            for field in fields {
                found.push((field, cursor.clone()));
                Skip::of(&field.layout).run(cursor)?;
            }
            let mut is_whole = true;
            for wanted in wanted {
                let source = found
                    .iter_mut()
                    .find(|(field, _)| field.id.is_some() && field.id == wanted.id);
                is_whole &= match source {
                    Some((field, at)) => transcode(at, &field.layout, &wanted.layout, out)?,
                    None => transcode(&mut Cursor::new(&[]), &A::Null, &wanted.layout, out)?,
                };
            }
            Ok(is_whole)
        }
        _ => Err(misfit(from, to)),
    }
}

/// Whether bytes of one layout can stand where the other is expected. Names don't show in the bytes, and how records'
/// fields are told apart is for who transcodes them.
fn is_same(from: &AvroType, to: &AvroType) -> bool {
    use AvroType as A;
    match (from, to) {
        (A::Bytes | A::String, A::Bytes | A::String)
        | (A::Integer | A::Enum(_), A::Integer)
        | (A::Null, A::Null)
        | (A::Boolean, A::Boolean)
        | (A::Float, A::Float)
        | (A::Double, A::Double) => true,
        (A::Fixed(a), A::Fixed(b)) => a == b,
        (A::Array(a), A::Array(b)) | (A::Map(a), A::Map(b)) => is_same(a, b),
        (A::Union(a), A::Union(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (A::Record(a), A::Record(b)) => {
            let mut both = a.iter().zip(b);
            a.len() == b.len() && both.all(|(a, b)| a.id == b.id && is_same(&a.layout, &b.layout))
        }
        _ => false,
    }
}

fn misfit(from: &AvroType, to: &AvroType) -> AvroError {
    AvroError::corrupt(format!(
        "expected {}, found {}",
        to.describe(),
        from.describe()
    ))
}
