//! Keys of AWS among a catalog's properties, as Java and PyIceberg name them: for all of the catalog's AWS (`client.…`), for
//! its tables' files (`s3.…`), or to sign requests to a REST server (`rest.…`). Where there are none, the chain finds them.
//!
//! Who says as whom to work is heard or refused: a catalog that is reached as somebody else than was asked for is read
//! and written with rights that nobody meant.

use icepress_storage::AccessKeys;

use super::{CatalogProperties, ConfigurationError};

const ID: &str = "access-key-id";
const SECRET: &str = "secret-access-key";
const TOKEN: &str = "session-token";

/// Whose keys a property may be.
const ALL: &str = "client";
const FILES: &str = "s3";
const SIGNING: &str = "rest";

impl CatalogProperties {
    /// The keys for all of this catalog's AWS; `None` where the chain's are used. Refuses every property that asks for
    /// another caller in a way that is not done.
    pub fn client_keys(&self) -> Result<Option<AccessKeys>, ConfigurationError> {
        for key in self.keys() {
            let Some((whose, what)) = key.rsplit_once('.') else {
                continue;
            };
            let help = match what {
                ID | SECRET | TOKEN if ![ALL, FILES, SIGNING].contains(&whose) => format!(
                    "is not supported: set client.{ID} and client.{SECRET}, which all of the catalog's AWS is reached with, or \
                     remove it, and the chain's are used (environment, profile, SSO, role)"
                ),
                "profile-name" => {
                    "is not supported: set AWS_PROFILE, or client.assume-role.arn for all of the catalog, instead"
                        .to_owned()
                }
                "role-arn" if whose != ALL => {
                    "is not supported: set client.assume-role.arn, which all of the catalog's AWS is reached as, instead"
                        .to_owned()
                }
                _ => continue,
            };
            return Err(self.wrong(key, help));
        }
        self.keys_of(ALL)
    }

    /// The keys for its tables' files, where these have their own.
    pub fn file_keys(&self) -> Result<Option<AccessKeys>, ConfigurationError> {
        self.keys_of(FILES)
    }

    /// The keys that requests to a REST server are signed with, where these are others.
    pub fn signing_keys(&self) -> Result<Option<AccessKeys>, ConfigurationError> {
        self.keys_of(SIGNING)
    }

    fn keys_of(&self, whose: &str) -> Result<Option<AccessKeys>, ConfigurationError> {
        let get = |what: &str| self.get(&format!("{whose}.{what}")).map(str::to_owned);
        let (id, secret, session_token) = (get(ID), get(SECRET), get(TOKEN));
        match (id, secret) {
            (Some(id), Some(secret)) => Ok(Some(AccessKeys {
                id,
                secret,
                session_token,
            })),
            (None, None) if session_token.is_none() => Ok(None),
            (id, _) => {
                let what = if id.is_none() { ID } else { SECRET };
                let message = format!("is missing: {ID} and {SECRET} belong together");
                Err(self.wrong(&format!("{whose}.{what}"), message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use icepress_model::CatalogName;

    use super::*;

    fn of(pairs: &[(&str, &str)]) -> CatalogProperties {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        CatalogProperties::of(CatalogName::from("c"), pairs)
    }

    #[test]
    fn keys_are_those_of_whom_they_name() {
        let both = of(&[
            ("client.access-key-id", "ALL"),
            ("client.secret-access-key", "hidden"),
            ("s3.access-key-id", "FILES"),
            ("s3.secret-access-key", "hidden"),
            ("s3.session-token", "hidden"),
        ]);
        let (all, files) = (both.client_keys().unwrap(), both.file_keys().unwrap());
        assert!(!format!("{all:?}{files:?}").contains("hidden"));
        let (all, files) = (all.unwrap(), files.unwrap());
        assert_eq!((all.id.as_str(), all.session_token), ("ALL", None));
        assert_eq!(files.id, "FILES");
        assert_eq!(files.session_token.as_deref(), Some("hidden"));
        assert_eq!(both.signing_keys().unwrap(), None);
        assert_eq!(of(&[]).client_keys().unwrap(), None);
    }

    #[test]
    fn half_a_pair_is_refused_by_the_name_that_is_missing() {
        for (given, missing) in [
            ("s3.access-key-id", "s3.secret-access-key"),
            ("s3.secret-access-key", "s3.access-key-id"),
            ("s3.session-token", "s3.access-key-id"),
        ] {
            let error = of(&[(given, "hidden")]).file_keys().unwrap_err();
            let said = error.to_string();
            assert!(said.contains(&format!("{missing}: is missing")), "{said}");
            assert!(!said.contains("hidden"), "{said}");
        }
    }

    #[test]
    fn another_caller_that_can_t_be_had_is_refused_with_what_to_do() {
        for (key, help) in [
            ("glue.access-key-id", "client.access-key-id"),
            ("dynamodb.secret-access-key", "client.access-key-id"),
            ("glue.session-token", "client.access-key-id"),
            ("glue.profile-name", "AWS_PROFILE"),
            ("client.profile-name", "AWS_PROFILE"),
            ("s3.role-arn", "client.assume-role.arn"),
        ] {
            let said = of(&[(key, "hidden")])
                .client_keys()
                .unwrap_err()
                .to_string();
            assert!(said.contains(&format!("{key}: is not supported")), "{said}");
            assert!(said.contains(help), "{said}");
            assert!(!said.contains("hidden"), "{said}");
        }
        let role = [("client.role-arn", "arn:aws:iam::123456789012:role/x")];
        assert_eq!(of(&role).client_keys().unwrap(), None);
    }
}
