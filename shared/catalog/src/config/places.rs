//! Where a catalog's files may lie: on the kind of storage that its warehouse is on, and where `allowed-locations` says.

use icepress_storage::Reach;
use url::{Host, Url};

use super::{CatalogKind, CatalogProperties, ConfigurationError};

/// A list of places, parted by commas, that hold every file of the catalog.
pub(super) const ALLOWED_LOCATIONS: &str = "allowed-locations";

impl CatalogProperties {
    /// Where its tables' files may be read and written, whatever their metadata says. `has_disk` is whether there is a
    /// local disk at all: where Icepress is deployed there is none.
    ///
    /// The warehouse decides on the kind of storage. Where it does not say (there is none, or it is only a name), a
    /// catalog of this machine may have its files here as well. Places in `allowed-locations` are of their own kind.
    pub fn reach(&self, has_disk: bool) -> Result<Reach, ConfigurationError> {
        let places: Option<Vec<&str>> = self.get(ALLOWED_LOCATIONS).map(|text| {
            let places = text.split(',').map(str::trim);
            places.filter(|place| !place.is_empty()).collect()
        });
        let allows = |is_kind: fn(&str) -> bool| {
            let mut places = places.iter().flatten();
            places.any(|place| is_kind(place))
        };
        let warehouse = self.get("warehouse").unwrap_or_default();
        let (local, s3) = if is_local(warehouse) {
            (true, false)
        } else if is_on_s3(warehouse) {
            (false, true)
        } else {
            (self.is_of_this_machine(), true)
        };
        let local = has_disk && (local || allows(is_local));
        let reach = match (local, s3 || allows(is_on_s3)) {
            (true, true) => Reach::everywhere(),
            (true, false) => Reach::local(),
            // A local warehouse of what is deployed, too: what it asks for is refused with that reason.
            (false, _) => Reach::s3(),
        };
        match places {
            None => Ok(reach),
            Some(places) => reach.within(places).map_err(|error| {
                let message = format!(
                    "should be places parted by commas, like s3://lake/warehouse,s3://archive: {error}"
                );
                self.wrong(ALLOWED_LOCATIONS, message)
            }),
        }
    }

    /// Whether the catalog itself is a file of this machine, or a server on it.
    fn is_of_this_machine(&self) -> bool {
        let uri = self.get("uri").unwrap_or_default();
        match self.kind() {
            Ok(CatalogKind::Sql) => {
                let address = uri.strip_prefix("jdbc:").unwrap_or(uri);
                address.starts_with("sqlite")
            }
            Ok(CatalogKind::Rest) => match Url::parse(uri).ok().as_ref().and_then(Url::host) {
                Some(Host::Domain(name)) => name == "localhost",
                Some(Host::Ipv4(address)) => address.is_loopback(),
                Some(Host::Ipv6(address)) => address.is_loopback(),
                None => false,
            },
            _ => false,
        }
    }
}

fn is_local(location: &str) -> bool {
    location.starts_with('/') || has_scheme(location, &["file"])
}

fn is_on_s3(location: &str) -> bool {
    has_scheme(location, &["s3", "s3a", "s3n"]) || location.starts_with("arn:")
}

fn has_scheme(location: &str, schemes: &[&str]) -> bool {
    location.split_once(':').is_some_and(|(scheme, _)| {
        schemes
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use icepress_model::CatalogName;

    use super::*;

    const LOCAL: &str = "file:///w/x";
    const ON_S3: &str = "s3://lake/x";

    fn reach(pairs: &[(&str, &str)], has_disk: bool) -> Result<Reach, ConfigurationError> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        CatalogProperties::of(CatalogName::from("c"), pairs).reach(has_disk)
    }

    #[test]
    fn c58_the_warehouse_decides_where_files_may_lie() {
        let sqlite = ("uri", "sqlite:////w/catalog.db");
        let server = |uri| [("type", "rest"), ("uri", uri)];
        for (pairs, expected) in [
            (&[sqlite, ("warehouse", "file:///w")][..], Reach::local()),
            (&[sqlite, ("warehouse", "/w")], Reach::local()),
            (&[sqlite, ("warehouse", "s3a://lake/w")], Reach::s3()),
            (&[sqlite], Reach::everywhere()),
            (&[("uri", "jdbc:sqlite:/w/catalog.db")], Reach::everywhere()),
            (&[("uri", "postgresql://host/db")], Reach::s3()),
            (
                &[("uri", "postgresql://host/db"), ("warehouse", "file:/w")],
                Reach::local(),
            ),
            (&[("type", "glue")], Reach::s3()),
            (
                &[("type", "glue"), ("warehouse", "file:///w")],
                Reach::local(),
            ),
            (
                &[
                    ("type", "s3tables"),
                    ("warehouse", "arn:aws:s3tables:r:1:bucket/b"),
                ],
                Reach::s3(),
            ),
            (&server("http://127.0.0.1:8181"), Reach::everywhere()),
            (&server("http://localhost:8181/x"), Reach::everywhere()),
            (&server("http://[::1]:8181"), Reach::everywhere()),
            (&server("https://localhost.example.com"), Reach::s3()),
        ] {
            assert_eq!(reach(pairs, true), Ok(expected), "{pairs:?}");
            assert_eq!(reach(pairs, false), Ok(Reach::s3()), "deployed: {pairs:?}");
        }
    }

    #[test]
    fn c58_allowed_locations_are_all_that_is_allowed() {
        let both = format!(" {LOCAL} ,{ON_S3},");
        let glue = [("type", "glue"), ("allowed-locations", &*both)];
        let within = |reach: Reach| reach.within([LOCAL, ON_S3]).unwrap();
        assert_eq!(reach(&glue, true), Ok(within(Reach::everywhere())));
        assert_eq!(reach(&glue, false), Ok(within(Reach::s3())));
        let local = [
            ("uri", "sqlite:////c"),
            ("warehouse", "/w"),
            ("allowed-locations", "/w/a"),
        ];
        assert_eq!(
            reach(&local, true),
            Ok(Reach::local().within(["/w/a"]).unwrap())
        );
        let nothing = [("type", "glue"), ("allowed-locations", "")];
        assert_eq!(reach(&nothing, true), Ok(Reach::s3().within([]).unwrap()));
        let wrong = [("type", "glue"), ("allowed-locations", "lake/warehouse")];
        let error = reach(&wrong, true).unwrap_err().to_string();
        assert!(
            error.contains("allowed-locations") && error.contains("lake/warehouse"),
            "{error}"
        );
    }
}
