use super::*;

#[test]
fn hashes_are_those_of_javas_location_provider() {
    // Pinned in Iceberg's own TestLocationProvider.
    assert_eq!(hash_folders("a").unwrap(), "0101/0110/1001/10110010");
    assert_eq!(hash_folders("b").unwrap(), "1110/0111/1110/00000011");
    assert_eq!(hash_folders("c").unwrap(), "0010/1101/0110/01011111");
    assert_eq!(hash_folders("d").unwrap(), "1001/0001/0100/01110011");
}

#[test]
fn the_context_is_the_last_two_folders() {
    assert_eq!(context("s3://bucket/warehouse/shop/orders"), "shop/orders");
    assert_eq!(context("s3://orders"), "orders");
    assert_eq!(context("/orders"), "orders");
}

fn locations(layout: Layout, partition: &str) -> String {
    let mut locations = Locations {
        root: "s3://b/t/data".to_owned(),
        layout,
        partition: partition.to_owned(),
        stem: "00003-1-p".to_owned(),
        files: 0,
    };
    locations.next().unwrap()
}

#[test]
fn files_lie_where_the_layout_says() {
    assert_eq!(
        locations(Layout::Plain, "day=1/region=eu"),
        "s3://b/t/data/day=1/region=eu/00003-1-p-00001.parquet"
    );
    let hashed = |context: Option<&str>, with_partition| Layout::Hashed {
        context: context.map(str::to_owned),
        with_partition,
    };
    let in_partition = hash_folders("day=1/00003-1-p-00001.parquet").unwrap();
    let alone = hash_folders("00003-1-p-00001.parquet").unwrap();
    assert_ne!(in_partition, alone);
    assert_eq!(
        locations(hashed(None, true), "day=1"),
        format!("s3://b/t/data/{in_partition}/day=1/00003-1-p-00001.parquet")
    );
    assert_eq!(
        locations(hashed(None, false), "day=1"),
        format!("s3://b/t/data/{alone}-00003-1-p-00001.parquet")
    );
    assert_eq!(
        locations(hashed(Some("shop/orders"), false), "day=1"),
        format!("s3://b/t/data/{alone}/shop/orders/00003-1-p-00001.parquet")
    );
}
