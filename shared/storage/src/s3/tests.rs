use std::{collections::BTreeMap, sync::Arc};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError, future};
use aws_sdk_s3::{
    Client,
    config::{Builder, Region},
    types::{ServerSideEncryption, StorageClass},
};
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, ambient::Ambient};

use super::{Encryption, S3Options, S3Storage, WriteAttributes};
use crate::{
    AwsEnvironment, PutMode, Reach, RequestTotals, Storage, StorageErrorKind, StorageRouter,
    TimeLimits, WriteOptions,
    conformance::{
        self,
        emulator::{Emulator, EmulatorKind},
        proxy::{Mishap, Proxy},
    },
};

/// An emulator with one bucket, and a plain client to look behind the adapter's back.
struct S3Bench {
    emulator: Emulator,
    client: Client,
    aws: AwsEnvironment,
}

impl S3Bench {
    async fn start(kind: EmulatorKind) -> Option<Self> {
        let emulator = Emulator::start(kind)?;
        let config = emulator.config().await;
        let client = Client::from_conf(Builder::from(&config).force_path_style(true).build());
        client.create_bucket().bucket("lake").send().await.unwrap();
        Some(Self {
            aws: emulator.environment().await,
            emulator,
            client,
        })
    }

    async fn storage(&self, options: S3Options) -> S3Storage {
        S3Storage::connect(&self.aws, options, Ambient::system()).await
    }

    async fn class(&self, key: &str) -> Option<StorageClass> {
        let head = self
            .client
            .head_object()
            .bucket("lake")
            .key(key)
            .send()
            .await
            .unwrap();
        head.storage_class().cloned()
    }
}

fn requests(kinds: &[(&str, u64)]) -> RequestTotals {
    let kinds = kinds
        .iter()
        .map(|(kind, count)| (format!("S3.{kind}"), *count));
    kinds.collect()
}

/// Parts as small as S3 takes them.
fn small_parts() -> S3Options {
    S3Options {
        part_size: Bytes::mebibytes(5),
        parts_in_memory: 3,
        ..S3Options::default()
    }
}

