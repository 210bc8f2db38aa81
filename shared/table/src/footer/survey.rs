//! A walk over the bytes of a footer (Thrift's compact protocol) that never recurses and reserves nothing: what the
//! decoder would do with them is known before it does it.
//!
//! Fields that have another type than parquet.thrift gives them are cut out, as Thrift's own readers skip them: Impala's
//! early files have a list where the length of a Bloom filter has its place since, and a decoder that goes by numbers
//! alone loses its way there.

use icepress_model::Bytes;

use super::FooterError;

/// How deep columns may nest. Iceberg's own JSON of a schema ends at less; 6,000 levels end a thread's stack.
const MOST_NESTING: usize = 128;
/// How deep structs and lists of the footer itself may lie in one another. Parquet's own take ten; its decoder skips
/// what it does not know to a depth of 64.
const MOST_DEPTH: usize = 48;

/// What an element of a list takes once decoded, about: schema elements and row groups, then column chunks, then what
/// chunks have (statistics of pages, which the decoder reduces to a mask).
const WEIGHTS: [u64; 3] = [512, 768, 32];

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    /// The footer without the fields whose type is wrong, where there are any.
    pub(super) corrected: Option<Vec<u8>>,
}

/// Types of the compact protocol.
const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// The structs of parquet.thrift that are walked through to columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    SchemaElement,
    RowGroup,
    ColumnChunk,
    ColumnMetaData,
    Other,
    /// Below a field that is cut out.
    Cut,
}

impl Kind {
    /// The types of its fields from number 1 on, as parquet.thrift has them.
    const fn fields(self) -> &'static [u8] {
        match self {
            Self::File => &[I32, LIST, I64, LIST, LIST, BINARY, LIST, STRUCT, BINARY],
            Self::SchemaElement => &[I32, I32, I32, BINARY, I32, I32, I32, I32, I32, STRUCT],
            Self::RowGroup => &[LIST, I64, I64, LIST, I64, I64, I16],
            Self::ColumnChunk => &[BINARY, I64, STRUCT, I64, I32, I64, I32, STRUCT, BINARY],
            Self::ColumnMetaData => &[
                I32, LIST, LIST, I32, I64, I64, I64, LIST, I64, I64, I64, STRUCT, LIST, I64, I32,
                STRUCT, STRUCT,
            ],
            Self::Other | Self::Cut => &[],
        }
    }

    /// The kind of the struct in field `id`, or of those in the list there.
    const fn below(self, id: i16) -> Self {
        match (self, id) {
            (Self::File, 2) => Self::SchemaElement,
            (Self::File, 4) => Self::RowGroup,
            (Self::RowGroup, 1) => Self::ColumnChunk,
            (Self::ColumnChunk, 3) => Self::ColumnMetaData,
            (Self::Cut, _) => Self::Cut,
            _ => Self::Other,
        }
    }

    fn has(self, id: i16, field_type: u8) -> bool {
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        match index.and_then(|index| self.fields().get(index)) {
            Some(known) => *known == field_type,
            None => true,
        }
    }
}

/// Where the walk is.
#[derive(Debug)]
enum Frame {
    Struct {
        kind: Kind,
        /// The number of the last field, and of the last one that stays.
        last: i16,
        kept: i16,
        /// Where fields that are cut out begin.
        cut: Option<usize>,
        /// `num_children` of a schema element.
        children: u64,
    },
    List {
        left: u64,
        element: u8,
        kind: Kind,
    },
}

/// Walks over a footer that may take `most` once decoded.
pub(super) fn survey(footer: &[u8], most: Bytes) -> Result<Surveyed, FooterError> {
    let mut walk = Walk {
        footer,
        at: 0,
        frames: vec![Frame::of(Kind::File)],
        edits: Vec::new(),
        memory: footer.len() as u64,
        most: most.get(),
        nesting: Nesting::default(),
    };
    while let Some(frame) = walk.frames.pop() {
        match frame {
            Frame::Struct { .. } => walk.step_struct(frame)?,
            Frame::List { left: 0, .. } => {}
            Frame::List {
                left,
                element,
                kind,
            } => {
                walk.frames.push(Frame::List {
                    left: left - 1,
                    element,
                    kind,
                });
                walk.value(element, kind, true)?;
            }
        }
        if walk.frames.len() > MOST_DEPTH {
            return Err(corrupt(format_args!(
                "its structs lie in one another more than {MOST_DEPTH} deep"
            )));
        }
    }
    Ok(Surveyed {
        corrected: (!walk.edits.is_empty()).then(|| edited(footer, &walk.edits)),
    })
}

fn corrupt(what: impl std::fmt::Display) -> FooterError {
    FooterError::Corrupt(format!("its footer can't be read: {what}"))
}

impl Frame {
    fn of(kind: Kind) -> Self {
        Self::Struct {
            kind,
            last: 0,
            kept: 0,
            cut: None,
            children: 0,
        }
    }
}

struct Walk<'a> {
    footer: &'a [u8],
    at: usize,
    frames: Vec<Frame>,
    /// What is replaced, from and to, in order.
    edits: Vec<(usize, usize, Vec<u8>)>,
    memory: u64,
    most: u64,
    nesting: Nesting,
}

