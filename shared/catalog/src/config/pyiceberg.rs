//! PyIceberg's configuration as PyIceberg reads it: one YAML file, with the environment laid over it.
//!
//! In `PYICEBERG_CATALOG__NAME__S3__ENDPOINT` a double underscore separates levels (`catalog`, the name, the rest of the
//! key, where it becomes a dot), a single one becomes a hyphen. Case does not matter, so everything is lower case, save for
//! a catalog's name as the file spells it.

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

use super::{
    ConfigurationError, Sources,
    values::{Values, yaml_list, yaml_text},
};

const PREFIX: &str = "pyiceberg_";
const ENVIRONMENT: &str = "the environment";

/// What PyIceberg is configured with.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// By name: where it comes from, and its properties.
    pub(super) catalogs: BTreeMap<String, (String, Values)>,
    pub(super) default_catalog: Option<String>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn catalogs(sources: &Sources) -> Result<Found, ConfigurationError> {
    let mut found = Found::default();
    if let Some(file) = &sources.pyiceberg {
        let invalid = |message: String| ConfigurationError::File {
            file: file.path.clone(),
            message,
        };
        let yaml: Value = serde_yaml_ng::from_str(&file.content)
            // Where, and not what: the words of the error may be the file's own.
            .map_err(|error| match error.location() {
                Some(at) => invalid(format!(
                    "it is not valid YAML: line {}, column {}",
                    at.line(),
                    at.column()
                )),
                None => invalid("it is not valid YAML".to_owned()),
            })?;
        read_file(&file.path.display().to_string(), &yaml, &mut found).map_err(invalid)?;
    }
    for (variable, value) in &sources.environment {
        lay_over(variable, value, &mut found);
    }
    Ok(found)
}

fn read_file(origin: &str, yaml: &Value, found: &mut Found) -> Result<(), String> {
    let Value::Mapping(settings) = yaml else {
        return Err("it should be a map with the key 'catalog'".to_owned());
    };
    for (key, value) in settings {
        match yaml_text(key).unwrap_or_default().to_lowercase().as_str() {
            "default-catalog" => found.default_catalog = yaml_text(value),
            "catalog" => read_catalogs(origin, value, found)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_catalogs(origin: &str, yaml: &Value, found: &mut Found) -> Result<(), String> {
    let Value::Mapping(catalogs) = yaml else {
        return Err("catalog: should be a map from names to properties".to_owned());
    };
    for (name, properties) in catalogs {
        let name = yaml_text(name).unwrap_or_default();
        let Value::Mapping(properties) = properties else {
            return Err(format!("catalog: {name}: should be a map of properties"));
        };
        let mut values = Values::new();
        for (key, value) in properties {
            let key = yaml_text(key).unwrap_or_default().to_lowercase();
            flatten(&key, value, &mut values).map_err(|key| {
                format!("catalog: {name}: {key}: should be text, a number, true or false")
            })?;
        }
        found.catalogs.insert(name, (origin.to_owned(), values));
    }
    Ok(())
}

/// `auth: {type: oauth2}` is `auth.type` here. The error is the key whose value makes no property.
fn flatten(key: &str, value: &Value, values: &mut Values) -> Result<(), String> {
    match (value, yaml_text(value).or_else(|| yaml_list(value))) {
        (_, Some(text)) => {
            values.insert(key.to_owned(), text);
        }
        (Value::Null, None) => {}
        (Value::Mapping(inner), None) => {
            for (name, value) in inner {
                let name = yaml_text(name).unwrap_or_default().to_lowercase();
                flatten(&format!("{key}.{name}"), value, values)?;
            }
        }
        (_, None) => return Err(key.to_owned()),
    }
    Ok(())
}

fn lay_over(variable: &str, value: &str, found: &mut Found) {
    let variable = variable.to_lowercase();
    let Some(path) = variable.strip_prefix(PREFIX) else {
        return;
    };
    let parts: Vec<String> = path
        .splitn(3, "__")
        .map(|part| part.replace("__", ".").replace('_', "-"))
        .collect();
    match parts.as_slice() {
        [key] if key == "default-catalog" => found.default_catalog = Some(value.to_owned()),
        [kind, name, key] if kind == "catalog" => {
            let known = found
                .catalogs
                .keys()
                .find(|known| known.to_lowercase() == *name)
                .cloned();
            let (_, values) = found
                .catalogs
                .entry(known.unwrap_or_else(|| name.clone()))
                .or_insert_with(|| (ENVIRONMENT.to_owned(), Values::new()));
            values.insert(key.clone(), value.to_owned());
        }
        [kind, ..] if kind == "catalog" => found.warnings.push(format!(
            "{ENVIRONMENT}: {} names no property of a catalog: it should look like PYICEBERG_CATALOG__PROD__URI",
            variable.to_uppercase()
        )),
        // PYICEBERG_HOME, PYICEBERG_MAX_WORKERS and the like are PyIceberg's own affair.
        _ => {}
    }
}
