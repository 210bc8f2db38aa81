//! A table in memory, with an engine that only moves sizes about.

use std::collections::{BTreeSet, HashMap, HashSet};

use iceberg::spec::{
    FormatVersion, Literal, NestedField, PrimitiveLiteral, PrimitiveType, Schema, SortOrder,
    Struct, TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};
use icepress_model::{
    Bytes, DeleteFile, InputFile, KEY_COLUMNS_DIVISOR, MetadataLocation, RowId, Rows,
    SequenceNumber, SnapshotId, SpecId, TablePlan, Tier,
};
use icepress_table::{
    delete_index::DeleteIndex,
    scan::{
        DeleteKind, FileFormat, NewDataFile, NewDeleteFile, ScanBuilder, ScannedSnapshot,
        SnapshotScan,
    },
};

use crate::{PlanError, PlanOptions, plan_table};

#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) rows: u64,
    pub(super) sequence_number: i64,
    pub(super) first_row_id: Option<RowId>,
    pub(super) partition: i32,
    pub(super) format: FileFormat,
    pub(super) encrypted: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Delete {
    pub(super) path: String,
    pub(super) kind: DeleteKind,
    pub(super) rows: u64,
    pub(super) sequence_number: i64,
    pub(super) partition: i32,
    pub(super) referenced: Option<String>,
    pub(super) bounds: Option<(String, String)>,
    pub(super) format: FileFormat,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) data: Vec<Data>,
    pub(super) deletes: Vec<Delete>,
    pub(super) sequence_number: i64,
    pub(super) version: FormatVersion,
    pub(super) properties: HashMap<String, String>,
    pub(super) options: PlanOptions,
    /// What the names of data files begin with.
    pub(super) folder: String,
    /// Whether the engine's position delete files have bounds of at most 64 bytes, as some writers' have.
    pub(super) cuts_bounds: bool,
    /// The processes that ran.
    pub(super) processes: u32,
    written: u64,
}

impl World {
    /// An empty table with a target of 1,000 bytes.
    pub(super) fn new() -> Self {
        Self {
            data: Vec::new(),
            deletes: Vec::new(),
            sequence_number: 1,
            version: FormatVersion::V2,
            properties: HashMap::new(),
            options: PlanOptions {
                target_file_size: Some(Bytes(1000)),
                max_group_bytes: Bytes(1_000_000),
                ..PlanOptions::default()
            },
            folder: "s3://b/t/".to_owned(),
            cuts_bounds: false,
            processes: 0,
            written: 0,
        }
    }

    /// Adds a data file of 100 rows and returns its path.
    pub(super) fn add(&mut self, partition: i32, size: u64) -> String {
        let path = format!(
            "{}p={partition}/{:05}.parquet",
            self.folder,
            self.data.len()
        );
        self.data.push(Data {
            path: path.clone(),
            size,
            rows: 100,
            sequence_number: self.sequence_number,
            first_row_id: None,
            partition,
            format: FileFormat::Parquet,
            encrypted: false,
        });
        path
    }

    /// Adds a delete file in a commit of its own.
    pub(super) fn delete(&mut self, partition: i32, rows: u64, kind: DeleteKind) -> &mut Delete {
        self.sequence_number += 1;
        self.deletes.push(Delete {
            path: format!("s3://b/t/delete-{}.parquet", self.deletes.len()),
            kind,
            rows,
            sequence_number: self.sequence_number,
            partition,
            referenced: None,
            bounds: None,
            format: FileFormat::Parquet,
        });
        self.deletes.last_mut().unwrap()
    }

    pub(super) fn metadata(&self) -> TableMetadata {
        let schema = Schema::builder()
            .with_fields([
                NestedField::required(1, "p", Type::Primitive(PrimitiveType::Int)).into(),
            ])
            .build()
            .unwrap();
        let spec = UnboundPartitionSpec::builder()
            .add_partition_field(1, "p", Transform::Identity)
            .unwrap()
            .build();
        TableMetadataBuilder::new(
            schema,
            spec,
            SortOrder::unsorted_order(),
            "s3://b/t".to_owned(),
            self.version,
            self.properties.clone(),
        )
        .unwrap()
        .build()
        .unwrap()
        .metadata
    }

