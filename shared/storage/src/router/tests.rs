use bytes::Bytes as Buffer;
use icepress_model::ambient::Ambient;

use crate::{
    AwsEnvironment, PutMode, S3Options, Storage, StorageErrorKind, StorageRouter, WriteOptions,
    conformance::emulator::{Emulator, EmulatorKind},
};

#[tokio::test]
async fn local_tables_need_no_aws() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("file:{}/x", folder.path().display());
    let router = StorageRouter::new(
        AwsEnvironment::new(),
        S3Options::default(),
        Ambient::system(),
    );
    let options = WriteOptions::default();
    router
        .put(
            &location,
            Buffer::from_static(b"x"),
            PutMode::CreateOnly,
            &options,
        )
        .await
        .unwrap();
    assert_eq!(router.read(&location).await.unwrap(), &b"x"[..]);
    assert!(!router.s3.initialized());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_of_deletes_keep_their_order_over_the_adapters() {
    let Some(emulator) = Emulator::start(EmulatorKind::Moto) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let local = folder.path().join("x");
    std::fs::write(&local, "x").unwrap();
    let aws = emulator.environment().await;
    let router = StorageRouter::new(aws.clone(), S3Options::default(), Ambient::system());
    let locations = [
        "s3://no-such-bucket/a",
        "nonsense",
        &local.display().to_string(),
        "s3://no-such-bucket/b",
    ];
    let locations = locations.map(str::to_owned);
    let outcomes = router.delete(&locations).await;
    let kinds: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.result.as_ref().err().map(|error| error.kind))
        .collect();
    let missing = Some(StorageErrorKind::NotFound);
    assert_eq!(
        kinds,
        [
            missing,
            Some(StorageErrorKind::InvalidLocation),
            None,
            missing
        ]
    );
    assert!(
        outcomes
            .iter()
            .zip(&locations)
            .all(|(outcome, location)| outcome.location == *location)
    );
    assert!(!local.exists());
    assert_eq!(aws.ledger().totals()["S3.DeleteObjects"], 1);
}
