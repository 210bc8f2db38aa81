use bytes::Bytes as Buffer;
use icepress_model::ambient::Ambient;

use crate::{
    AwsEnvironment, PutMode, Reach, S3Options, Storage, StorageErrorKind, StorageRouter,
    WriteOptions,
    conformance::emulator::{Emulator, EmulatorKind},
};

#[tokio::test]
async fn local_tables_need_no_aws() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("file:{}/x", folder.path().display());
    let router = StorageRouter::new(
        AwsEnvironment::new(),
        S3Options::default(),
        Reach::everywhere(),
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
    assert!(!router.may_delete(), "nobody said so");
    assert!(router.that_deletes(true).may_delete());
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
    let router = StorageRouter::new(
        aws.clone(),
        S3Options::default(),
        Reach::everywhere(),
        Ambient::system(),
    );
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

/// Whatever is asked: nothing may lead out of what the catalog allows, and nothing is sent to find that out.
#[tokio::test]
async fn c58_no_operation_leaves_its_reach() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let (inside, outside) = (format!("{root}/wh/x"), format!("{root}/wh2/x"));
    for path in [&inside, &outside] {
        let path = std::path::Path::new(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let aws = AwsEnvironment::new();
    let reach = Reach::everywhere()
        .within([format!("file://{root}/wh").as_str()])
        .unwrap();
    let router = StorageRouter::new(aws.clone(), S3Options::default(), reach, Ambient::system());
    assert_eq!(router.read(&inside).await.unwrap(), &b"x"[..]);
    let options = WriteOptions::default();
    let content = || Buffer::from_static(b"y");
    for location in [
        outside.clone(),
        format!("{root}/wh/../wh2/x"),
        "s3://lake/x".to_owned(),
    ] {
        let location = location.as_str();
        let failures = [
            router.allows(location).err(),
            router.info(location).await.err(),
            router.read(location).await.err(),
            router.read_range(location, 0..1).await.err(),
            router
                .read_ranges(location, std::slice::from_ref(&(0..1)))
                .await
                .err(),
            router
                .put(location, content(), PutMode::Overwrite, &options)
                .await
                .err(),
            router
                .put(location, content(), PutMode::CreateOnly, &options)
                .await
                .err(),
            router.writer(location, &options).await.err(),
            router.list(location, None).await.err(),
            router.folders(location).await.err(),
            router
                .delete(&[location.to_owned()])
                .await
                .remove(0)
                .result
                .err(),
        ];
        for (number, failure) in failures.into_iter().enumerate() {
            let failure = failure.unwrap_or_else(|| panic!("operation {number} of {location}"));
            assert_eq!(
                failure.kind,
                StorageErrorKind::NotAllowed,
                "{number}: {failure}"
            );
            assert!(failure.to_string().contains(location), "{failure}");
        }
    }
    assert!(!router.s3.initialized());
    assert_eq!(std::fs::read(&outside).unwrap(), b"x");
    // A listing of what begins with the letters of an allowed place.
    let page = router.list(&format!("{root}/wh"), None).await.unwrap();
    let listed: Vec<String> = page
        .objects
        .into_iter()
        .map(|object| object.location)
        .collect();
    assert_eq!(listed, std::slice::from_ref(&inside));
    // One that may be deleted is, beside one that may not.
    let outcomes = router.delete(&[outside.clone(), inside.clone()]).await;
    assert!(outcomes[0].result.is_err() && outcomes[1].result.is_ok());
    assert!(!std::path::Path::new(&inside).exists());
}
