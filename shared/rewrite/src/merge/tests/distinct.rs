//! What a dictionary says of the values of its chunk.

use std::sync::Arc;

use bytes::Bytes;
use icepress_table::footer::PageLayout;
use parquet::{
    basic::Compression,
    file::metadata::ColumnChunkMetaData,
    schema::{parser::parse_message_type, types::SchemaDescriptor},
};

use super::super::{
    distinct_values,
    hybrid::encode,
    page::{PLAIN, Page, RLE, RLE_DICTIONARY},
};

/// A chunk of longs with the dictionary 10, 20, 30, 40 and pages of indices, or of a plain value each where there is none.
fn chunk(pages: &[Option<&[u32]>]) -> (ColumnChunkMetaData, Bytes) {
    let plain = |values: &[i64]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let page = |layout, values: usize, body: Vec<u8>| {
        let length = body.len() as u64;
        let codec = Compression::UNCOMPRESSED;
        Page::new(layout, codec, values as u64, length, body.into())
    };
    let data = |encoding| PageLayout::Data {
        encoding,
        definition: RLE,
        repetition: RLE,
    };
    let dictionary = PageLayout::Dictionary { encoding: PLAIN };
    let mut made = vec![page(dictionary, 4, plain(&[10, 20, 30, 40]))];
    let mut values = 0;
    for indices in pages {
        made.push(match indices {
            Some(indices) => {
                values += indices.len();
                let mut body = vec![2];
                encode(indices, 2, &mut body);
                page(data(RLE_DICTIONARY), indices.len(), body)
            }
            None => {
                values += 1;
                page(data(PLAIN), 1, plain(&[50]))
            }
        });
    }
    let schema = parse_message_type("message t { required int64 a; }").unwrap();
    let schema = SchemaDescriptor::new(Arc::new(schema));
    let chunk = ColumnChunkMetaData::builder(schema.column(0))
        .set_num_values(values as i64)
        .set_compression(Compression::UNCOMPRESSED)
        .build()
        .unwrap();
    let content = made
        .iter()
        .flat_map(|page| [page.head.clone(), page.body.clone()]);
    (chunk, content.collect::<Vec<_>>().concat().into())
}

fn values_of(pages: &[Option<&[u32]>]) -> Result<Vec<i64>, String> {
    let (chunk, content) = chunk(pages);
    let mut found = Vec::new();
    let told = distinct_values(&chunk, &content, 1 << 20, |value| {
        found.push(i64::from_le_bytes(value.try_into().unwrap()));
    });
    told.map(|()| found).map_err(|why| why.to_string())
}

/// pyarrow writes the whole dictionary of a column that it is given with one. What fills up a run is no index.
#[test]
fn a_value_that_no_row_points_to_is_none() {
    assert_eq!(
        values_of(&[Some(&[2, 1, 2]), Some(&[2; 20])]),
        Ok(vec![20, 30])
    );
    assert_eq!(
        values_of(&[Some(&[3; 9]), Some(&[1, 0, 3, 2])]),
        Ok(vec![10, 20, 30, 40])
    );
}

#[test]
fn what_a_dictionary_does_not_tell_is_left_to_the_decoder() {
    let why = values_of(&[Some(&[0, 1]), None]).unwrap_err();
    assert!(why.contains("by itself"), "{why}");
    let (chunk, content) = chunk(&[Some(&[0])]);
    let page = content.slice(content.len() - 4..);
    assert!(distinct_values(&chunk, &page, 1 << 20, |_| {}).is_err());
}
