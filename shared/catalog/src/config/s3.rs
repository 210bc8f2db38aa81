//! How S3 is reached and written for a catalog's tables, as the properties of Iceberg's `S3FileIO` say it (Java's
//! `S3FileIOProperties`). What asks for something that is not done is refused: an object without its tags, or under
//! another key, is one that somebody's rules don't reach.

use icepress_storage::{Encryption, MOST_TAGS, S3Options, WriteAttributes};

use super::{CatalogProperties, ConfigurationError};

const SSE_TYPE: &str = "s3.sse.type";
const SSE_KEY: &str = "s3.sse.key";
const SSE_MD5: &str = "s3.sse.md5";
const ACL: &str = "s3.acl";
const TAGS: &str = "s3.write.tags.";
/// Tags that Java makes of a table's name, and that nothing makes here.
const NAME_TAGS: [&str; 2] = [
    "s3.write.table-tag-enabled",
    "s3.write.namespace-tag-enabled",
];

impl CatalogProperties {
    /// How S3 is reached and written for this catalog's tables.
    pub fn s3_options(&self) -> Result<S3Options, ConfigurationError> {
        let path_style = match self.boolean("s3.path-style-access")? {
            Some(path_style) => Some(path_style),
            None => self
                .boolean("s3.force-virtual-addressing")?
                .map(|virtual_host| !virtual_host),
        };
        let mut options = S3Options {
            endpoint: self.get("s3.endpoint").map(str::to_owned),
            region: self.first(&["s3.region", "client.region"]),
            path_style,
            attributes: self.write_attributes()?,
            ..S3Options::default()
        };
        if let Some(class) = self.get("s3.write.storage-class") {
            options.storage_class = Some(class.to_owned());
        } else if self.lies_in_table_buckets() {
            options.storage_class = None;
        }
        Ok(options)
    }

    fn write_attributes(&self) -> Result<WriteAttributes, ConfigurationError> {
        let tags: Vec<(String, String)> = self
            .beginning_with(TAGS)
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        if tags.len() > MOST_TAGS {
            let message = format!(
                "there are {} tags: S3 takes {MOST_TAGS} of an object",
                tags.len()
            );
            return Err(self.wrong(TAGS.trim_end_matches('.'), message));
        }
        for key in NAME_TAGS {
            if self.boolean(key)? == Some(true) {
                let message = "is not supported: tags are what s3.write.tags.NAME says; remove it to have \
                               files written without this one";
                return Err(self.wrong(key, message.to_owned()));
            }
        }
        let acl = self.get(ACL).map(str::to_lowercase);
        if let Some(acl) = &acl
            && !WriteAttributes::known_acls().contains(&acl.as_str())
        {
            let known = WriteAttributes::known_acls().join(", ");
            return Err(self.wrong(ACL, format!("is '{acl}': known are {known}")));
        }
        Ok(WriteAttributes {
            encryption: self.encryption()?,
            acl,
            tags,
        })
    }

    fn encryption(&self) -> Result<Encryption, ConfigurationError> {
        let key = self.get(SSE_KEY).map(str::to_owned);
        let md5 = self.get(SSE_MD5).map(str::to_owned);
        let kind = self.get(SSE_TYPE).map(str::to_lowercase);
        let missing =
            |name: &str| self.wrong(name, "is missing, and s3.sse.type is custom".to_owned());
        match kind.as_deref() {
            // A key alone says nothing to Java either; here it would be a wish that nobody hears.
            None | Some("none") if key.is_some() || md5.is_some() => {
                let name = if key.is_some() { SSE_KEY } else { SSE_MD5 };
                Err(self.wrong(name, format!("is set, and {SSE_TYPE} says that there is no key: set it to kms, dsse-kms or custom")))
            }
            None | Some("none") => Ok(Encryption::OfBucket),
            Some("s3") => Ok(Encryption::S3),
            Some("kms") => Ok(Encryption::Kms(key)),
            Some("dsse-kms") => Ok(Encryption::DualKms(key)),
            Some("custom") => Ok(Encryption::Custom {
                key: key.ok_or_else(|| missing(SSE_KEY))?,
                md5: md5.ok_or_else(|| missing(SSE_MD5))?,
            }),
            Some(other) => Err(self.wrong(
                SSE_TYPE,
                format!("is '{other}': known are none, s3, kms, dsse-kms and custom"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use icepress_model::CatalogName;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Result<S3Options, String> {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        CatalogProperties::of(CatalogName::from("c"), pairs)
            .s3_options()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_s3fileio_writes_besides_the_content_is_read() {
        let attributes = |pairs: &[(&str, &str)]| options(pairs).unwrap().attributes;
        assert_eq!(attributes(&[]), WriteAttributes::default());
        let (key, some_key) = (("s3.sse.key", "k"), || Some("k".to_owned()));
        for (pairs, expected) in [
            (&[("s3.sse.type", "none")][..], Encryption::OfBucket),
            (&[("s3.sse.type", "S3")], Encryption::S3),
            (&[("s3.sse.type", "kms")], Encryption::Kms(None)),
            (&[("s3.sse.type", "kms"), key], Encryption::Kms(some_key())),
            (
                &[("s3.sse.type", "dsse-kms"), key],
                Encryption::DualKms(some_key()),
            ),
            (
                &[("s3.sse.type", "custom"), key, ("s3.sse.md5", "m")],
                Encryption::Custom {
                    key: "k".to_owned(),
                    md5: "m".to_owned(),
                },
            ),
        ] {
            assert_eq!(attributes(pairs).encryption, expected, "{pairs:?}");
        }
        let told = attributes(&[
            ("s3.acl", "bucket-owner-full-control"),
            ("s3.write.tags.team", "ice"),
        ]);
        assert_eq!(told.acl.as_deref(), Some("bucket-owner-full-control"));
        assert_eq!(told.tags, [("team".to_owned(), "ice".to_owned())]);
        let custom = [
            ("s3.sse.type", "custom"),
            ("s3.sse.key", "hidden"),
            ("s3.sse.md5", "hidden"),
        ];
        assert!(!format!("{:?}", options(&custom).unwrap()).contains("hidden"));
    }

    #[test]
    fn what_is_not_done_is_refused_by_its_name() {
        let eleven: Vec<String> = (0..11).map(|tag| format!("s3.write.tags.t{tag}")).collect();
        let eleven: Vec<(&str, &str)> = eleven.iter().map(|key| (key.as_str(), "x")).collect();
        for (pairs, expected) in [
            (
                &[("s3.sse.type", "rot13")][..],
                "s3.sse.type: is 'rot13': known are none, s3",
            ),
            (&[("s3.sse.type", "custom")], "s3.sse.key: is missing"),
            (
                &[("s3.sse.type", "custom"), ("s3.sse.key", "k")],
                "s3.sse.md5: is missing",
            ),
            (&[("s3.sse.key", "k")], "s3.sse.key: is set"),
            (
                &[("s3.acl", "everybody")],
                "s3.acl: is 'everybody': known are",
            ),
            (
                &[("s3.write.table-tag-enabled", "true")],
                "s3.write.table-tag-enabled: is not supported",
            ),
            (&eleven, "s3.write.tags: there are 11"),
        ] {
            let error = options(pairs).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
