//! Footers as anybody may have written them: read, or refused with a reason; on a bounded stack, in bounded memory.

use std::sync::Arc;

use icepress_storage::LocalStorage;
use parquet::{
    basic::{Repetition, Type as PhysicalType},
    data_type::Int64Type,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};
use proptest::prelude::*;

use super::*;

/// Whatever bytes an offset index is said to have, they are read or refused.
#[test]
fn places_of_pages_are_read_as_they_are_written() {
    let mut builder = parquet::file::metadata::OffsetIndexBuilder::new();
    for (offset, size, rows) in [(4, 100, 7), (104, 1, 1), (5_000_000_000, 70_000, 20_000)] {
        builder.append_offset_and_size(offset, size);
        builder.append_row_count(rows);
    }
    let written = Thrift::default()
        .field(1, 9, &{
            let mut list = vec![3 << 4 | 12];
            for (offset, size, first) in [(4, 100, 0), (104, 1, 7), (5_000_000_000, 70_000, 8)] {
                let place = Thrift::default()
                    .field(1, 6, &signed(offset))
                    .field(2, 5, &signed(size))
                    .field(3, 6, &signed(first));
                list.extend(place.end());
            }
            list
        })
        .end();
    let places = page_places(&written).unwrap();
    let expected = builder.build();
    let expected = expected.page_locations.iter().map(|page| PagePlace {
        offset: page.offset as u64,
        size: page.compressed_page_size as u64,
        first_row: page.first_row_index as u64,
    });
    assert_eq!(places, expected.collect::<Vec<_>>());
    for cut in 0..written.len() {
        assert!(page_places(&written[..cut]).is_err(), "{cut} bytes");
    }
}

/// A struct of Thrift's compact protocol, field by field.
#[derive(Default, Clone)]
struct Thrift {
    bytes: Vec<u8>,
    last: i16,
}

fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7F {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn signed(value: i64) -> Vec<u8> {
    unsigned((value << 1 ^ value >> 63) as u64)
}

impl Thrift {
    fn field(mut self, id: i16, field_type: u8, value: &[u8]) -> Self {
        self.bytes.push(((id - self.last) as u8) << 4 | field_type);
        self.bytes.extend_from_slice(value);
        self.last = id;
        self
    }

    fn int(self, id: i16, value: i32) -> Self {
        self.field(id, 5, &signed(value.into()))
    }

    fn long(self, id: i16, value: i64) -> Self {
        self.field(id, 6, &signed(value))
    }

    fn text(self, id: i16, value: &str) -> Self {
        let value = [unsigned(value.len() as u64), value.as_bytes().to_vec()].concat();
        self.field(id, 8, &value)
    }

    fn list(self, id: i16, element: u8, elements: &[Vec<u8>]) -> Self {
        let head = [vec![0xF0 | element], unsigned(elements.len() as u64)].concat();
        self.field(id, 9, &[head, elements.concat()].concat())
    }

    fn nested(self, id: i16, value: Thrift) -> Self {
        self.field(id, 12, &value.end())
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.push(0);
        self.bytes
    }
}

fn group(name: &str, children: i32) -> Vec<u8> {
    let group = Thrift::default().int(3, 1).text(4, name);
    group.int(5, children).end()
}

fn leaf(name: &str) -> Vec<u8> {
    Thrift::default().int(1, 2).int(3, 1).text(4, name).end()
}

fn footer_with(elements: &[Vec<u8>], groups: &[Vec<u8>]) -> Vec<u8> {
    let footer = Thrift::default().int(1, 1).list(2, 12, elements);
    footer.long(3, 0).list(4, 12, groups).end()
}

/// A column chunk of `path`, with more fields of its metadata behind the offset of its first page.
fn chunk(path: &str, more: impl Fn(Thrift) -> Thrift) -> Vec<u8> {
    let text = [unsigned(path.len() as u64), path.as_bytes().to_vec()].concat();
    let about = Thrift::default()
        .int(1, 2)
        .list(2, 5, &[signed(0)])
        .list(3, 8, &[text])
        .int(4, 0)
        .long(5, 3)
        .long(6, 24)
        .long(7, 24)
        .long(9, 4);
    let chunk = Thrift::default().long(2, 4);
    chunk.nested(3, more(about)).end()
}

fn row_group(chunks: &[Vec<u8>], rows: i64) -> Vec<u8> {
    Thrift::default()
        .list(1, 12, chunks)
        .long(2, 24)
        .long(3, rows)
        .end()
}

fn refused(footer: &[u8]) -> String {
    decode(footer, FOOTER_MEMORY).unwrap_err().to_string()
}

fn nested(depth: usize) -> Vec<u8> {
    let mut elements = vec![group("root", 1)];
    elements.extend((0..depth).map(|_| group("a", 1)));
    elements.push(leaf("n"));
    footer_with(&elements, &[])
}

/// Runs on the stack that a worker thread has.
fn on_a_small_stack(look: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    thread.spawn(look).unwrap().join().unwrap();
}

#[test]
fn columns_that_nest_without_end_are_refused_and_deep_ones_are_read() {
    on_a_small_stack(|| {
        assert!(refused(&nested(6_000)).contains("nest more than 128 deep"));
        assert!(refused(&nested(200_000)).contains("nest more than"));
        let deep = decode(&nested(120), FOOTER_MEMORY).unwrap();
        assert_eq!(deep.file_metadata().schema_descr().num_columns(), 1);
    });
    // Many beside each other are no depth.
    let mut wide = vec![group("root", 5_000)];
    wide.extend((0..5_000).flat_map(|_| [group("g", 1), leaf("n")]));
    let wide = decode(&footer_with(&wide, &[]), FOOTER_MEMORY).unwrap();
    assert_eq!(wide.file_metadata().schema_descr().num_columns(), 5_000);
}

#[test]
fn structs_that_nest_without_end_are_refused() {
    // Field 99 of the footer, which nobody knows: structs in structs, and lists in lists.
    let structs = [vec![0x0C], signed(99), vec![0x1C; 300_000]].concat();
    let lists = [vec![0x09], signed(99), vec![0x19; 300_000]].concat();
    on_a_small_stack(move || {
        assert!(refused(&structs).contains("lie in one another"));
        assert!(refused(&lists).contains("lie in one another"));
    });
}

#[test]
fn sizes_that_can_t_be_true_reserve_nothing() {
    let claims = |id: i16, size: u64| {
        let list = [vec![0xFC], unsigned(size)].concat();
        Thrift::default().int(1, 1).field(id, 9, &list).end()
    };
    for size in [1 << 20, u64::from(u32::MAX >> 1), u64::MAX] {
        assert!(refused(&claims(2, size)).contains("more than there are bytes"));
        assert!(refused(&claims(4, size)).contains("more than there are bytes"));
    }
    let children = footer_with(&[group("root", i32::MAX), leaf("n")], &[]);
    assert!(refused(&children).contains("more columns below it than there are"));
    let fewer = footer_with(&[group("root", -5), leaf("n")], &[]);
    assert!(refused(&fewer).contains("negative"));
    let text = Thrift::default().field(6, 8, &unsigned(u64::MAX)).end();
    assert!(refused(&text).contains("cut off"));
    // Elements that are there, and would each become a thousand times as large.
    let empty = footer_with(&[group("root", 1), leaf("n")], &vec![vec![0]; 400_000]);
    match decode(&empty, FOOTER_MEMORY) {
        Err(FooterError::TooLarge { needed, most }) => assert!(needed > most),
        other => panic!("{other:?}"),
    }
}

/// Impala's early files have a list where the length of a Bloom filter is now; a dictionary page offset of 0 besides.
#[test]
fn fields_of_another_type_than_parquet_gives_them_are_passed_over() {
    let schema = [group("root", 2), leaf("a"), leaf("b")];
    let odd = |about: Thrift| {
        let list = [vec![0x1C], Thrift::default().int(1, 7).end()].concat();
        about.long(11, 0).field(15, 9, &list)
    };
    let odder = |about: Thrift| {
        about
            .field(10, 8, &[2, b'x', b'y'])
            .long(11, 2)
            .field(14, 12, &[0x18, 1, b'z', 0])
            .int(15, 9)
    };
    let chunks = [chunk("a", odd), chunk("b", odder)];
    let footer = footer_with(&schema, &[row_group(&chunks, 3)]);
    let read = decode(&footer, FOOTER_MEMORY).unwrap();
    assert_eq!(row_count(&read), 3);
    let [a, b] = read.row_group(0).columns() else {
        panic!("two columns")
    };
    assert_eq!(a.dictionary_page_offset(), None);
    assert_eq!(a.bloom_filter_length(), None);
    assert_eq!(a.byte_range(), (4, 24));
    assert_eq!(b.dictionary_page_offset(), Some(2));
    assert_eq!(b.bloom_filter_length(), Some(9));
    assert_eq!(b.bloom_filter_offset(), None);
}

#[test]
fn row_groups_without_rows_say_where_they_begin_as_they_like() {
    let nowhere = |about: Thrift| about.long(11, 0);
    let schema = [group("root", 1), leaf("a")];
    let chunks = |more: &dyn Fn(Thrift) -> Thrift| [chunk("a", more)];
    let groups = [
        row_group(&chunks(&nowhere), 0),
        row_group(&chunks(&|about| about), 3),
        row_group(&chunks(&nowhere), 0),
    ];
    let read = decode(&footer_with(&schema, &groups), FOOTER_MEMORY).unwrap();
    assert_eq!(row_count(&read), 3);
    assert_eq!(split_offsets(&read), [4]);
    // The footer's own count says 0, and decoders believe it.
    assert_eq!(read.file_metadata().num_rows(), 3);
    let below = row_group(&chunks(&|about| about), -1);
    assert!(refused(&footer_with(&schema, &[below])).contains("negative"));
}

fn real_file(columns: usize) -> Buffer {
    let fields = (0..columns)
        .map(|column| {
            let name = format!("c{column}");
            let field = Type::primitive_type_builder(&name, PhysicalType::INT64);
            let field = field.with_repetition(Repetition::REQUIRED).build();
            Arc::new(field.unwrap())
        })
        .collect();
    let schema = Type::group_type_builder("m").with_fields(fields).build();
    let mut content = Vec::new();
    let properties = Arc::new(WriterProperties::default());
    let mut file =
        SerializedFileWriter::new(&mut content, Arc::new(schema.unwrap()), properties).unwrap();
    for _ in 0..2 {
        let mut group = file.next_row_group().unwrap();
        while let Some(mut column) = group.next_column().unwrap() {
            let typed = column.typed::<Int64Type>();
            typed.write_batch(&[1, 2, 3], None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    file.close().unwrap();
    content.into()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_size_that_the_manifest_has_wrong_is_told_from_a_file_that_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::new();
    let store = |name: &str, content: &[u8]| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(&path, content).unwrap();
        path
    };
    let content = real_file(3);
    let size = content.len() as u64;
    let path = store("sound.parquet", &content);
    let read = |path: &str, size| block_on(read_footer(&storage, path, size, FOOTER_MEMORY));
    let footer = read(&path, size).unwrap();
    assert_eq!(row_count(&footer), 6);
    assert_eq!(split_offsets(&footer).len(), 2);
    assert_eq!(
        row_count(&footer_of(&content, size, FOOTER_MEMORY).unwrap()),
        6
    );
    for wrong in [0, 7, size - 1, size + 1, size * 9] {
        match read(&path, wrong) {
            Err(FooterError::OtherSize { said, found }) => {
                assert_eq!((said, found), (wrong, size));
            }
            other => panic!("{wrong}: {other:?}"),
        }
    }
    let cut = store("cut.parquet", &content[..content.len() - 3]);
    assert!(matches!(read(&cut, size - 3), Err(FooterError::NotParquet)));
    let shorter = content.slice(..content.len() - 3);
    for (said, file) in [(size, &shorter), (size + 1, &content)] {
        let read = footer_of(file, said, FOOTER_MEMORY).unwrap_err();
        let sound = file.len() == content.len();
        assert_eq!(
            matches!(read, FooterError::OtherSize { .. }),
            sound,
            "{read}"
        );
        assert!(read.to_string().contains("the manifest says"), "{read}");
    }
    match read(&cut, size) {
        Err(FooterError::Corrupt(what)) => assert!(what.contains("does not end as"), "{what}"),
        other => panic!("{other:?}"),
    }
    let mut claims = content.to_vec();
    let end = claims.len() - 8;
    claims[end..end + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let claims = store("claims.parquet", &claims);
    let claimed = read(&claims, size).unwrap_err();
    assert!(claimed.to_string().contains("larger than the file"));
    // A footer that its file has room for, and memory has not.
    let little = block_on(read_footer(&storage, &path, size, Bytes(100)));
    assert!(matches!(little, Err(FooterError::TooLarge { .. })));
    // One that is longer than the first guess.
    let wide = real_file(2_000);
    let path = store("wide.parquet", &wide);
    assert!(wide.len() > 2 * TAIL as usize);
    assert_eq!(row_count(&read(&path, wide.len() as u64).unwrap()), 6);
}

proptest! {
    /// Whatever happens to a footer's bytes, reading it ends in a footer or in a reason.
    #[test]
    fn damaged_footers_end_in_a_reason(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let content = real_file(4);
        let range = footer_range(&content, content.len() as u64).unwrap();
        let mut footer = content[range.start as usize..range.end as usize].to_vec();
        for (place, byte) in flips {
            let at = place.index(footer.len());
            footer[at] = byte;
        }
        if let Some(cut) = cut {
            footer.truncate(cut.index(footer.len()));
        }
        match decode(&footer, FOOTER_MEMORY) {
            Ok(read) => { split_offsets(&read); row_count(&read); }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn page_headers_say_how_large_pages_are_and_recurse_into_nothing() {
    let header = |more: Thrift| {
        let sizes = Thrift::default().int(1, 2).int(2, 5000).int(3, 70);
        let about = Thrift::default().int(1, 9000).int(2, 0);
        let mut header = sizes.int(4, -7).nested(7, about);
        header.bytes.extend(more.bytes);
        header.end()
    };
    let plain = header(Thrift::default());
    let expected = PageHeader {
        is_dictionary: true,
        compressed: 70,
        uncompressed: 5000,
        values: 9000,
        checksum: Some(-7i32 as u32),
        layout: PageLayout::Dictionary { encoding: 0 },
    };
    assert!(!expected.matches(b"other bytes"));
    assert!(
        PageHeader {
            checksum: None,
            ..expected
        }
        .matches(b"other bytes")
    );
    // The check value of CRC-32.
    let checked = PageHeader {
        checksum: Some(0xCBF4_3926),
        ..expected
    };
    assert!(checked.matches(b"123456789") && !checked.matches(b"123456780"));
    assert_eq!(page_header(&plain).unwrap(), (expected, plain.len()));
    let followed = [plain.clone(), vec![7; 70]].concat();
    assert_eq!(page_header(&followed).unwrap(), (expected, plain.len()));
    for length in 0..plain.len() {
        assert!(page_header(&plain[..length]).is_err());
    }
    let deep = header(Thrift::default().field(15, 12, &vec![0x1C; 300_000]));
    on_a_small_stack(move || {
        assert!(
            page_header(&deep)
                .unwrap_err()
                .to_string()
                .contains("lie in one another")
        );
    });
    let negative = Thrift::default().int(1, 0).int(2, -1).int(3, 4).end();
    assert!(page_header(&negative).is_err());
    assert!(page_header(&Thrift::default().int(1, 0).end()).is_err());
}
