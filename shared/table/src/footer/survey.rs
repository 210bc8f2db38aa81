//! A walk over the bytes of a footer that never recurses and reserves nothing: what the decoder would do with them is
//! known before it does it.
//!
//! Fields that have another type than parquet.thrift gives them are cut out, as Thrift's own readers skip them: Impala's
//! early files have a list where the length of a Bloom filter has its place since, and a decoder that goes by numbers
//! alone loses its way there.

use icepress_model::Bytes;

use super::{
    FooterError,
    thrift::{
        Cursor, MOST_DEPTH, Value, corrupt,
        kind::{BINARY, I16, I32, I64, LIST, STOP, STRUCT},
        too_deep,
    },
};

/// How deep columns may nest. Iceberg's own JSON of a schema ends at less; 6,000 levels end a thread's stack.
const MOST_NESTING: usize = 128;

/// What an element of a list takes once decoded, about: schema elements and row groups, then column chunks, then what
/// chunks have (statistics of pages, which the decoder reduces to a mask).
const WEIGHTS: [u64; 3] = [512, 768, 32];

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    /// The footer without the fields whose type is wrong, where there are any.
    pub(super) corrected: Option<Vec<u8>>,
}

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
    Struct(Struct),
    List { left: u64, element: u8, kind: Kind },
}

#[derive(Debug)]
struct Struct {
    kind: Kind,
    /// The number of the last field, and of the last one that stays.
    last: i16,
    kept: i16,
    /// Where fields that are cut out begin.
    cut: Option<usize>,
    /// `num_children` of a schema element.
    children: u64,
}

/// Walks over a footer that may take `most` once decoded.
pub(super) fn survey(footer: &[u8], most: Bytes) -> Result<Surveyed, FooterError> {
    let mut walk = Walk {
        cursor: Cursor::new(footer),
        frames: vec![Frame::of(Kind::File)],
        edits: Vec::new(),
        memory: footer.len() as u64,
        most: most.get(),
        nesting: Nesting::default(),
    };
    while let Some(frame) = walk.frames.pop() {
        match frame {
            Frame::Struct(open) => walk.next_field(open)?,
            Frame::List { left: 0, .. } => {}
            Frame::List {
                left,
                element,
                kind,
            } => {
                let left = left - 1;
                walk.frames.push(Frame::List {
                    left,
                    element,
                    kind,
                });
                walk.value(element, kind, true)?;
            }
        }
        if walk.frames.len() > MOST_DEPTH {
            return Err(too_deep().into());
        }
    }
    Ok(Surveyed {
        corrected: (!walk.edits.is_empty()).then(|| edited(footer, &walk.edits)),
    })
}

impl Frame {
    fn of(kind: Kind) -> Self {
        Self::Struct(Struct {
            kind,
            last: 0,
            kept: 0,
            cut: None,
            children: 0,
        })
    }
}

struct Walk<'a> {
    cursor: Cursor<'a>,
    frames: Vec<Frame>,
    /// What is replaced, from and to, in order.
    edits: Vec<(usize, usize, Vec<u8>)>,
    memory: u64,
    most: u64,
    nesting: Nesting,
}

impl Walk<'_> {
    fn next_field(&mut self, mut open: Struct) -> Result<(), FooterError> {
        let begin = self.cursor.at;
        let Some((id, field_type)) = self.cursor.field(open.last)? else {
            if let Some(cut) = open.cut {
                self.edits.push((cut, self.cursor.at, vec![STOP]));
            }
            if open.kind == Kind::SchemaElement {
                self.nesting.add(open.children)?;
            }
            return Ok(());
        };
        let kind = open.kind;
        let fits = kind.has(id, field_type);
        if fits {
            if let Some(cut) = open.cut.take() {
                let header = field_header(open.kept, id, field_type);
                self.edits.push((cut, self.cursor.at, header));
            }
            open.kept = id;
        } else {
            open.cut.get_or_insert(begin);
        }
        open.last = id;
        if fits && kind == Kind::SchemaElement && id == 5 {
            open.children = self.cursor.count()?;
            self.frames.push(Frame::Struct(open));
            return Ok(());
        }
        self.frames.push(Frame::Struct(open));
        self.value(
            field_type,
            if fits { kind.below(id) } else { Kind::Cut },
            false,
        )
    }

    /// Walks over a value, or into it.
    fn value(&mut self, value_type: u8, kind: Kind, in_list: bool) -> Result<(), FooterError> {
        match self.cursor.value(value_type, in_list)? {
            Value::Passed => {}
            Value::Struct => self.frames.push(Frame::of(kind)),
            Value::List { size, element } => {
                self.weigh(size, element)?;
                if kind == Kind::SchemaElement {
                    self.nesting.begin(size);
                }
                self.frames.push(Frame::List {
                    left: size,
                    element,
                    kind,
                });
            }
        }
        Ok(())
    }

    /// Counts the memory of a list's elements.
    fn weigh(&mut self, size: u64, element: u8) -> Result<(), FooterError> {
        if element != STRUCT {
            return Ok(());
        }
        let is_list = |frame: &&Frame| matches!(frame, Frame::List { .. });
        let depth = self.frames.iter().filter(is_list).count();
        let weight = WEIGHTS[depth.min(WEIGHTS.len() - 1)];
        self.memory = self.memory.saturating_add(size.saturating_mul(weight));
        if self.memory > self.most {
            return Err(FooterError::TooLarge {
                needed: Bytes(self.memory),
                most: Bytes(self.most),
            });
        }
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
            return Err(corrupt("a column claims more columns below it than there are").into());
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
