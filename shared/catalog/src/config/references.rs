//! Properties that say where a secret is kept instead of what it is.

use std::fmt;

use super::{CatalogProperties, ConfigurationError};

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// `secret:ARN`, or `secret:ARN#FIELD` for one field of a JSON object: AWS Secrets Manager.
    Secret {
        /// ARN or name.
        id: String,
        /// A field of the object that the secret is.
        field: Option<String>,
    },
    /// `ssm:NAME`: a parameter of AWS Systems Manager.
    Parameter {
        /// Name or ARN.
        name: String,
    },
}

impl SecretReference {
    /// The reference that a property's value is, if it is one.
    fn of(value: &str) -> Option<Result<Self, &'static str>> {
        if let Some(id) = value.strip_prefix("secret:") {
            let (id, field) = match id.split_once('#') {
                Some((id, field)) => (id, Some(field.to_owned())),
                None => (id, None),
            };
            return Some(if id.is_empty() || field.as_deref() == Some("") {
                Err(
                    "should look like secret:arn:aws:secretsmanager:eu-west-1:123456789012:secret:NAME or secret:ARN#FIELD",
                )
            } else {
                Ok(Self::Secret {
                    id: id.to_owned(),
                    field,
                })
            });
        }
        let name = value.strip_prefix("ssm:")?;
        Some(if name.is_empty() {
            Err("should look like ssm:/prod/catalog/password")
        } else {
            Ok(Self::Parameter {
                name: name.to_owned(),
            })
        })
    }

    /// The region that an ARN names; `None` for what has only a name.
    pub fn region(&self) -> Option<&str> {
        let (Self::Secret { id, .. } | Self::Parameter { name: id }) = self;
        let region = id.strip_prefix("arn:")?.split(':').nth(2)?;
        (!region.is_empty()).then_some(region)
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { id, field: None } => write!(f, "secret:{id}"),
            Self::Secret {
                id,
                field: Some(field),
            } => write!(f, "secret:{id}#{field}"),
            Self::Parameter { name } => write!(f, "ssm:{name}"),
        }
    }
}

impl CatalogProperties {
    /// The properties whose values are kept elsewhere.
    pub fn secrets(&self) -> Result<Vec<(String, SecretReference)>, ConfigurationError> {
        let mut found = Vec::new();
        for (key, value) in &self.values {
            match SecretReference::of(value) {
                None => {}
                Some(Ok(reference)) => found.push((key.clone(), reference)),
                Some(Err(shape)) => return Err(self.wrong(key, shape.to_owned())),
            }
        }
        Ok(found)
    }

    /// The same with the secrets themselves, which nothing prints from then on.
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        for (key, value) in secrets {
            self.hidden.insert(key.clone());
            self.values.insert(key, value);
        }
        self
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

    const ARN: &str = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:lake-AbCdEf";

    #[test]
    fn references_are_found_wherever_they_stand() {
        let properties = of(&[
            ("credential", &format!("secret:{ARN}")),
            ("header.x-key", &format!("secret:{ARN}#key")),
            ("uri", "ssm:/prod/uri"),
            ("s3.secret-access-key", "ssm:/prod/s3"),
            ("warehouse", "s3://lake"),
        ]);
        let found = properties.secrets().unwrap();
        let told: Vec<String> = found
            .iter()
            .map(|(key, at)| format!("{key}={at}"))
            .collect();
        assert_eq!(
            told,
            [
                format!("credential=secret:{ARN}"),
                format!("header.x-key=secret:{ARN}#key"),
                "s3.secret-access-key=ssm:/prod/s3".to_owned(),
                "uri=ssm:/prod/uri".to_owned()
            ]
        );
        assert_eq!(found[0].1.region(), Some("eu-west-3"));
        assert_eq!(found[3].1.region(), None);
    }

    #[test]
    fn references_to_nothing_are_wrong() {
        for value in ["secret:", "secret:arn:x#", "ssm:"] {
            let error = of(&[("token", value)]).secrets().unwrap_err().to_string();
            assert!(error.contains("token: should look like"), "{error}");
        }
    }

    #[test]
    fn what_a_reference_came_to_is_never_shown() {
        let properties = of(&[("uri", "ssm:/prod/uri"), ("scope", "ssm:/prod/scope")]);
        let secrets = ["uri", "scope"].map(|key| (key.to_owned(), "hidden".to_owned()));
        let resolved = properties.with_secrets(secrets);
        assert_eq!(resolved.get("uri"), Some("hidden"));
        assert_eq!(resolved.secrets().unwrap(), []);
        assert!(!format!("{resolved:?}").contains("hidden"));
    }
}