    pub(super) fn scan(&self) -> SnapshotScan {
        let snapshot = ScannedSnapshot {
            snapshot_id: SnapshotId(self.sequence_number),
            sequence_number: SequenceNumber(self.sequence_number),
        };
        let mut builder = ScanBuilder::new("c.ns.t".parse().unwrap(), Some(snapshot));
        let data = self.data.iter().map(|file| file.partition);
        let all = data.chain(self.deletes.iter().map(|file| file.partition));
        let partitions: BTreeSet<i32> = all.collect();
        let mut number = HashMap::new();
        for partition in partitions {
            let value = Literal::Primitive(PrimitiveLiteral::Int(partition));
            let value = Struct::from_iter([Some(value)]);
            number.insert(partition, builder.add_partition(SpecId(0), value));
        }
        for file in &self.data {
            builder
                .add_data_file(&NewDataFile {
                    path: &file.path,
                    size: Bytes(file.size),
                    rows: Rows(file.rows),
                    sequence_number: SequenceNumber(file.sequence_number),
                    first_row_id: file.first_row_id,
                    partition: number[&file.partition],
                    row_groups: 1,
                    format: file.format,
                    encrypted: file.encrypted,
                })
                .unwrap();
        }
        for file in &self.deletes {
            let bounds = file.bounds.as_ref();
            builder
                .add_delete_file(NewDeleteFile {
                    path: &file.path,
                    kind: file.kind.clone(),
                    size: Bytes(10),
                    rows: Rows(file.rows),
                    sequence_number: SequenceNumber(file.sequence_number),
                    partition: number[&file.partition],
                    referenced_data_file: file.referenced.as_deref(),
                    path_bounds: bounds.map(|(lower, upper)| (lower.as_str(), upper.as_str())),
                    format: file.format,
                    encrypted: false,
                })
                .unwrap();
        }
        builder.finish().unwrap()
    }

    pub(super) fn plan(&self) -> TablePlan {
        let plan = self.try_plan().unwrap();
        self.check(&plan);
        plan
    }

    pub(super) fn try_plan(&self) -> Result<TablePlan, PlanError> {
        let location = MetadataLocation::from("s3://b/t/metadata/v1.json");
        plan_table(&self.scan(), &self.metadata(), &location, &self.options)
    }

    /// What holds for every plan.
    fn check(&self, plan: &TablePlan) {
        let mut seen = HashSet::new();
        let order: HashMap<&str, usize> = self
            .data
            .iter()
            .zip(0..)
            .map(|(file, place)| (file.path.as_str(), place))
            .collect();
        for group in &plan.groups {
            let places: Vec<usize> = group
                .inputs
                .iter()
                .map(|input| order[input.path.as_str()])
                .collect();
            // Delete files may be shared, and then go by path.
            let by_path = group.tier == Tier::Light;
            assert!(
                by_path || places.is_sorted(),
                "out of the table's order: {places:?}"
            );
            for (input, place) in group.inputs.iter().zip(places) {
                assert!(seen.insert(place), "{} is in two groups", input.path);
                let partition = self.data[place].partition;
                assert_eq!(group.partition_name, format!("p={partition}"));
                assert!(input.deletes.iter().all(|delete| {
                    let delete = &group.deletes[*delete as usize];
                    delete.sequence_number >= input.sequence_number
                }));
            }
            let bytes = match group.tier {
                Tier::Full => group.input_bytes().get(),
                Tier::Light => group.input_bytes().get() / KEY_COLUMNS_DIVISOR,
                Tier::Dangling => 0,
            };
            assert_eq!(group.inputs.is_empty(), group.tier == Tier::Dangling);
            assert!(group.inputs.len() == 1 || bytes <= self.options.group_bytes());
            assert!(group.inputs.len() as u64 <= self.options.max_group_files);
            assert!(!group.shares_deletes || by_path && self.version < FormatVersion::V3);
        }
        let left_alone: u64 = plan.left_alone.iter().map(|left| left.files).sum();
        assert_eq!(seen.len() as u64 + left_alone, self.data.len() as u64);
        let bytes = plan.groups.iter().map(|group| group.input_bytes().get());
        let left_bytes = plan.left_alone.iter().map(|left| left.bytes.get());
        assert_eq!(
            bytes.sum::<u64>() + left_bytes.sum::<u64>(),
            plan.totals.data_bytes.get()
        );
        assert!((0.0..=100.0).contains(&plan.health.score));
        assert!((0.0..=100.0).contains(&plan.health.amoro_score));
    }

