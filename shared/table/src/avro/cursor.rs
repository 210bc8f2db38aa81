//! A place in bytes that are read from front to back, with Avro's encodings of numbers and strings.

use super::{AvroError, AvroType};

/// Bytes and how far they are read.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], AvroError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.too_short()),
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], AvroError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.too_short()),
        }
    }

    /// An `int` or a `long`: zigzag, seven bits a byte, the lowest first.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<i64, AvroError> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                if index == 9 && *byte > 1 {
                    break;
                }
                self.rest = &self.rest[index + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        if self.rest.len() < 10 {
            return Err(self.too_short());
        }
        Err(AvroError::corrupt("a number is longer than 64 bits"))
    }

    /// Steps over `count` numbers.
    #[inline]
    pub(crate) fn skip_varints(&mut self, mut count: u64) -> Result<(), AvroError> {
        const LAST_BYTES: u64 = 0x8080_8080_8080_8080;
        // Every number ends with the first byte whose top bit is clear: those are counted eight bytes at a time.
        while count > 0 {
            let Some((word, rest)) = self.rest.split_first_chunk::<8>() else {
                break;
            };
            let ends = u64::from((!u64::from_le_bytes(*word) & LAST_BYTES).count_ones());
            // The last number must not end before the eight bytes do: what comes behind it is not ours to take.
            if ends > count || (ends == count && word[7] & 0x80 != 0) {
                break;
            }
            count -= ends;
            self.rest = rest;
        }
        while count > 0 {
            let Some(end) = self.rest.iter().position(|byte| byte & 0x80 == 0) else {
                return Err(self.too_short());
            };
            self.rest = &self.rest[end + 1..];
            count -= 1;
        }
        Ok(())
    }

    /// `bytes` or a `string`, without a look at whether it is UTF-8.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], AvroError> {
        let length = self.varint()?;
        let length = usize::try_from(length)
            .map_err(|_| AvroError::corrupt(format!("a length of {length} bytes")))?;
        self.take(length)
    }

    /// A `string`.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str, AvroError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| AvroError::corrupt("a string is not UTF-8"))
    }

    /// A `boolean`.
    pub(crate) fn boolean(&mut self) -> Result<bool, AvroError> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(AvroError::corrupt(format!("{other} as a boolean"))),
        }
    }

    /// Whether a union of null, which is branch `null_branch`, and one other type is null here.
    #[inline]
    pub(crate) fn is_null(&mut self, null_branch: i64) -> Result<bool, AvroError> {
        let branch = self.varint()?;
        if branch == null_branch {
            return Ok(true);
        }
        if !(0..=1).contains(&branch) || (null_branch < 0 && branch != 0) {
            return Err(AvroError::corrupt(format!("branch {branch} of a union")));
        }
        Ok(false)
    }

    /// A number that is laid out as `layout`, which may be null.
    #[inline]
    pub(crate) fn integer(&mut self, layout: &AvroType) -> Result<Option<i64>, AvroError> {
        match layout {
            AvroType::Integer | AvroType::Enum(_) => self.varint().map(Some),
            other => match other.optional() {
                Some((Some(null_branch), AvroType::Integer | AvroType::Enum(_))) => {
                    match self.is_null(null_branch)? {
                        true => Ok(None),
                        false => self.varint().map(Some),
                    }
                }
                _ => Err(AvroError::corrupt(format!(
                    "{} where a number is due",
                    layout.describe()
                ))),
            },
        }
    }

    /// The number of items in the next block of an array or map, and the block's bytes where it says how many; no
    /// items at the end.
    #[inline]
    pub(crate) fn block(&mut self) -> Result<(u64, Option<usize>), AvroError> {
        let count = self.varint()?;
        if count >= 0 {
            return Ok((count.unsigned_abs(), None));
        }
        let length = self.varint()?;
        let length = usize::try_from(length)
            .map_err(|_| AvroError::corrupt(format!("a block of {length} bytes")))?;
        Ok((count.unsigned_abs(), Some(length)))
    }

    /// Calls `item` for every item of an array or map.
    #[inline]
    pub(crate) fn items(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), AvroError>,
    ) -> Result<(), AvroError> {
        loop {
            let (count, _) = self.block()?;
            if count == 0 {
                return Ok(());
            }
            for _ in 0..count {
                let before = self.rest.len();
                item(self)?;
                // Items that take no bytes could be claimed in any number.
                if self.rest.len() == before {
                    return Err(AvroError::corrupt("an array of items without content"));
                }
            }
        }
    }

    fn too_short(&self) -> AvroError {
        AvroError::corrupt(format!(
            "it ends in the middle of a value, {} bytes before the end",
            self.rest.len()
        ))
    }
}
