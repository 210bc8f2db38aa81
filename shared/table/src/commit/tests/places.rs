//! Delete files that stand in another partition than the data file that they name (apache/iceberg #16957): Java's readers
//! go by the path, and so must a commit.

use iceberg::spec::{DataContentType, DataFileFormat, FormatVersion};

use super::world::{World, data, file};
use crate::commit::CommitFailure;

/// A vector about a row of `about`, in `region`, whatever that file's is.
fn vector(path: &str, region: &str, about: &str) -> iceberg::spec::DataFile {
    file(path, region, 1)
        .content(DataContentType::PositionDeletes)
        .file_format(DataFileFormat::Puffin)
        .file_size_in_bytes(200)
        .referenced_data_file(Some(about.to_owned()))
        .content_offset(Some(4))
        .content_size_in_bytes(Some(40))
        .build()
        .unwrap()
}

#[tokio::test]
async fn c62_late_deletes_of_another_partition_are_conflicts() {
    for is_vector in [false, true] {
        let version = if is_vector {
            FormatVersion::V3
        } else {
            FormatVersion::V2
        };
        let world = World::new(version);
        world
            .append(&[data("a", "eu", 10), data("b", "us", 5)])
            .await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let late = match is_vector {
            true => vector("late", "us", "a"),
            // Named by its bounds alone, as most writers leave it.
            false => {
                let positions = world.position_deletes("late", "us", &[("a", 0)]);
                { positions }.build().unwrap()
            }
        };
        world.delete(&[late]).await;
        let Err(failure @ CommitFailure::NothingLeft { .. }) = world.run(&base, vec![group]).await
        else {
            panic!("a row of a was deleted, and would be back");
        };
        let failure = failure.to_string();
        assert!(failure.contains("late deletes rows of a"), "{failure}");
        assert_eq!(world.data_paths().await, ["a", "b"]);
    }
}

#[tokio::test]
async fn c62_a_vector_of_another_partition_goes_with_its_data_file() {
    let world = World::new(FormatVersion::V3);
    world
        .append(&[data("a", "eu", 10), data("b", "us", 5)])
        .await;
    world.delete(&[vector("v", "us", "a")]).await;
    let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    assert_eq!(world.data_paths().await, ["b", "o"]);
    assert!(world.delete_paths().await.is_empty());
}
