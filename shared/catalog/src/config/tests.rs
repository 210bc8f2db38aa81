use std::{collections::BTreeMap, path::PathBuf};

use icepress_model::CatalogName;
use icepress_storage::S3Options;

use super::{
    CatalogKind, CatalogProperties, Configuration, ConfigurationError, SourceFile, Sources,
    load_configuration,
};

fn file(path: &str, content: &str) -> Option<SourceFile> {
    Some(SourceFile {
        path: PathBuf::from(path),
        content: content.to_owned(),
    })
}

fn sources(toml: &str, yaml: &str, environment: &[(&str, &str)]) -> Sources {
    Sources {
        icepress: file("icepress.toml", toml).filter(|file| !file.content.is_empty()),
        pyiceberg: file("/h/.pyiceberg.yaml", yaml).filter(|file| !file.content.is_empty()),
        environment: environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

fn loaded(toml: &str, yaml: &str, environment: &[(&str, &str)]) -> Configuration {
    load_configuration(&sources(toml, yaml, environment)).unwrap()
}

const YAML: &str = "
default-catalog: Prod
catalog:
  Prod:
    uri: sqlite:////w/catalog.db
    warehouse: file:///w
    s3.endpoint: http://localhost:9000
    s3.path-style-access: true
    glue.id: 012345678901
    empty:
  lake:
    type: glue
    client.region: eu-central-1
    s3.access-key-id: AKIDEXAMPLE
    s3.secret-access-key: topsecret
";

#[test]
fn pyiceberg_s_file_is_read_and_the_environment_wins() {
    let configuration = loaded(
        "",
        YAML,
        &[
            ("PYICEBERG_CATALOG__PROD__URI", "sqlite:////other.db"),
            ("PYICEBERG_CATALOG__PROD__S3__REGION", "eu-west-1"),
            ("pyiceberg_catalog__my_new__warehouse_dir", "x"),
            ("PYICEBERG_HOME", "/h"),
            ("PYICEBERG_CATALOG__HALF", "x"),
        ],
    );
    assert_eq!(configuration.default_catalog.as_str(), "Prod");
    let prod = configuration.catalog("prod").unwrap();
    assert_eq!(prod.name().as_str(), "Prod");
    assert_eq!(prod.get("uri"), Some("sqlite:////other.db"));
    assert_eq!(prod.get("warehouse"), Some("file:///w"));
    assert_eq!(prod.get("glue.id"), Some("012345678901"));
    assert_eq!(prod.get("empty"), None);
    assert_eq!(prod.kind().unwrap(), CatalogKind::Sql);
    assert_eq!(
        prod.s3_options().unwrap(),
        S3Options {
            endpoint: Some("http://localhost:9000".to_owned()),
            region: Some("eu-west-1".to_owned()),
            path_style: Some(true),
            ..S3Options::default()
        }
    );
    let lake = configuration.catalog("lake").unwrap();
    assert_eq!(lake.kind().unwrap(), CatalogKind::Glue);
    assert_eq!(
        lake.s3_options().unwrap().region.as_deref(),
        Some("eu-central-1")
    );
    assert_eq!(
        configuration
            .catalog("my-new")
            .unwrap()
            .get("warehouse-dir"),
        Some("x")
    );
    let warned = configuration.warnings.join("\n");
    assert!(warned.contains("PYICEBERG_CATALOG__HALF"), "{warned}");
}

#[test]
fn keys_in_files_are_those_of_the_catalog_and_shown_to_nobody() {
    let configuration = loaded(
        "",
        YAML,
        &[("PYICEBERG_CATALOG__PG__URI", "postgresql://me:pass@host/db")],
    );
    let warned = configuration.warnings.join("\n");
    let keys = configuration.catalog("lake").unwrap().file_keys().unwrap();
    let keys = keys.unwrap();
    assert_eq!(
        (keys.id.as_str(), keys.secret.as_str()),
        ("AKIDEXAMPLE", "topsecret")
    );
    let shown = format!("{configuration:?}{warned}{keys:?}").replace("AKIDEXAMPLE\"", "");
    for secret in ["AKIDEXAMPLE", "topsecret", "pass@"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("postgresql://***@host/db"), "{shown}");
}

#[test]
fn icepress_toml_has_dotted_names_and_hides_pyiceberg_s_catalogs() {
    let configuration = loaded(
        r#"
        buckets = 4
        [catalog.prod]
        type = "glue"
        s3.endpoint = "http://x"
        s3.write.storage-class = "STANDARD"
        s3.force-virtual-addressing = true
        "glue.id" = "123"
        lock-impl = "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager"
        lock.table = "locks"
        lock.acquire-timeout-ms = 5000
        [catalog.java]
        catalog-impl = "org.apache.iceberg.jdbc.JdbcCatalog"
        uri = "jdbc:sqlite:/x.db"
        "#,
        YAML,
        &[],
    );
    let prod = configuration.catalog("PROD").unwrap();
    assert_eq!(prod.origin(), "icepress.toml");
    assert_eq!(prod.kind().unwrap(), CatalogKind::Glue);
    assert_eq!(prod.get("uri"), None);
    assert_eq!(prod.get("glue.id"), Some("123"));
    assert_eq!(prod.get("lock.table"), Some("locks"));
    assert_eq!(
        prod.milliseconds("lock.acquire-timeout-ms")
            .unwrap()
            .unwrap()
            .as_secs(),
        5
    );
    let s3 = prod.s3_options().unwrap();
    assert_eq!(s3.path_style, Some(false));
    assert_eq!(s3.storage_class.as_deref(), Some("STANDARD"));
    assert_eq!(
        configuration.catalog("java").unwrap().kind().unwrap(),
        CatalogKind::Sql
    );
    assert!(
        configuration.catalog("lake").is_ok(),
        "PyIceberg's others stay"
    );
    assert_eq!(configuration.settings["buckets"].as_integer(), Some(4));
    assert!(!configuration.settings.contains_key("catalog"));
}

#[test]
fn errors_say_where_and_what_it_should_look_like() {
    let message = |toml: &str, yaml: &str| {
        load_configuration(&sources(toml, yaml, &[]))
            .unwrap_err()
            .to_string()
    };
    assert!(message("catalog = 3", "").contains("icepress.toml: catalog: should be a section"));
    assert!(message("[catalog]\nx = 3", "").contains("catalog.x: should be a section"));
    assert!(message("[catalog.x]\ny = [1]", "").contains("catalog.x.y: should be text"));
    let broken = message("[catalog", "");
    assert!(
        broken.contains("icepress.toml: it is not valid TOML") && !broken.contains('\n'),
        "{broken}"
    );
    assert!(message("", "catalog: [").contains("/h/.pyiceberg.yaml: it is not valid YAML"));
    assert!(message("", "catalog: 3").contains("/h/.pyiceberg.yaml: catalog: should be a map"));
    assert!(message("", "catalog: {x: {y: [1]}}").contains("catalog: x: y: should be text"));

    let configuration = loaded("", "", &[]);
    let missing = configuration.catalog("prod").unwrap_err().to_string();
    assert!(
        missing.contains("[catalog.prod]") && missing.contains("PYICEBERG_CATALOG__PROD__URI"),
        "{missing}"
    );
    let missing = loaded("", YAML, &[])
        .catalog("production")
        .unwrap_err()
        .to_string();
    assert!(missing.contains("there are Prod, lake"), "{missing}");

    let configuration = loaded(
        "[catalog.a]\ntype='nessie'\n[catalog.b]\ntype='fantasy'\n[catalog.c]\nuri='thrift://x'\n[catalog.d]\n\
         [catalog.e]\nuri='ftp://x'\n[catalog.f]\ntype='glue'\ns3.path-style-access='maybe'\nlock.x='soon'",
        "",
        &[],
    );
    let kind = |name: &str| {
        configuration
            .catalog(name)
            .unwrap()
            .kind()
            .unwrap_err()
            .to_string()
    };
    assert!(
        kind("a")
            .contains("'nessie' is not supported yet: supported are sql, glue, rest, s3tables, dynamodb and hadoop"),
        "{}",
        kind("a")
    );
    assert!(kind("b").contains("'fantasy' is not known"));
    assert!(kind("c").contains("'hive' is not supported yet"));
    assert!(kind("d").contains("catalog d: type: is missing"));
    assert!(kind("e").contains("'ftp:'"));
    let f = configuration.catalog("f").unwrap();
    assert!(
        f.s3_options()
            .unwrap_err()
            .to_string()
            .contains("s3.path-style-access: is 'maybe'")
    );
    assert!(
        f.milliseconds("lock.x")
            .unwrap_err()
            .to_string()
            .contains("like 5000")
    );
    assert!(
        f.required("uri", "sqlite:////x")
            .unwrap_err()
            .to_string()
            .contains("sqlite:////x")
    );
}

#[test]
fn files_are_found_where_pyiceberg_looks_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let directory = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let (pyiceberg_home, home, working) = (directory("p"), directory("h"), directory("w"));
    let environment: BTreeMap<String, String> =
        [("PYICEBERG_HOME", &pyiceberg_home), ("HOME", &home)]
            .map(|(key, path)| (key.to_owned(), path.display().to_string()))
            .into();
    let read = |explicit: Option<&str>| {
        let explicit = explicit.map(|name| folder.path().join(name));
        Sources::read(environment.clone(), &working, explicit.as_deref())
    };
    assert_eq!(read(None).unwrap().pyiceberg, None);
    for place in [&working, &home, &pyiceberg_home] {
        let path = place.join(".pyiceberg.yaml");
        std::fs::write(&path, "catalog: {}").unwrap();
        assert_eq!(
            read(None).unwrap().pyiceberg.unwrap().path,
            path,
            "it goes before the last"
        );
    }
    std::fs::write(pyiceberg_home.join(".pyiceberg.yaml"), "\n").unwrap();
    assert_eq!(
        read(None).unwrap().pyiceberg.unwrap().path,
        home.join(".pyiceberg.yaml")
    );

    std::fs::write(working.join("icepress.toml"), "a = 1").unwrap();
    std::fs::write(folder.path().join("named.toml"), "a = 2").unwrap();
    assert_eq!(read(None).unwrap().icepress.unwrap().content, "a = 1");
    assert_eq!(
        read(Some("named.toml")).unwrap().icepress.unwrap().content,
        "a = 2"
    );
    let error = read(Some("missing.toml")).unwrap_err();
    assert!(matches!(&error, ConfigurationError::File { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("missing.toml: there is no such file"),
        "{error}"
    );
}

#[test]
fn rest_catalogs_and_what_their_server_says() {
    let configuration = loaded(
        "[catalog.a]\ntype='rest'\nuri='https://x'\n[catalog.b]\nuri='http://x'\n[catalog.c]\ntype='s3tables'\n\
         [catalog.d]\ncatalog-impl='org.apache.iceberg.rest.RESTCatalog'",
        "catalog:\n  e:\n    uri: https://x\n    auth:\n      type: oauth2\n      oauth2:\n        client_id: me\n",
        &[
            ("PYICEBERG_CATALOG__F__URI", "https://x"),
            ("PYICEBERG_CATALOG__F__HEADER__X_TENANT", "blue"),
        ],
    );
    for name in ["a", "b", "c", "d", "e", "f"] {
        let catalog = configuration.catalog(name).unwrap();
        assert_eq!(catalog.kind(), Ok(CatalogKind::Rest), "{name}");
    }
    let nested = configuration.catalog("e").unwrap();
    assert_eq!(nested.get("auth.type"), Some("oauth2"));
    assert_eq!(nested.get("auth.oauth2.client_id"), Some("me"));
    let headers: Vec<_> = configuration
        .catalog("f")
        .unwrap()
        .beginning_with("header.")
        .collect();
    assert_eq!(headers, [("x-tenant", "blue")]);

    // A table bucket chooses the storage class by itself.
    let class = |name: &str| {
        configuration
            .catalog(name)
            .unwrap()
            .s3_options()
            .unwrap()
            .storage_class
    };
    assert_eq!(class("a").as_deref(), Some("INTELLIGENT_TIERING"));
    assert_eq!(class("c"), None);

    let ours = configuration.catalog("a").unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let merged = ours.merged(
        [pair("uri", "https://theirs"), pair("s3.region", "r")],
        [pair("type", "other"), pair("prefix", "p")],
    );
    assert_eq!(merged.get("uri"), Some("https://x"), "a default gives way");
    assert_eq!(merged.get("s3.region"), Some("r"));
    assert_eq!(merged.get("type"), Some("other"), "an override does not");
    assert_eq!(
        (merged.name(), merged.origin()),
        (ours.name(), ours.origin())
    );
}

#[test]
fn a_role_is_named_as_java_or_as_pyiceberg_does() {
    let role = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        CatalogProperties::of(CatalogName::from("c"), pairs).assumed_role()
    };
    const ARN: &str = "arn:aws:iam::210987654321:role/team/upkeep";
    assert_eq!(role(&[("client.region", "eu-west-1")]), Ok(None));
    let java = role(&[
        ("client.assume-role.arn", ARN),
        ("client.assume-role.external-id", "x1"),
        ("client.assume-role.region", "eu-west-1"),
        ("client.assume-role.session-name", "night"),
        ("client.assume-role.timeout-sec", "900"),
        ("client.assume-role.tags.team", "ice"),
    ]);
    let java = java.unwrap().unwrap();
    assert_eq!(java.arn, ARN);
    assert_eq!(java.external_id.as_deref(), Some("x1"));
    assert_eq!(java.region.as_deref(), Some("eu-west-1"));
    assert_eq!(java.session_name, "night");
    assert_eq!(java.session_length.as_secs(), 900);
    assert_eq!(java.tags, [("team".to_owned(), "ice".to_owned())]);
    let python = role(&[
        ("client.role-arn", ARN),
        ("client.role-session-name", "day"),
    ]);
    let python = python.unwrap().unwrap();
    assert_eq!(
        (python.arn.as_str(), python.session_name.as_str()),
        (ARN, "day")
    );
    assert_eq!(python.session_length.as_secs(), 3600);

    for (pairs, said) in [
        (&[("client.assume-role.arn", "upkeep")][..], "arn:aws:iam::"),
        (
            &[("client.assume-role.arn", "arn:aws:iam::1:user/me")],
            "arn:aws:iam::",
        ),
        (
            &[("client.assume-role.external-id", "x1")],
            "client.assume-role.arn",
        ),
        (
            &[
                ("client.assume-role.arn", ARN),
                ("client.assume-role.timeout-sec", "60"),
            ],
            "900 to 43200",
        ),
    ] {
        let message = role(pairs).unwrap_err().to_string();
        assert!(message.contains(said), "{message}");
    }
}
