//! Thrift's compact protocol, as far as bytes are walked over: numbers, lengths, and values that nobody asked for.

use thiserror::Error;

/// Bytes that are no Thrift, or none that anybody would write.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Malformed(String);

/// How deep structs and lists may lie in one another. Parquet's own take ten; its decoder skips what it does not know to
/// a depth of 64.
pub(super) const MOST_DEPTH: usize = 48;

/// Types of the protocol.
pub(super) mod kind {
    pub(in super::super) const STOP: u8 = 0;
    pub(in super::super) const TRUE: u8 = 1;
    pub(in super::super) const FALSE: u8 = 2;
    pub(in super::super) const BYTE: u8 = 3;
    pub(in super::super) const I16: u8 = 4;
    pub(in super::super) const I32: u8 = 5;
    pub(in super::super) const I64: u8 = 6;
    pub(in super::super) const DOUBLE: u8 = 7;
    pub(in super::super) const BINARY: u8 = 8;
    pub(in super::super) const LIST: u8 = 9;
    pub(in super::super) const SET: u8 = 10;
    pub(in super::super) const STRUCT: u8 = 12;
}

/// A place in bytes that anybody may have written.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

/// What has no parts, passed over; or the parts that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Passed,
    List { size: u64, element: u8 },
    Struct,
}

pub(super) fn corrupt(what: impl std::fmt::Display) -> Malformed {
    Malformed(what.to_string())
}

pub(super) fn too_deep() -> Malformed {
    corrupt(format_args!(
        "its structs lie in one another more than {MOST_DEPTH} deep"
    ))
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn left(&self) -> u64 {
        (self.bytes.len() as u64).saturating_sub(self.at as u64)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| corrupt("the bytes are cut off"))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Malformed> {
        if bytes > self.left() {
            return Err(corrupt("the bytes are cut off"));
        }
        self.at += bytes as usize;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(corrupt("a number has more than 64 bits"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Malformed> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that counts something, and so is not negative.
    pub(super) fn count(&mut self) -> Result<u64, Malformed> {
        u64::try_from(self.signed()?).map_err(|_| corrupt("a count is negative"))
    }

    /// Number and type of the next field after the field `last`; `None` at the struct's end.
    pub(super) fn field(&mut self, last: i16) -> Result<Option<(i16, u8)>, Malformed> {
        let head = self.byte()?;
        if head & 0x0F == kind::STOP {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.signed()?).ok(),
            step => last.checked_add(i16::from(step)),
        };
        let id = id.ok_or_else(|| corrupt("a field has an impossible number"))?;
        Ok(Some((id, head & 0x0F)))
    }

    /// Passes over a value, or to the first of its parts. Booleans of fields are in the field's header.
    pub(super) fn value(&mut self, value_type: u8, in_list: bool) -> Result<Value, Malformed> {
        match value_type {
            kind::TRUE | kind::FALSE if in_list => self.skip(1)?,
            kind::TRUE | kind::FALSE => {}
            kind::BYTE => self.skip(1)?,
            kind::I16 | kind::I32 | kind::I64 => self.unsigned().map(|_| ())?,
            kind::DOUBLE => self.skip(8)?,
            kind::BINARY => {
                let length = self.unsigned()?;
                self.skip(length)?;
            }
            kind::LIST | kind::SET => return self.list(),
            kind::STRUCT => return Ok(Value::Struct),
            other => {
                return Err(corrupt(format_args!(
                    "a value has the unknown type {other}"
                )));
            }
        }
        Ok(Value::Passed)
    }

    /// Bytes with their length before them.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.unsigned()?;
        let start = self.at;
        self.skip(length)?;
        Ok(&self.bytes[start..self.at])
    }

    /// A boolean in a list.
    pub(super) fn listed_bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.byte()? == kind::TRUE)
    }

    /// The number of elements of a list, and their type.
    pub(super) fn list_head(&mut self) -> Result<(u64, u8), Malformed> {
        match self.list()? {
            Value::List { size, element } => Ok((size, element)),
            _ => Err(corrupt("a list was expected")),
        }
    }

    fn list(&mut self) -> Result<Value, Malformed> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.unsigned()?,
            size => u64::from(size),
        };
        // Each element takes a byte or more: a list can't be longer than what is left.
        if size > self.left() {
            return Err(corrupt(format_args!(
                "a list claims {size} elements, more than there are bytes"
            )));
        }
        let element = head & 0x0F;
        Ok(Value::List { size, element })
    }

    /// Passes over a field's value and all of its parts.
    pub(super) fn pass_over(&mut self, field_type: u8) -> Result<(), Malformed> {
        let mut open = vec![self.value(field_type, false)?];
        while let Some(value) = open.pop() {
            match value {
                Value::Passed | Value::List { size: 0, .. } => {}
                Value::List { size, element } => {
                    let size = size - 1;
                    open.push(Value::List { size, element });
                    open.push(self.value(element, true)?);
                }
                Value::Struct => {
                    if let Some((_, field_type)) = self.field(0)? {
                        open.push(Value::Struct);
                        open.push(self.value(field_type, false)?);
                    }
                }
            }
            if open.len() > MOST_DEPTH {
                return Err(too_deep());
            }
        }
        Ok(())
    }
}
