//! What a deployed Icepress asks of AWS while nothing changes.
#![allow(missing_docs, clippy::unwrap_used)]

use icepress_storage::RequestTotals;
use icepress_tests::deployed::{DATABASES, World};

fn of_service(requests: &RequestTotals, service: &str) -> RequestTotals {
    let prefix = format!("{service}.");
    let of_it = requests
        .iter()
        .filter(|(kind, _)| kind.starts_with(&prefix));
    of_it.map(|(kind, count)| (kind.clone(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_census_lists_and_asks_the_state_no_more_for_many_tables_than_for_few() {
    if icepress_storage::conformance::emulator::python().is_none() {
        return;
    }
    let mut world = World::new(50).await.unwrap();
    assert_eq!(world.known().await.unwrap(), 50, "each was looked at once");
    let few = world.round().await.unwrap();
    world.add(150).await.unwrap();
    assert_eq!(world.known().await.unwrap(), 200);
    let many = world.round().await.unwrap();

    assert_eq!(of_service(&few, "DynamoDB"), of_service(&many, "DynamoDB"));
    for requests in [&few, &many] {
        // No table is loaded, no object asked for, and nothing written anywhere.
        let listings = RequestTotals::from([
            ("Glue.GetDatabases".to_owned(), 1),
            ("Glue.GetTables".to_owned(), DATABASES as u64),
        ]);
        assert_eq!(of_service(requests, "Glue"), listings);
        let reads = [
            "DynamoDB.BatchGetItem",
            "DynamoDB.GetItem",
            "DynamoDB.Query",
        ];
        let others: Vec<&String> = requests
            .keys()
            .filter(|kind| !kind.starts_with("Glue.") && !reads.contains(&kind.as_str()))
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
}