impl Walk<'_> {
    fn byte(&mut self) -> Result<u8, FooterError> {
        let byte = self.footer.get(self.at).copied();
        self.at += 1;
        byte.ok_or_else(|| corrupt("it is cut off"))
    }

    fn skip(&mut self, bytes: u64) -> Result<(), FooterError> {
        let left = (self.footer.len() as u64).saturating_sub(self.at as u64);
        if bytes > left {
            return Err(corrupt("it is cut off"));
        }
        self.at += bytes as usize;
        Ok(())
    }

    fn unsigned(&mut self) -> Result<u64, FooterError> {
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

    fn signed(&mut self) -> Result<i64, FooterError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The next field of a struct.
    fn step_struct(&mut self, frame: Frame) -> Result<(), FooterError> {
        let Frame::Struct {
            kind,
            last,
            mut kept,
            mut cut,
            mut children,
        } = frame
        else {
            return Ok(());
        };
        let begin = self.at;
        let head = self.byte()?;
        let field_type = head & 0x0F;
        if field_type == STOP {
            if let Some(cut) = cut {
                self.edits.push((cut, self.at, vec![STOP]));
            }
            if kind == Kind::SchemaElement {
                self.nesting.add(children)?;
            }
            return Ok(());
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.signed()?).ok(),
            step => last.checked_add(i16::from(step)),
        }
        .ok_or_else(|| corrupt("a field has an impossible number"))?;
        let fits = kind.has(id, field_type);
        if fits {
            if let Some(cut) = cut.take() {
                let header = field_header(kept, id, field_type);
                self.edits.push((cut, self.at, header));
            }
            kept = id;
        } else {
            cut.get_or_insert(begin);
        }
        if fits && kind == Kind::SchemaElement && id == 5 {
            let begin = self.at;
            children = u64::try_from(self.signed()?).unwrap_or(u64::MAX);
            self.at = begin;
        }
        self.frames.push(Frame::Struct {
            kind,
            last: id,
            kept,
            cut,
            children,
        });
        let below = if fits { kind.below(id) } else { Kind::Cut };
        self.value(field_type, below, false)
    }

    /// Walks over a value, or into it. Booleans of fields are in the field's header.
    fn value(&mut self, value_type: u8, kind: Kind, in_list: bool) -> Result<(), FooterError> {
        match value_type {
            TRUE | FALSE if in_list => self.skip(1),
            TRUE | FALSE => Ok(()),
            BYTE => self.skip(1),
            I16 | I32 | I64 => self.unsigned().map(|_| ()),
            DOUBLE => self.skip(8),
            BINARY => {
                let length = self.unsigned()?;
                self.skip(length)
            }
            LIST | SET => self.list(kind),
            STRUCT => {
                self.frames.push(Frame::of(kind));
                Ok(())
            }
            other => Err(corrupt(format_args!(
                "a value has the unknown type {other}"
            ))),
        }
    }

    fn list(&mut self, kind: Kind) -> Result<(), FooterError> {
        let head = self.byte()?;
        let (size, element) = match head >> 4 {
            15 => (self.unsigned()?, head & 0x0F),
            size => (u64::from(size), head & 0x0F),
        };
        // Each element takes a byte or more: a list can't be longer than what is left.
        if size > (self.footer.len() as u64).saturating_sub(self.at as u64) {
            return Err(corrupt(format_args!(
                "a list claims {size} elements, more than there are bytes"
            )));
        }
        if element == STRUCT {
            let depth = self
                .frames
                .iter()
                .filter(|frame| matches!(frame, Frame::List { .. }))
                .count();
            let weight = WEIGHTS[depth.min(WEIGHTS.len() - 1)];
            self.memory = self.memory.saturating_add(size.saturating_mul(weight));
            if self.memory > self.most {
                return Err(FooterError::TooLarge {
                    needed: Bytes(self.memory),
                    most: Bytes(self.most),
                });
            }
        }
        if kind == Kind::SchemaElement {
            self.nesting.begin(size);
        }
        self.frames.push(Frame::List {
            left: size,
            element,
            kind,
        });
        Ok(())
    }
}

/// How deep the columns of a schema lie in one another, element by element as they stand in the footer.
#[derive(Debug, Default)]
struct Nesting {
    elements: u64,
    /// Children still to come of each group that is open.
    open: Vec<u64>,
}

impl Nesting {
    fn begin(&mut self, elements: u64) {
        self.elements = elements;
        self.open.clear();
    }

    fn add(&mut self, children: u64) -> Result<(), FooterError> {
        if children > self.elements {
            return Err(corrupt(
                "a column claims more columns below it than there are",
            ));
        }
        if let Some(left) = self.open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            self.open.push(children);
        }
        if self.open.len() > MOST_NESTING {
            return Err(FooterError::Unsupported(format!(
                "its columns nest more than {MOST_NESTING} deep"
            )));
        }
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
        Ok(())
    }
}

/// The header of field `id` after field `last`.
fn field_header(last: i16, id: i16, field_type: u8) -> Vec<u8> {
    match i32::from(id) - i32::from(last) {
        step @ 1..=15 => vec![(step as u8) << 4 | field_type],
        _ => {
            let mut header = vec![field_type];
            let mut rest = (i32::from(id) << 1 ^ i32::from(id) >> 31) as u32;
            while rest > 0x7F {
                header.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            header.push(rest as u8);
            header
        }
    }
}

fn edited(footer: &[u8], edits: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(footer.len());
    let mut at = 0;
    for (from, to, instead) in edits {
        whole.extend_from_slice(&footer[at..*from]);
        whole.extend_from_slice(instead);
        at = *to;
    }
    whole.extend_from_slice(&footer[at..]);
    whole
}
