use icepress_model::CatalogName;

use super::*;

fn properties(pairs: &[(&str, &str)]) -> CatalogProperties {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    CatalogProperties::of(CatalogName::from("lake"), pairs)
}

fn options(pairs: &[(&str, &str)]) -> RestOptions {
    RestOptions::new(&properties(pairs)).unwrap()
}

fn error(pairs: &[(&str, &str)]) -> String {
    RestOptions::new(&properties(pairs))
        .unwrap_err()
        .to_string()
}

const ARN: &str = "arn:aws:s3tables:eu-west-1:123456789012:bucket/lake";

#[test]
fn a_plain_server() {
    let plain = options(&[("uri", "http://localhost:8181/")]);
    assert_eq!(plain.uri, "http://localhost:8181");
    assert_eq!(plain.auth, AuthOptions::None);
    assert!(!plain.is_flat);
    assert_eq!(plain.headers[DELEGATION], VENDED);
    assert!(plain.wants_keys);
    assert_eq!(options(&[("uri", "https://h/api/v1")]).uri, "https://h/api");
}

#[test]
fn headers_are_the_users() {
    let some = options(&[
        ("uri", "http://h"),
        ("header.X-Tenant", "blue"),
        ("header.x-iceberg-access-delegation", "remote-signing"),
    ]);
    assert_eq!(some.headers["x-tenant"], "blue");
    assert_eq!(some.headers[DELEGATION], "remote-signing");
    assert!(!some.wants_keys);
    let none = options(&[
        ("uri", "http://h"),
        ("header.X-Iceberg-Access-Delegation", ""),
    ]);
    assert!(none.headers.is_empty());
    let bad = error(&[("uri", "http://h"), ("header.a b", "c")]);
    assert!(
        bad.contains("catalog lake: header.a b: can't be sent"),
        "{bad}"
    );
}

#[test]
fn oauth2_by_iceberg_and_by_pyiceberg() {
    let usual = options(&[("uri", "http://h/cat"), ("credential", "id:se:cret")]);
    let AuthOptions::ClientCredentials(client) = &usual.auth else {
        panic!("{:?}", usual.auth);
    };
    assert_eq!(client.token_uri, "http://h/cat/v1/oauth/tokens");
    assert_eq!(client.client_id.as_deref(), Some("id"));
    assert_eq!(client.client_secret, "se:cret");
    assert_eq!(client.parameters, [("scope", "catalog".to_owned())]);
    assert!(!format!("{usual:?}").contains("se:cret"));

    let other = options(&[
        ("uri", "http://h"),
        ("credential", "secret"),
        ("oauth2-server-uri", "https://login/token"),
        ("scope", "PRINCIPAL_ROLE:ALL"),
        ("audience", "lake"),
        // A credential is worth more than a token: it can be renewed.
        ("token", "t"),
    ]);
    let AuthOptions::ClientCredentials(client) = &other.auth else {
        panic!("{:?}", other.auth);
    };
    assert_eq!(
        (client.token_uri.as_str(), &client.client_id),
        ("https://login/token", &None)
    );
    let parameters = [
        ("scope", "PRINCIPAL_ROLE:ALL".to_owned()),
        ("audience", "lake".to_owned()),
    ];
    assert_eq!(client.parameters, parameters);

    let nested = options(&[
        ("uri", "http://h"),
        ("auth.type", "oauth2"),
        ("auth.oauth2.client_id", "id"),
        ("auth.oauth2.client_secret", "secret"),
        ("auth.oauth2.token_url", "https://login/token"),
    ]);
    let AuthOptions::ClientCredentials(client) = &nested.auth else {
        panic!("{:?}", nested.auth);
    };
    assert_eq!(
        (client.client_id.as_deref(), &*client.client_secret),
        (Some("id"), "secret")
    );

    assert_eq!(
        options(&[("uri", "http://h"), ("token", "t")]).auth,
        AuthOptions::Token("t".to_owned())
    );
    let basic = [
        ("uri", "http://h"),
        ("rest.auth.type", "basic"),
        ("rest.auth.basic.username", "u"),
        ("rest.auth.basic.password", "p"),
    ];
    assert_eq!(
        options(&basic).auth,
        AuthOptions::Basic("u".to_owned(), "p".to_owned())
    );
}