async fn conforms(kind: EmulatorKind) {
    let Some(bench) = S3Bench::start(kind).await else {
        return;
    };
    let storage = bench.storage(small_parts()).await;
    let storage = Arc::new(storage);
    conformance::check_all(Arc::<S3Storage>::clone(&storage), "s3://lake/a/").await;
    if kind != EmulatorKind::Moto {
        conformance::nothing_is_copied_beyond_the_end(&*storage, "s3://lake/a/").await;
    }
    let router = StorageRouter::new(
        bench.aws.clone(),
        small_parts(),
        Reach::everywhere(),
        Ambient::system(),
    );
    conformance::check_all(Arc::new(router), "s3a://lake/b/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_storage_conforms_on_moto() {
    conforms(EmulatorKind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_storage_conforms_on_ministack() {
    conforms(EmulatorKind::MiniStack).await;
}

async fn tags_are_set_as_a_whole(kind: EmulatorKind) {
    let Some(bench) = S3Bench::start(kind).await else {
        return;
    };
    let storage = bench.storage(S3Options::default()).await;
    let (at, none) = ("s3://lake/a b/é.parquet", BTreeMap::new());
    let gone = storage.tags("s3://lake/gone").await.unwrap_err();
    assert_eq!(gone.kind, StorageErrorKind::NotFound);
    let (content, options) = (Buffer::from("rows"), WriteOptions::default());
    storage
        .put(at, content, PutMode::Overwrite, &options)
        .await
        .unwrap();
    assert_eq!(storage.tags(at).await.unwrap(), none);
    let mut tags = BTreeMap::from([("owner".to_owned(), "finance + more".to_owned())]);
    tags.insert(
        "icepress-quarantine".to_owned(),
        "2026-11-30T01:02:03Z".to_owned(),
    );
    storage.set_tags(at, &tags).await.unwrap();
    assert_eq!(storage.tags(at).await.unwrap(), tags);
    tags.remove("icepress-quarantine");
    storage.set_tags(at, &tags).await.unwrap();
    assert_eq!(storage.tags(at).await.unwrap(), tags);
    storage.set_tags(at, &none).await.unwrap();
    assert_eq!(storage.tags(at).await.unwrap(), none);
    assert_eq!(storage.read(at).await.unwrap(), "rows");
    let router = StorageRouter::new(
        bench.aws.clone(),
        small_parts(),
        Reach::everywhere(),
        Ambient::system(),
    );
    assert!(router.has_tags(at) && !router.has_tags("/on/a/disk"));
    assert!(router.tags("/on/a/disk").await.is_err());
    assert_eq!(router.tags(at).await.unwrap(), none);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_set_as_a_whole_on_moto() {
    tags_are_set_as_a_whole(EmulatorKind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_set_as_a_whole_on_ministack() {
    tags_are_set_as_a_whole(EmulatorKind::MiniStack).await;
}

/// Half of 11 MiB is filled while the other half is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_as_small_as_memory_wants_them() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let storage = bench.storage(S3Options::default()).await;
    let options = WriteOptions {
        in_memory: Some(Bytes::mebibytes(11)),
        ..WriteOptions::default()
    };
    let location = "s3://lake/in-parts";
    let mut writer = storage.writer(location, &options).await.unwrap();
    let before = bench.aws.ledger().totals();
    for _ in 0..12 {
        let content = Buffer::from(vec![7; 1 << 20]);
        writer.write(content).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), Bytes::mebibytes(12));
    assert_eq!(
        bench.aws.ledger().since(&before),
        requests(&[
            ("CompleteMultipartUpload", 1),
            ("CreateMultipartUpload", 1),
            ("UploadPart", 3),
        ])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_has_its_storage_class_and_is_counted() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let storage = bench.storage(small_parts()).await;
    let own = WriteOptions {
        storage_class: Some("STANDARD_IA".to_owned()),
        ..WriteOptions::default()
    };
    let content = Buffer::from(vec![7; 12 << 20]);
    for (prefix, options) in [("default", WriteOptions::default()), ("own", own)] {
        let class = match prefix {
            "own" => StorageClass::StandardIa,
            _ => StorageClass::IntelligentTiering,
        };
        let small = Buffer::from_static(b"x");
        let put = storage
            .put(
                &format!("s3://lake/{prefix}/put"),
                small.clone(),
                PutMode::CreateOnly,
                &options,
            )
            .await;
        put.unwrap();
        assert_eq!(
            bench.class(&format!("{prefix}/put")).await,
            Some(class.clone())
        );
        for (name, content) in [("small", small), ("large", content.clone())] {
            let mut writer = storage
                .writer(&format!("s3://lake/{prefix}/{name}"), &options)
                .await
                .unwrap();
            writer.write(content).await.unwrap();
            writer.finish().await.unwrap();
            assert_eq!(
                bench.class(&format!("{prefix}/{name}")).await,
                Some(class.clone()),
                "{prefix} {name}"
            );
        }
    }
    // Each round: one put, one small object, and beginning and end of the large one with its three parts.
    assert_eq!(
        bench.aws.ledger().totals(),
        requests(&[
            ("PutObject", 4),
            ("CreateMultipartUpload", 2),
            ("UploadPart", 6),
            ("CompleteMultipartUpload", 2)
        ])
    );
    let before = bench.aws.ledger().totals();

    // Two near ranges are one request, a far one another.
    let far = 10 << 20;
    storage
        .read_ranges("s3://lake/own/large", &[0..10, far..far + 10, 100..110])
        .await
        .unwrap();
    storage.info("s3://lake/own/large").await.unwrap();
    storage.list("s3://lake/own/", None).await.unwrap();
    storage.delete(&["s3://lake/own/large".to_owned()]).await;
    assert_eq!(
        bench.aws.ledger().since(&before),
        requests(&[
            ("GetObject", 2),
            ("HeadObject", 1),
            ("ListObjectsV2", 1),
            ("DeleteObjects", 1)
        ])
    );

    let plain = bench
        .storage(S3Options {
            storage_class: None,
            ..small_parts()
        })
        .await;
    let options = WriteOptions::default();
    plain
        .put(
            "s3://lake/plain",
            Buffer::new(),
            PutMode::Overwrite,
            &options,
        )
        .await
        .unwrap();
    assert!(matches!(
        bench.class("plain").await,
        None | Some(StorageClass::Standard)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archived_object_is_told_apart() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let storage = bench.storage(S3Options::default()).await;
    let glacier = WriteOptions {
        storage_class: Some("GLACIER".to_owned()),
        ..WriteOptions::default()
    };
    let location = "s3://lake/cold.parquet";
    storage
        .put(
            location,
            Buffer::from_static(b"cold"),
            PutMode::Overwrite,
            &glacier,
        )
        .await
        .unwrap();
    assert!(storage.info(location).await.unwrap().archived);
    for error in [
        storage.read(location).await.unwrap_err(),
        storage.read_range(location, 0..2).await.unwrap_err(),
    ] {
        assert_eq!(error.kind, StorageErrorKind::Archived, "{error}");
        assert!(error.to_string().contains(location), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_upload_leaves_no_parts() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let storage = bench.storage(small_parts()).await;
    let uploads = || async {
        let open = bench
            .client
            .list_multipart_uploads()
            .bucket("lake")
            .send()
            .await
            .unwrap();
        open.uploads().len()
    };
    let mut writer = storage
        .writer("s3://lake/aborted", &WriteOptions::default())
        .await
        .unwrap();
    writer.write(Buffer::from(vec![1; 11 << 20])).await.unwrap();
    assert_eq!(uploads().await, 1);
    writer.abort().await.unwrap();
    assert_eq!(uploads().await, 0);
    assert!(storage.info("s3://lake/aborted").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_bucket_and_a_missing_server_are_told() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let storage = bench.storage(S3Options::default()).await;
    let options = WriteOptions::default();
    for error in [
        storage.read("s3://no-such-bucket/k").await.unwrap_err(),
        storage
            .list("s3://no-such-bucket/", None)
            .await
            .unwrap_err(),
        storage
            .put(
                "s3://no-such-bucket/k",
                Buffer::new(),
                PutMode::Overwrite,
                &options,
            )
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind, StorageErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("no-such-bucket"), "{error}");
    }
    let outcomes = storage.delete(&["s3://no-such-bucket/k".to_owned()]).await;
    assert!(outcomes[0].result.is_err());

    drop(bench.emulator);
    let error = storage.info("s3://lake/x").await.unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::Other, "{error}");
    assert!(error.to_string().contains("s3://lake/x"), "{error}");
}

/// A chain that finds nothing.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = CredentialsError::not_loaded("no provider in the chain had any");
        future::ProvideCredentials::ready(Err(error))
    }
}

#[tokio::test]
async fn no_credentials_are_said_to_be_missing() {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(NoCredentials)
        .endpoint_url("http://127.0.0.1:9")
        .load()
        .await;
    let aws = AwsEnvironment::from_config(config);
    let storage = S3Storage::connect(&aws, S3Options::default(), Ambient::system()).await;
    let message = storage.read("s3://lake/x").await.unwrap_err().to_string();
    assert!(
        message.contains("no provider in the chain had any"),
        "{message}"
    );
}

/// A storage that reaches the emulator through a proxy.
async fn through(bench: &S3Bench, proxy: &Proxy) -> S3Storage {
    let options = S3Options {
        endpoint: Some(proxy.endpoint().to_owned()),
        ..small_parts()
    };
    bench.storage(options).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conditional_write_whose_answer_was_lost_is_still_ours() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let storage = through(&bench, &proxy).await;
    let options = WriteOptions::default();
    let content = Buffer::from_static(b"mine");

    proxy.plan("PUT /lake/lost", 1, Mishap::AnswerLost);
    storage
        .put(
            "s3://lake/lost",
            content.clone(),
            PutMode::CreateOnly,
            &options,
        )
        .await
        .unwrap();
    assert_eq!(proxy.seen("PUT /lake/lost"), 2);

    // Somebody else's object of the same content is not taken for ours.
    storage
        .put(
            "s3://lake/theirs",
            content.clone(),
            PutMode::CreateOnly,
            &options,
        )
        .await
        .unwrap();
    let error = storage
        .put("s3://lake/theirs", content, PutMode::CreateOnly, &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::AlreadyExists, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_upload_whose_answer_was_lost_is_found_done() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let storage = through(&bench, &proxy).await;
    proxy.plan("POST /lake/large?uploadId", 1, Mishap::AnswerLost);
    proxy.plan("PUT /lake/large", 1, Mishap::AnswerLost);
    let mut writer = storage
        .writer("s3://lake/large", &WriteOptions::default())
        .await
        .unwrap();
    writer.write(Buffer::from(vec![3; 11 << 20])).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), Bytes(11 << 20));
    assert_eq!(
        storage.read("s3://lake/large").await.unwrap(),
        vec![3; 11 << 20]
    );
    assert!(
        bench.aws.ledger().totals()["S3.UploadPart"] > 3,
        "the lost part was sent again, and counted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_is_tried_again_and_refusals_are_told() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let storage = through(&bench, &proxy).await;
    let error =
        |code: &str| format!("<Error><Code>{code}</Code><Message>said so</Message></Error>");
    let slow_down = Mishap::AnsweredInstead(503, error("SlowDown"));
    let options = WriteOptions::default();
    proxy.plan("PUT /lake/x", 3, slow_down.clone());
    storage
        .put(
            "s3://lake/x",
            Buffer::from_static(b"x"),
            PutMode::Overwrite,
            &options,
        )
        .await
        .unwrap();
    proxy.plan("GET /lake/x", 3, slow_down.clone());
    assert_eq!(storage.read("s3://lake/x").await.unwrap(), &b"x"[..]);
    assert_eq!(
        bench.aws.ledger().totals(),
        requests(&[("PutObject", 4), ("GetObject", 4)])
    );
    proxy.plan("GET /lake/busy", 100, slow_down);
    let failed = storage.read("s3://lake/busy").await.unwrap_err();
    assert_eq!(failed.kind, StorageErrorKind::Throttled, "{failed}");

    proxy.plan(
        "GET /lake/x",
        1,
        Mishap::AnsweredInstead(403, error("AccessDenied")),
    );
    let failed = storage.read("s3://lake/x").await.unwrap_err();
    assert_eq!(failed.kind, StorageErrorKind::PermissionDenied, "{failed}");
    assert!(
        failed.to_string().contains("said so") && failed.to_string().contains("s3://lake/x"),
        "{failed}"
    );

    let moved = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; \
                 expecting 'eu-central-1'</Message></Error>";
    proxy.plan(
        "GET /lake/x",
        1,
        Mishap::AnsweredInstead(400, moved.to_owned()),
    );
    let failed = storage.read("s3://lake/x").await.unwrap_err();
    assert!(
        failed
            .to_string()
            .contains("set client.region (or AWS_REGION) to eu-central-1"),
        "{failed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_only_what_failed_is_reported() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let storage = through(&bench, &proxy).await;
    let locations: Vec<String> = ["a", "b", "c"].map(|key| format!("s3://lake/{key}")).into();
    let partly = |code: &str| {
        let body = format!(
            "<DeleteResult><Error><Key>b</Key><Code>{code}</Code><Message>no</Message></Error></DeleteResult>"
        );
        Mishap::AnsweredInstead(200, body)
    };
    proxy.plan("POST /lake", 1, partly("AccessDenied"));
    let outcomes = storage.delete(&locations).await;
    assert!(outcomes[0].result.is_ok() && outcomes[2].result.is_ok());
    let error = outcomes[1].result.as_ref().unwrap_err();
    assert_eq!(error.kind, StorageErrorKind::PermissionDenied, "{error}");
    assert!(error.to_string().contains("s3://lake/b"), "{error}");

    proxy.plan("POST /lake", 2, partly("InternalError"));
    let outcomes = storage.delete(&locations).await;
    assert!(
        outcomes.iter().all(|outcome| outcome.result.is_ok()),
        "{outcomes:?}"
    );
    assert_eq!(bench.aws.ledger().totals()["S3.DeleteObjects"], 4);
}

/// Small objects and those of several parts, conditional ones too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_writing_encrypts_tags_and_lists_access_as_the_catalog_says() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let key = "arn:aws:kms:us-east-1:123456789012:key/6f1c2c8e-1111-2222-3333-444455556666";
    let storage = bench
        .storage(S3Options {
            attributes: WriteAttributes {
                encryption: Encryption::Kms(Some(key.to_owned())),
                acl: Some("public-read".to_owned()),
                tags: vec![
                    ("team".to_owned(), "ice + snow".to_owned()),
                    ("owner".to_owned(), "a=b".to_owned()),
                ],
            },
            ..small_parts()
        })
        .await;
    let options = WriteOptions::default();
    let content = || Buffer::from(vec![7; 6 << 20]);
    for (key, mode) in [
        ("plain", PutMode::Overwrite),
        ("conditional", PutMode::CreateOnly),
    ] {
        let location = format!("s3://lake/{key}");
        let small = Buffer::from_static(b"x");
        storage.put(&location, small, mode, &options).await.unwrap();
    }
    let mut writer = storage.writer("s3://lake/parts", &options).await.unwrap();
    writer.write(content()).await.unwrap();
    writer.finish().await.unwrap();
    for object in ["plain", "conditional", "parts"] {
        let head = bench
            .client
            .head_object()
            .bucket("lake")
            .key(object)
            .send()
            .await
            .unwrap();
        assert_eq!(
            head.server_side_encryption(),
            Some(&ServerSideEncryption::AwsKms),
            "{object}"
        );
        assert_eq!(head.ssekms_key_id(), Some(key), "{object}");
        let tags = bench.client.get_object_tagging().bucket("lake").key(object);
        let mut tags: Vec<_> = tags.send().await.unwrap().tag_set;
        tags.sort_by(|a, b| a.key.cmp(&b.key));
        let tags: Vec<_> = tags.iter().map(|tag| (tag.key(), tag.value())).collect();
        assert_eq!(tags, [("owner", "a=b"), ("team", "ice + snow")], "{object}");
        let acl = bench
            .client
            .get_object_acl()
            .bucket("lake")
            .key(object)
            .send()
            .await
            .unwrap();
        let is_public = |grant: &aws_sdk_s3::types::Grant| {
            let uri = grant.grantee().and_then(|grantee| grantee.uri());
            uri.is_some_and(|uri| uri.ends_with("AllUsers"))
        };
        assert!(
            acl.grants().iter().any(is_public),
            "{object}: {:?}",
            acl.grants()
        );
    }
}

/// Case C56: parts and ends of uploads that are refused for as long as a client tries are sent again by whoever waits, and not
/// the parts that are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c56_an_upload_goes_on_where_it_was_asked_for_fewer_requests() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let storage = through(&bench, &proxy).await;
    let slow_down = || Mishap::AnsweredInstead(503, "<Error><Code>SlowDown</Code></Error>".into());
    let tries = usize::try_from(super::ATTEMPTS).unwrap();
    proxy.plan("POST /lake/begin?uploads", tries, slow_down());
    proxy.plan(
        "PUT /lake/part?x-id=UploadPart&partNumber=2",
        tries,
        slow_down(),
    );
    proxy.plan("POST /lake/end?uploadId", tries, slow_down());
    proxy.plan("PUT /lake/small", tries, slow_down());
    let write = async |name: &str, size: usize| {
        let location = format!("s3://lake/{name}");
        let options = WriteOptions::default();
        let mut writer = storage.writer(&location, &options).await.unwrap();
        let content: Vec<u8> = (0..size).map(|at| (at / 7_919) as u8).collect();
        let mut refused = 0;
        let mut heard = |kind: StorageErrorKind| {
            assert_eq!(kind, StorageErrorKind::Throttled);
            refused += 1;
            assert_eq!(refused, 1, "{name}");
        };
        let mut next = Buffer::from(content.clone());
        while let Err(error) = writer.write(std::mem::take(&mut next)).await {
            heard(error.kind);
        }
        let written = loop {
            match writer.finish().await {
                Ok(written) => break written,
                Err(error) => heard(error.kind),
            }
        };
        assert_eq!(written, Bytes(size as u64));
        let read = storage.read(&location).await.unwrap();
        assert!(read == content, "{name}");
        assert_eq!(refused, 1, "{name} was to be refused once");
    };
    let large = 11 << 20;
    tokio::join!(
        write("begin", large),
        write("part", large),
        write("end", large),
        write("small", 9)
    );
    assert_eq!(
        proxy.seen("PUT /lake/part?x-id=UploadPart&partNumber=1"),
        1,
        "what is there is not sent again"
    );
}

/// A key of the user's own goes with every request that touches content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_user_s_own_goes_with_reads_and_writes() {
    let Some(bench) = S3Bench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let custom = Encryption::Custom {
        key: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned(),
        md5: "hRasmdxgYDKV3nvbahU1MA==".to_owned(),
    };
    let options = S3Options {
        endpoint: Some(proxy.endpoint().to_owned()),
        attributes: WriteAttributes {
            encryption: custom,
            ..WriteAttributes::default()
        },
        ..small_parts()
    };
    let storage = bench.storage(options).await;
    let written = WriteOptions::default();
    let small = Buffer::from_static(b"x");
    storage
        .put("s3://lake/own", small, PutMode::CreateOnly, &written)
        .await
        .unwrap();
    let mut writer = storage.writer("s3://lake/parts", &written).await.unwrap();
    writer.write(Buffer::from(vec![7; 6 << 20])).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(storage.read("s3://lake/own").await.unwrap(), &b"x"[..]);
    storage.info("s3://lake/own").await.unwrap();
    let with_key = proxy.seen("x-amz-server-side-encryption-customer-key: MDEyMzQ1");
    // Put, begin, two parts, completion, read, look.
    assert_eq!(with_key, 7);
}

/// Something that takes connections and says nothing, for as long as it is kept.
async fn silence() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_connections_and_is_silent_is_given_up() {
    let (_listener, endpoint) = silence().await;
    let tenth = std::time::Duration::from_millis(100);
    let limits = TimeLimits {
        connect: tenth,
        answer: tenth,
        attempt: tenth,
        whole: tenth * 4,
        slowest: Bytes::mebibytes(1),
    };
    let config = aws_config::defaults(BehaviorVersion::latest())
        .credentials_provider(aws_sdk_s3::config::Credentials::new(
            "a", "b", None, None, "test",
        ))
        .region(Region::from_static("us-east-1"))
        .timeout_config(limits.of_requests())
        .endpoint_url(&endpoint)
        .load()
        .await;
    let aws = AwsEnvironment::from_config(config).with_limits(limits);
    let storage = S3Storage::connect(&aws, small_parts(), Ambient::system()).await;
    let options = WriteOptions::default();
    let clock = Ambient::system().clock;
    let began = clock.monotonic();
    let failures = [
        storage.read("s3://lake/x").await.err(),
        storage.info("s3://lake/x").await.err(),
        storage.list("s3://lake/x", None).await.err(),
        storage
            .put(
                "s3://lake/x",
                Buffer::from_static(b"x"),
                PutMode::Overwrite,
                &options,
            )
            .await
            .err(),
        storage
            .delete(&["s3://lake/x".to_owned()])
            .await
            .remove(0)
            .result
            .err(),
    ];
    for failure in failures {
        let failure = failure.unwrap();
        assert_eq!(failure.kind, StorageErrorKind::Other, "{failure}");
    }
    // Far from what it should take, and further from what it took.
    let took = clock.monotonic() - began;
    assert!(took.as_secs() < 30, "{took:?}");
}
