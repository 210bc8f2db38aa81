//! Addresses that a server may send us to. It may say in its configuration and with each table where the catalog, its
//! tokens and the files are; followed blindly, that would carry credentials and rows to wherever it pleases whoever wrote
//! it.

use std::collections::BTreeSet;

use icepress_catalog::config::{CatalogProperties, ConfigurationError};
use icepress_model::without_login;
use url::{Origin, Url};

/// A list of addresses, parted by commas, that the server may name besides those that the user named.
pub(crate) const ALLOWED_ENDPOINTS: &str = "allowed-endpoints";

/// The servers that may be reached for one catalog: scheme, host and port count.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints(BTreeSet<String>);

impl Endpoints {
    /// What the user named, `uri` and whatever else there is.
    pub(crate) fn new(
        properties: &CatalogProperties,
        uri: &str,
    ) -> Result<Self, ConfigurationError> {
        let own = ["s3.endpoint", "oauth2-server-uri"];
        let own = own.into_iter().filter_map(|key| properties.get(key));
        let mut found: BTreeSet<String> = own.chain([uri]).filter_map(origin).collect();
        let allowed = properties.get(ALLOWED_ENDPOINTS).unwrap_or_default();
        for address in allowed
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            let Some(origin) = origin(address) else {
                let message =
                    "should be addresses parted by commas, like https://minio.example.com:9000";
                return Err(properties.wrong(ALLOWED_ENDPOINTS, message.to_owned()));
            };
            found.insert(origin);
        }
        Ok(Self(found))
    }

    /// Whether the server may send us there. The error says what to do about it, for people.
    pub(crate) fn check(&self, what: &str, address: &str) -> Result<(), String> {
        match origin(address) {
            Some(origin) if self.0.contains(&origin) || is_s3_of_aws(address) => Ok(()),
            _ => Err(format!(
                "the server moves {what} to {}: it is not followed there; if it should be, add that address to \
                 {ALLOWED_ENDPOINTS}",
                without_login(address)
            )),
        }
    }
}

fn origin(address: &str) -> Option<String> {
    match Url::parse(address).ok()?.origin() {
        origin @ Origin::Tuple(..) => Some(origin.ascii_serialization()),
        Origin::Opaque(_) => None,
    }
}

/// S3 itself, where files go that nobody says anything about.
fn is_s3_of_aws(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let name = [".amazonaws.com", ".amazonaws.com.cn"]
        .into_iter()
        .find_map(|domain| host.strip_suffix(domain));
    let service = name.and_then(|name| name.split('.').next());
    url.scheme() == "https" && matches!(service, Some("s3" | "s3-fips" | "s3-accelerate"))
}

#[cfg(test)]
mod tests {
    use icepress_model::CatalogName;

    use super::*;

    fn endpoints(pairs: &[(&str, &str)]) -> Result<Endpoints, ConfigurationError> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let properties = CatalogProperties::of(CatalogName::from("c"), pairs);
        Endpoints::new(&properties, "https://catalog.example.com/iceberg")
    }

    #[test]
    fn a_server_may_name_what_the_user_named_and_s3_itself() {
        let some = endpoints(&[
            ("s3.endpoint", "http://minio:9000"),
            (
                "allowed-endpoints",
                "https://login.example.com, http://other:1/x",
            ),
        ])
        .unwrap();
        for address in [
            "https://catalog.example.com/elsewhere",
            "https://catalog.example.com:443",
            "http://minio:9000/",
            "https://login.example.com/token",
            "http://other:1",
            "https://s3.eu-west-1.amazonaws.com",
            "https://s3.cn-north-1.amazonaws.com.cn",
        ] {
            assert_eq!(some.check("x", address), Ok(()), "{address}");
        }
        for address in [
            "http://catalog.example.com/iceberg",
            "https://catalog.example.com:8443",
            "https://catalog.example.com.evil.org",
            "https://catalog.example.com@evil.org/",
            "http://minio:9001",
            "http://s3.eu-west-1.amazonaws.com",
            "https://s3.evil.org",
            "https://evil-s3.amazonaws.com.evil.org",
            "https://execute-api.eu-west-1.amazonaws.com",
            "file:///etc/passwd",
            "nonsense",
        ] {
            assert!(
                some.check("x", address)
                    .unwrap_err()
                    .contains("allowed-endpoints"),
                "{address}"
            );
        }
        let error = endpoints(&[("allowed-endpoints", "minio")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("allowed-endpoints: should be addresses"),
            "{error}"
        );
    }
}
