//! Which names of properties mean something here.
//!
//! Iceberg's properties are open-ended: engines and their file systems have hundreds, and a file that several clients share
//! has those of all. So there a name that is not known is let be, with a word where it is a slip of one that is; our own
//! names are ours to refuse, and so are slips of what protects. In `icepress.toml`, which nobody else reads, all that nothing
//! reads is refused, unless it is of a family that others read and may have been copied from their files.

use super::{CatalogProperties, ConfigurationError, nearest, nearest::unknown};

/// What is read, of a catalog of some kind or other.
const KNOWN: [&str; 74] = [
    "allowed-endpoints",
    "allowed-locations",
    "audience",
    "auth.basic.password",
    "auth.basic.username",
    "auth.oauth2.client-id",
    "auth.oauth2.client-secret",
    "auth.oauth2.scope",
    "auth.oauth2.token-url",
    "auth.type",
    "catalog-impl",
    "catalog-name",
    "client.access-key-id",
    "client.assume-role.arn",
    "client.assume-role.external-id",
    "client.assume-role.region",
    "client.assume-role.session-name",
    "client.assume-role.timeout-sec",
    "client.region",
    "client.role-arn",
    "client.role-session-name",
    "client.secret-access-key",
    "client.session-token",
    "credential",
    "dynamodb.endpoint",
    "dynamodb.region",
    "dynamodb.table-name",
    "glue.catalog-id",
    "glue.endpoint",
    "glue.id",
    "glue.region",
    "icepress.commit-lock",
    "jdbc.password",
    "jdbc.user",
    "lock-impl",
    "lock.acquire-interval-ms",
    "lock.acquire-timeout-ms",
    "lock.heartbeat-interval-ms",
    "lock.heartbeat-threads",
    "lock.heartbeat-timeout-ms",
    "lock.table",
    "namespace-separator",
    "oauth2-server-uri",
    "prefix",
    "resource",
    "rest-page-size",
    "rest.access-key-id",
    "rest.auth.basic.password",
    "rest.auth.basic.username",
    "rest.auth.type",
    "rest.secret-access-key",
    "rest.session-token",
    "rest.signing-name",
    "rest.signing-region",
    "rest.sigv4-enabled",
    "s3.access-key-id",
    "s3.acl",
    "s3.endpoint",
    "s3.force-virtual-addressing",
    "s3.path-style-access",
    "s3.region",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.sse.key",
    "s3.sse.md5",
    "s3.sse.type",
    "s3.write.storage-class",
    "s3tables.endpoint",
    "scope",
    "table-name",
    "token",
    "type",
    "uri",
    "warehouse",
];
/// Names of others that are near to one of ours, and right.
const OF_OTHERS: [&str; 6] = [
    "name",
    "init-catalog-tables",
    "jdbc.schema-version",
    "gcs.region",
    "s3.signer",
    "s3.signer.uri",
];
/// What a catalog may be kept from. Whoever misspells one of these is told, or what was forbidden is done.
const PROTECTING: [&str; 2] = ["allowed-endpoints", "allowed-locations"];
/// What names of others begin with, for Java's and PyIceberg's catalogs and file systems.
const FAMILIES: [&str; 26] = [
    "adls",
    "app-id",
    "auth",
    "cache",
    "client",
    "clients",
    "dynamodb",
    "ecs",
    "gcs",
    "glue",
    "hadoop",
    "hdfs",
    "header",
    "hf",
    "hive",
    "http-client",
    "jdbc",
    "kms",
    "lock",
    "oss",
    "rest",
    "s3",
    "s3tables",
    "ssl",
    "table-default",
    "table-override",
];
/// Names of others that are of no family.
const ALONE: [&str; 26] = [
    "cache-enabled",
    "catalog-type",
    "downcast-ns-timestamp-to-us-on-write",
    "echo",
    "encryption.kms-impl",
    "encryption.kms-type",
    "hadoop-conf-dir",
    "hive-conf-dir",
    "init_catalog_tables",
    "io-impl",
    "io.manifest.cache-enabled",
    "locality-enabled",
    "metrics-reporter-impl",
    "pool_pre_ping",
    "property-version",
    "py-catalog-impl",
    "py-io-impl",
    "rest-metrics-reporting-enabled",
    "rest-scan-planning-enabled",
    "snapshot-loading-mode",
    "suppress-permission-error",
    "token-exchange-enabled",
    "token-expires-in-ms",
    "token-refresh-enabled",
    "user",
    "view-endpoints-supported",
];
/// What all of ours begin with.
const OURS: &str = "icepress.";

impl CatalogProperties {
    /// Refuses what only Icepress could read, and does not.
    pub fn check(&self) -> Result<(), ConfigurationError> {
        let ours: Vec<&str> = KNOWN
            .into_iter()
            .filter(|known| known.starts_with(OURS))
            .collect();
        for key in self.keys().filter(|key| !is_read(key)) {
            if key.starts_with(OURS) {
                return Err(self.wrong(key, unknown(key, &ours)));
            }
            if nearest(key, PROTECTING).is_some() {
                return Err(self.wrong(key, unknown(key, &PROTECTING)));
            }
        }
        Ok(())
    }

