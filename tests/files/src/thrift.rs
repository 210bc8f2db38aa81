//! Thrift's compact protocol as a tree that can be changed: any struct, without knowing its fields.
//!
//! Only what Parquet uses: no maps, no sets.

use anyhow::{Context as _, Result, bail, ensure};

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;
/// Structs inside structs, at most.
const DEPTH: u32 = 64;

/// A value of any type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A number of 8 bits.
    Byte(u8),
    /// A number of 16 bits.
    I16(i16),
    /// A number of 32 bits; enumerations too.
    I32(i32),
    /// A number of 64 bits.
    I64(i64),
    /// A floating point number, as it lies.
    Double([u8; 8]),
    /// Bytes, or text.
    Binary(Vec<u8>),
    /// Values of one type: the type's number, and the values.
    List(u8, Vec<Value>),
    /// A struct.
    Struct(Struct),
}

/// Fields by id, in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Struct(Vec<(i16, Value)>);

impl Struct {
    /// Reads a struct from the beginning of `bytes`; returns it with the number of bytes that it takes.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize)> {
        let mut reader = Reader { bytes, at: 0 };
        let read = reader.read_struct(0)?;
        Ok((read, reader.at))
    }

    /// The struct's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// A field.
    pub fn get(&self, id: i16) -> Option<&Value> {
        self.0
            .iter()
            .find(|(of, _)| *of == id)
            .map(|(_, value)| value)
    }

    /// A field, to change it.
    pub fn get_mut(&mut self, id: i16) -> Option<&mut Value> {
        self.0
            .iter_mut()
            .find(|(of, _)| *of == id)
            .map(|(_, value)| value)
    }

    /// A field that is a number.
    pub fn int(&self, id: i16) -> Option<i64> {
        match self.get(id)? {
            Value::Byte(number) => Some((*number).into()),
            Value::I16(number) => Some((*number).into()),
            Value::I32(number) => Some((*number).into()),
            Value::I64(number) => Some(*number),
            _ => None,
        }
    }

    /// A field that is a struct.
    pub fn child(&self, id: i16) -> Option<&Struct> {
        match self.get(id)? {
            Value::Struct(child) => Some(child),
            _ => None,
        }
    }

    /// A field that is a struct, to change it.
    pub fn child_mut(&mut self, id: i16) -> Option<&mut Struct> {
        match self.get_mut(id)? {
            Value::Struct(child) => Some(child),
            _ => None,
        }
    }

    /// The elements of a field that is a list; none where there is no such field.
    pub fn list(&self, id: i16) -> &[Value] {
        match self.get(id) {
            Some(Value::List(_, values)) => values,
            _ => &[],
        }
    }

    /// The elements of a field that is a list, to change them.
    pub fn list_mut(&mut self, id: i16) -> Option<&mut Vec<Value>> {
        match self.get_mut(id)? {
            Value::List(_, values) => Some(values),
            _ => None,
        }
    }

    /// Sets a field, at its place by id where it is new.
    pub fn set(&mut self, id: i16, value: Value) {
        match self.get_mut(id) {
            Some(old) => *old = value,
            None => {
                let place = self.0.partition_point(|(of, _)| *of < id);
                self.0.insert(place, (id, value));
            }
        }
    }

    /// Takes a field away.
    pub fn remove(&mut self, id: i16) -> Option<Value> {
        let place = self.0.iter().position(|(of, _)| *of == id)?;
        Some(self.0.remove(place).1)
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut last = 0;
        for (id, value) in &self.0 {
            let kind = value.kind();
            match u8::try_from(i32::from(*id) - i32::from(last)) {
                Ok(step @ 1..=15) => out.push(step << 4 | kind),
                _ => {
                    out.push(kind);
                    write_varint(out, zigzag((*id).into()));
                }
            }
            // A field that is true or false is said by its type.
            if !matches!(value, Value::Bool(_)) {
                value.write(out);
            }
            last = *id;
        }
        out.push(0);
    }
}

impl Value {
    /// A list of numbers of 32 bits.
    pub fn i32s(numbers: impl IntoIterator<Item = i32>) -> Self {
        Self::List(I32, numbers.into_iter().map(Value::I32).collect())
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Bool(true) => TRUE,
            Self::Bool(false) => FALSE,
            Self::Byte(_) => BYTE,
            Self::I16(_) => I16,
            Self::I32(_) => I32,
            Self::I64(_) => I64,
            Self::Double(_) => DOUBLE,
            Self::Binary(_) => BINARY,
            Self::List(..) => LIST,
            Self::Struct(_) => STRUCT,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => out.push(if *value { TRUE } else { FALSE }),
            Self::Byte(value) => out.push(*value),
            Self::I16(value) => write_varint(out, zigzag((*value).into())),
            Self::I32(value) => write_varint(out, zigzag((*value).into())),
            Self::I64(value) => write_varint(out, zigzag(*value)),
            Self::Double(bytes) => out.extend_from_slice(bytes),
            Self::Binary(bytes) => {
                write_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::List(kind, values) => {
                match u8::try_from(values.len()) {
                    Ok(short @ 0..=14) => out.push(short << 4 | kind),
                    _ => {
                        out.push(0xF0 | kind);
                        write_varint(out, values.len() as u64);
                    }
                }
                values.iter().for_each(|value| value.write(out));
            }
            Self::Struct(value) => value.write(out),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn read_struct(&mut self, depth: u32) -> Result<Struct> {
        ensure!(depth < DEPTH, "structs lie in each other too deeply");
        let mut fields = Vec::new();
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(Struct(fields));
            }
            id = match head >> 4 {
                0 => i16::try_from(unzigzag(self.varint()?))?,
                step => id.checked_add(step.into()).context("a field's id")?,
            };
            let value = match head & 0xF {
                TRUE => Value::Bool(true),
                FALSE => Value::Bool(false),
                kind => self.value(kind, depth)?,
            };
            fields.push((id, value));
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> Result<Value> {
        Ok(match kind {
            TRUE | FALSE => Value::Bool(self.byte()? == TRUE),
            BYTE => Value::Byte(self.byte()?),
            I16 => Value::I16(unzigzag(self.varint()?).try_into()?),
            I32 => Value::I32(unzigzag(self.varint()?).try_into()?),
            I64 => Value::I64(unzigzag(self.varint()?)),
            DOUBLE => Value::Double(self.take(8)?.try_into()?),
            BINARY => {
                let length = self.varint()?.try_into()?;
                Value::Binary(self.take(length)?.to_vec())
            }
            LIST => {
                let head = self.byte()?;
                let length = match head >> 4 {
                    15 => self.varint()?,
                    short => short.into(),
                };
                ensure!(length <= self.bytes.len() as u64, "a list is too long");
                let kind = head & 0xF;
                let values: Result<Vec<_>> = (0..length).map(|_| self.value(kind, depth)).collect();
                Value::List(kind, values?)
            }
            STRUCT => Value::Struct(self.read_struct(depth + 1)?),
            other => bail!("type {other} is not known"),
        })
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, length: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(length).context("too long")?;
        let taken = self.bytes.get(self.at..end).context("it ends early")?;
        self.at = end;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        bail!("a number has too many bytes")
    }
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