#[test]
fn services_of_aws_by_region() {
    let tables = options(&[("type", "s3tables"), ("warehouse", ARN)]);
    assert_eq!(
        tables.uri,
        "https://s3tables.eu-west-1.amazonaws.com/iceberg"
    );
    let signed = |service: &str, region: &str| {
        AuthOptions::SigV4(SigV4Options {
            service: service.to_owned(),
            region: Some(region.to_owned()),
        })
    };
    assert_eq!(tables.auth, signed("s3tables", "eu-west-1"));
    assert!(tables.is_flat && tables.headers.is_empty() && !tables.wants_keys);

    let glue = [
        ("type", "rest"),
        ("warehouse", "123456789012"),
        ("rest.sigv4-enabled", "true"),
        ("rest.signing-name", "glue"),
        ("rest.signing-region", "cn-north-1"),
    ];
    assert_eq!(
        options(&glue).uri,
        "https://glue.cn-north-1.amazonaws.com.cn/iceberg"
    );
    assert_eq!(options(&glue).auth, signed("glue", "cn-north-1"));

    let elsewhere = options(&[
        ("type", "s3tables"),
        ("warehouse", ARN),
        ("uri", "http://127.0.0.1:9/iceberg"),
    ]);
    assert_eq!(elsewhere.uri, "http://127.0.0.1:9/iceberg");

    let gateway = [
        ("uri", "https://h"),
        ("rest.sigv4-enabled", "true"),
        ("client.region", "eu-west-1"),
    ];
    assert_eq!(options(&gateway).auth, signed("execute-api", "eu-west-1"));
    assert!(!options(&gateway).is_flat);
}

#[test]
fn what_is_wrong_is_named() {
    for (pairs, said) in [
        (
            &[("type", "rest")][..],
            "catalog lake: uri: is missing: it should look like https://",
        ),
        (
            &[("uri", "sqlite:///x")],
            "uri: is 'sqlite:///x': it should look like",
        ),
        (
            &[("type", "s3tables")],
            "rest.signing-region: is missing: s3tables has an endpoint in each region",
        ),
        (
            &[
                ("type", "s3tables"),
                ("warehouse", "lake"),
                ("client.region", "eu-west-1"),
            ],
            "warehouse: is 'lake': it should look like arn:aws:s3tables:",
        ),
        (
            &[
                ("uri", "http://h"),
                ("rest.sigv4-enabled", "true"),
                ("token", "t"),
            ],
            "token: can't be used together with rest.sigv4-enabled",
        ),
        (
            &[("uri", "http://h"), ("rest.sigv4-enabled", "perhaps")],
            "rest.sigv4-enabled: is 'perhaps'",
        ),
        (
            &[("uri", "http://h"), ("rest.auth.type", "kerberos")],
            "rest.auth.type: is 'kerberos': supported are",
        ),
        (
            &[("uri", "http://h"), ("rest.auth.type", "oauth2")],
            "credential: is missing: it should look like",
        ),
        (
            &[("uri", "http://h"), ("auth.type", "basic")],
            "rest.auth.basic.username: is missing",
        ),
        (
            &[("uri", "http://h"), ("rest-page-size", "many")],
            "rest-page-size: is 'many'",
        ),
        (
            &[
                ("uri", "http://h"),
                ("credential", "a:b"),
                ("oauth2-server-uri", "login"),
            ],
            "oauth2-server-uri: is 'login': it should look like https://",
        ),
    ] {
        let message = error(pairs);
        assert!(message.contains(said), "{message}");
    }
}
