//! Files read back are what was written, for every type that a partition can have.

use iceberg::spec::{
    FormatVersion, Literal, NestedField, PrimitiveLiteral as L, PrimitiveType as P, StructType,
    Type,
};
use icepress_model::{SnapshotId, SpecId};
use icepress_table::{PartitionCounts, PartitionStats};

use super::{decode, encode};

/// Every type with two of its values.
fn values() -> Vec<(P, [L; 2])> {
    let decimal = |precision| P::Decimal {
        precision,
        scale: 2,
    };
    vec![
        (P::Boolean, [L::Boolean(false), L::Boolean(true)]),
        (P::Int, [L::Int(i32::MIN), L::Int(7)]),
        (P::Long, [L::Long(i64::MIN), L::Long(7)]),
        (
            P::Float,
            [L::Float((-0.0).into()), L::Float(f32::NAN.into())],
        ),
        (
            P::Double,
            [L::Double(1.5.into()), L::Double(f64::INFINITY.into())],
        ),
        (P::Date, [L::Int(-1), L::Int(20_000)]),
        (P::Time, [L::Long(0), L::Long(86_399_999_999)]),
        (P::Timestamp, [L::Long(-1), L::Long(1)]),
        (P::Timestamptz, [L::Long(-1), L::Long(1)]),
        (P::TimestampNs, [L::Long(-1), L::Long(1)]),
        (
            P::String,
            [L::String(String::new()), L::String("Grüße".to_owned())],
        ),
        (P::Binary, [L::Binary(vec![]), L::Binary(vec![0xff, 0])]),
        (
            P::Fixed(3),
            [L::Binary(vec![1, 2, 3]), L::Binary(vec![0, 0, 0xff])],
        ),
        (P::Uuid, [L::UInt128(0), L::UInt128(u128::MAX - 1)]),
        (decimal(7), [L::Int128(-12_345), L::Int128(99)]),
        (decimal(15), [L::Int128(-1), L::Int128(1 << 40)]),
        (decimal(38), [L::Int128(-(1 << 100)), L::Int128(1 << 120)]),
    ]
}

fn unified() -> StructType {
    let fields = values().into_iter().enumerate().map(|(place, (kind, _))| {
        let id = 1000 + place as i32;
        NestedField::optional(id, format!("field {place}"), Type::Primitive(kind)).into()
    });
    StructType::new(fields.collect())
}

fn rows() -> Vec<PartitionStats> {
    let row = |which: usize| PartitionStats {
        spec_id: SpecId(which as i32),
        partition: values()
            .into_iter()
            .map(|(_, pair)| pair.get(which).cloned().map(Literal::Primitive))
            .collect(),
        counts: PartitionCounts {
            data_records: 1 << 40,
            data_files: 2,
            data_bytes: 1 << 50,
            position_records: 3,
            position_files: 4,
            equality_records: 5,
            equality_files: 6,
            vectors: 7,
            updated: (which > 0).then_some((1_700_000_000_000, SnapshotId(-9))),
        },
    };
    // The last one has NULL everywhere.
    (0..3).map(row).collect()
}

#[test]
fn what_is_written_is_read_back() {
    let unified = unified();
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let content = encode(&rows(), &unified, version).unwrap();
        let mut expected = rows();
        if version < FormatVersion::V3 {
            // There are none before.
            expected.iter_mut().for_each(|row| row.counts.vectors = 0);
        }
        let read = decode(content.into(), &unified).unwrap();
        // By text: NaN equals itself.
        assert_eq!(format!("{read:?}"), format!("{expected:?}"), "{version:?}");
    }
}

#[test]
fn what_is_no_statistics_file_is_an_error() {
    let unified = unified();
    assert!(decode(vec![1, 2, 3].into(), &unified).is_err());
    let content = encode(&rows(), &unified, FormatVersion::V2).unwrap();
    let cut = content[..content.len() / 2].to_vec();
    assert!(decode(cut.into(), &unified).is_err());
    // A count that does not fit its field is not cut.
    let mut rows = rows();
    rows[0].counts.data_files = i64::MAX;
    let error = encode(&rows, &unified, FormatVersion::V2).unwrap_err();
    assert!(error.contains("does not fit"), "{error}");
}