    /// Refuses what nothing reads, for a catalog of `icepress.toml`.
    pub fn check_own(&self) -> Result<(), ConfigurationError> {
        self.check()?;
        for key in self.keys().filter(|key| !is_read(key)) {
            // PyIceberg's own names below this have both.
            let is_other_way = !key.starts_with("auth.") && is_read(&key.replace('_', "-"));
            let slip = self.slips().find(|(slip, _)| *slip == key);
            if is_other_way || slip.is_some() || !is_of_others(key) {
                let near = slip.map_or_else(|| KNOWN.to_vec(), |(_, right)| vec![right]);
                let near = nearest(key, near);
                return Err(self.wrong(key, unknown(key, near.as_slice())));
            }
        }
        Ok(())
    }

    /// The names that are nearly one that is read, with the one.
    pub(super) fn slips(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.keys().filter_map(|key| {
            // Python's way to write them is known as well.
            let is_known = KNOWN.contains(&key) || KNOWN.contains(&key.replace('_', "-").as_str());
            if is_known || OF_OTHERS.contains(&key) {
                return None;
            }
            let near = nearest(key, KNOWN)?;
            // Two names of one length in different families are seldom one another's slips.
            (strsim::damerau_levenshtein(key, near) <= 2 && key.len() > 2).then_some((key, near))
        })
    }
}

fn is_read(key: &str) -> bool {
    KNOWN.contains(&key) || key.starts_with("icepress.commit-lock.")
}

fn is_of_others(key: &str) -> bool {
    let family = key.split_once('.').map_or(key, |(family, _)| family);
    OF_OTHERS.contains(&key) || ALONE.contains(&key) || FAMILIES.contains(&family)
}

#[cfg(test)]
mod tests {
    use icepress_model::CatalogName;

    use super::*;

    fn of(key: &str) -> CatalogProperties {
        CatalogProperties::of(CatalogName::from("c"), [(key.to_owned(), "x".to_owned())])
    }

    #[test]
    fn what_is_read_is_no_slip_and_neither_are_others_names() {
        for key in KNOWN.into_iter().chain(OF_OTHERS).chain([
            "io-impl",
            "py-io-impl",
            "cache-enabled",
            "s3.access-points.lake",
            "s3.write.tags.team",
            "s3.proxy-uri",
            "s3.connect-timeout",
            "s3.delete-enabled",
            "s3.checksum-enabled",
            "s3.acceleration-enabled",
            "adls.account-name",
            "header.X-Iceberg-Access-Delegation",
            "hive.hive2-compatible",
            "auth.oauth2.client_id",
            "clients",
            "ssl",
        ]) {
            assert_eq!(of(key).slips().count(), 0, "{key}");
        }
    }

    #[test]
    fn slips_are_told_with_the_right_name() {
        for (key, right) in [
            ("wharehouse", "warehouse"),
            ("url", "uri"),
            ("credentials", "credential"),
            ("client.regoin", "client.region"),
            ("s3.sse.typ", "s3.sse.type"),
        ] {
            assert_eq!(of(key).slips().collect::<Vec<_>>(), [(key, right)]);
            assert!(of(key).check().is_ok());
        }
        let error = of("icepress.commit-lok").check().unwrap_err().to_string();
        assert!(
            error.contains("did you mean 'icepress.commit-lock'"),
            "{error}"
        );
        assert!(of("icepress.commit-lock.db.table").check().is_ok());
    }

    #[test]
    fn what_protects_is_not_overlooked_in_any_file() {
        for (key, right) in [
            ("allowed-location", "allowed-locations"),
            ("allowed_locations", "allowed-locations"),
            ("Allowed-Endpoint", "allowed-endpoints"),
        ] {
            let error = of(key).check().unwrap_err().to_string();
            let meant = format!("did you mean '{right}'?");
            assert!(error.contains(&meant), "{error}");
        }
        assert!(of("allowed-locations").check().is_ok());
    }

    #[test]
    fn a_file_of_our_own_has_nothing_that_nobody_reads() {
        for (key, told) in [
            ("wharehouse", "did you mean 'warehouse'?"),
            ("client_region", "did you mean 'client.region'?"),
            ("rest_page_size", "did you mean 'rest-page-size'?"),
            ("s3.sse.kye", "did you mean 's3.sse.key'?"),
            ("colour", "nothing reads 'colour'"),
        ] {
            let error = of(key).check_own().unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert!(of(key).check().is_ok(), "{key}");
        }
        for key in KNOWN.into_iter().chain(OF_OTHERS).chain(ALONE).chain([
            "icepress.commit-lock.db.table",
            "header.X-Iceberg-Access-Delegation",
            "auth.oauth2.client_id",
            "s3.access-points.lake",
            "client.assume-role.tags.team",
            "ssl",
            "ssl.cabundle",
        ]) {
            assert!(of(key).check_own().is_ok(), "{key}");
        }
    }
}
