//! Values out of TOML and YAML as Iceberg's properties are: text under dotted names.

use std::collections::BTreeMap;

use super::ConfigurationError;

/// A catalog's properties.
pub(super) type Values = BTreeMap<String, String>;

/// The catalogs under `[catalog.NAME]`.
pub(super) fn toml_catalogs(
    origin: &str,
    catalogs: Option<toml::Value>,
) -> Result<BTreeMap<String, Values>, ConfigurationError> {
    let wrong = |key: String| ConfigurationError::Setting {
        origin: origin.to_owned(),
        key,
        message: "should be a section with the catalog's properties, as in [catalog.prod]"
            .to_owned(),
    };
    let catalogs = match catalogs {
        None => return Ok(BTreeMap::new()),
        Some(toml::Value::Table(catalogs)) => catalogs,
        Some(_) => return Err(wrong("catalog".to_owned())),
    };
    let mut found = BTreeMap::new();
    for (name, properties) in catalogs {
        let path = format!("catalog.{name}");
        let toml::Value::Table(properties) = properties else {
            return Err(wrong(path));
        };
        let mut values = Values::new();
        for (key, value) in properties {
            flatten_toml(origin, &path, &key, value, &mut values)?;
        }
        found.insert(name, values);
    }
    Ok(found)
}

/// `s3.endpoint = "…"` is a table in a table to TOML; to Iceberg it is a name with a dot.
fn flatten_toml(
    origin: &str,
    path: &str,
    key: &str,
    value: toml::Value,
    values: &mut Values,
) -> Result<(), ConfigurationError> {
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(value) => value.to_string(),
        toml::Value::Table(table) => {
            for (inner, value) in table {
                flatten_toml(origin, path, &format!("{key}.{inner}"), value, values)?;
            }
            return Ok(());
        }
        toml::Value::Array(items) if items.iter().all(is_item) => joined(
            items
                .iter()
                .filter_map(toml::Value::as_str)
                .map(str::to_owned),
        ),
        toml::Value::Array(_) | toml::Value::Datetime(_) => {
            return Err(ConfigurationError::Setting {
                origin: origin.to_owned(),
                key: format!("{path}.{key}"),
                message: "should be text, a number, true or false".to_owned(),
            });
        }
    };
    values.insert(key.to_owned(), text);
    Ok(())
}

/// Whether it may stand in a list: Iceberg has lists as texts parted by commas, so an item can't have one in it.
fn is_item(value: &toml::Value) -> bool {
    value.as_str().is_some_and(|text| !text.contains(','))
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

/// Text for a YAML list of texts, as Iceberg has lists; `None` for anything else.
pub(super) fn yaml_list(value: &serde_yaml_ng::Value) -> Option<String> {
    let items = value.as_sequence()?;
    let is_item =
        |item: &serde_yaml_ng::Value| item.as_str().is_some_and(|text| !text.contains(','));
    let texts = items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned));
    items.iter().all(is_item).then(|| joined(texts))
}

/// Text for a YAML scalar; `None` for an empty one.
pub(super) fn yaml_text(value: &serde_yaml_ng::Value) -> Option<String> {
    match value {
        serde_yaml_ng::Value::String(text) => Some(text.clone()),
        serde_yaml_ng::Value::Number(number) => Some(number.to_string()),
        serde_yaml_ng::Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