    /// What an engine and a commit would do with a plan: inputs go, `ratio` times their bytes come back in files of
    /// the target size, each up to `overshoot` larger, and delete files that no data file needs are removed. Inputs of
    /// light groups stay and get a delete file each, with as many rows as their deletes have if those are spread evenly.
    pub(super) fn run(&mut self, plan: &TablePlan, ratio: f64, overshoot: f64) {
        let starting = plan.base.as_ref().unwrap().starting_sequence_number.get();
        let mut outputs = Vec::new();
        let mut new_deletes = Vec::new();
        let mut told: HashMap<String, HashSet<String>> = HashMap::new();
        self.processes += 1;
        let process = self.processes;
        for (index, group) in plan.groups.iter().enumerate() {
            if group.tier != Tier::Light {
                continue;
            }
            let mut shared: Vec<Delete> = Vec::new();
            for input in &group.inputs {
                let place = |index: &u32| &group.deletes[*index as usize];
                let paths = input.deletes.iter().map(|index| place(index).path.clone());
                told.insert(input.path.clone(), paths.collect());
                let rows: f64 = input
                    .deletes
                    .iter()
                    .map(|index| self.hits(input, place(index)))
                    .sum();
                // Fractions that the planner adds up in another order may come to a hair less than a whole.
                let rows = rows - 1e-6;
                let numbers = input
                    .deletes
                    .iter()
                    .map(|index| place(index).sequence_number.get());
                let data = self
                    .data
                    .iter()
                    .find(|file| file.path == input.path)
                    .unwrap();
                self.written += 1;
                if rows >= 1.0 {
                    shared.push(Delete {
                        path: format!(
                            "{}{index:05}-1-p{process}-{:05}-deletes",
                            self.folder, self.written
                        ),
                        kind: DeleteKind::Position,
                        rows: (rows as u64).min(input.rows.get()),
                        sequence_number: numbers.max().unwrap(),
                        partition: data.partition,
                        referenced: Some(input.path.clone()),
                        bounds: None,
                        format: FileFormat::Parquet,
                    });
                }
            }
            if group.shares_deletes && !shared.is_empty() {
                shared = vec![self.in_one_file(&shared)];
            }
            new_deletes.extend(shared);
        }
        for (index, group) in plan.groups.iter().enumerate() {
            if group.tier != Tier::Full {
                continue;
            }
            let inputs: HashSet<&str> = group.inputs.iter().map(|input| &*input.path).collect();
            let replaced = |file: &Data| inputs.contains(file.path.as_str());
            let mut members = self.data.iter().filter(|file| replaced(file));
            let partition = members.next().unwrap().partition;
            self.data.retain(|file| !replaced(file));
            let rows = group.input_rows().get();
            let mut bytes = (group.input_bytes().get() as f64 * ratio).max(1.0) as u64;
            let full = (group.target_file_size.get() as f64 * (1.0 + overshoot)) as u64;
            while bytes > 0 {
                let size = bytes.min(full);
                bytes -= size;
                self.written += 1;
                outputs.push(Data {
                    path: format!(
                        "{}q/{index:05}-1-p{process}-{:05}.parquet",
                        self.folder, self.written
                    ),
                    size,
                    rows,
                    sequence_number: starting,
                    first_row_id: None,
                    partition,
                    format: FileFormat::Parquet,
                    encrypted: false,
                });
            }
        }
        self.data.splice(0..0, outputs);
        self.sequence_number += 1;
        let scan = self.scan();
        let index = DeleteIndex::of_scan(&scan).unwrap();
        let mut needed = HashSet::new();
        for file in scan.data_files() {
            let path = scan.path_of(file);
            let matches = index.for_file(&path, file.partition, file.sequence_number);
            let told = told.get(&path);
            needed.extend(matches.numbers().filter(|number| {
                let delete = scan.delete_path(&scan.delete_files()[*number as usize]);
                !told.is_some_and(|told| told.contains(&delete))
            }));
        }
        let mut numbers = 0..;
        self.deletes.retain(|_| {
            numbers
                .next()
                .is_some_and(|number| needed.contains(&number))
        });
        self.deletes.extend(new_deletes);
    }

    /// One position delete file with what several say. Its bounds are all that tells which data files it is about.
    fn in_one_file(&self, deletes: &[Delete]) -> Delete {
        let paths = || {
            deletes
                .iter()
                .filter_map(|delete| delete.referenced.clone())
        };
        let cut = |path: String| match self.cuts_bounds {
            true => path.chars().take(64).collect(),
            false => path,
        };
        let (lower, upper) = (paths().min().unwrap(), paths().max().unwrap());
        // A bound from above that is cut short is the next text of that length.
        let mut above = cut(upper.clone());
        if above.len() < upper.len() {
            above.pop();
            above.push('~');
        }
        Delete {
            rows: deletes.iter().map(|delete| delete.rows).sum(),
            sequence_number: deletes
                .iter()
                .map(|delete| delete.sequence_number)
                .max()
                .unwrap(),
            referenced: None,
            bounds: Some((cut(lower), above)),
            ..deletes[0].clone()
        }
    }

    /// How many rows of an input a delete file hits, if its records are spread evenly over all that it applies to.
    fn hits(&self, input: &InputFile, delete: &DeleteFile) -> f64 {
        let scan = self.scan();
        let index = DeleteIndex::of_scan(&scan).unwrap();
        let is_it =
            |number: u32| scan.delete_path(&scan.delete_files()[number as usize]) == delete.path;
        let covered = scan.data_files().iter().filter(|file| {
            let path = scan.path_of(file);
            let matches = index.for_file(&path, file.partition, file.sequence_number);
            matches.numbers().any(is_it)
        });
        let mut covered: u64 = covered.map(|file| file.rows.get()).sum();
        let mut deletes = scan.delete_files().iter();
        if deletes.any(|file| {
            let global = matches!(file.kind, DeleteKind::Equality { global: true, .. });
            global && scan.delete_path(file) == delete.path
        }) {
            // Over all rows, as the planner has it.
            covered = scan.data_files().iter().map(|file| file.rows.get()).sum();
        }
        delete.rows.get() as f64 * input.rows.get() as f64 / covered as f64
    }
}

/// An equality delete on the one column.
pub(super) fn equality(global: bool) -> DeleteKind {
    DeleteKind::Equality {
        field_ids: [1].into(),
        global,
    }
}
