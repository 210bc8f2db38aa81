//! Which field of a metadata file is wrong.
//!
//! The `iceberg` crate reads metadata as one of several forms, and says of one that fits none that it fits none. Here each
//! field is held against the specification (*Table Metadata Fields*, *Appendix C*), as strictly as Iceberg Java does.

use serde_json::Value;

/// What is wrong with a metadata file of format version `version`, for people, with the path of the field; `None` where
/// every field by itself is as it should be.
pub(super) fn first_fault(metadata: &Value, version: u64) -> Option<String> {
    let whole = At {
        path: String::new(),
        value: metadata,
    };
    check(&whole, version).err()
}

type Checked = Result<(), String>;

/// A value, and where it stands.
struct At<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> At<'a> {
    fn wrong(&self, expected: &str) -> String {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(number) if number.is_f64() => "a fraction",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        match self.path.as_str() {
            "" => format!("expected {expected}, found {found}"),
            path => format!("{path}: expected {expected}, found {found}"),
        }
    }

    fn at(&self, key: &str, value: &'a Value) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        Self { path, value }
    }

    fn object(&self) -> Checked {
        match self.value.is_object() {
            true => Ok(()),
            false => Err(self.wrong("an object")),
        }
    }

    fn string(&self) -> Result<&'a str, String> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    fn long(&self) -> Result<i64, String> {
        self.value.as_i64().ok_or_else(|| self.wrong("a number"))
    }

    fn int(&self) -> Result<i32, String> {
        i32::try_from(self.long()?)
            .map_err(|_| format!("{}: {} is no 32-bit number", self.path, self.value))
    }

    fn boolean(&self) -> Checked {
        let boolean = self.value.as_bool();
        boolean.map(drop).ok_or_else(|| self.wrong("a boolean"))
    }

    fn one_of(&self, known: &[&str]) -> Checked {
        let text = self.string()?;
        match known.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            true => Ok(()),
            false => Err(format!(
                "{}: '{text}' is none of {}",
                self.path,
                known.join(", ")
            )),
        }
    }

    fn items(&self) -> Result<impl Iterator<Item = At<'a>>, String> {
        let items = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let path = self.path.clone();
        Ok(items.iter().enumerate().map(move |(index, value)| At {
            path: format!("{path}[{index}]"),
            value,
        }))
    }

    /// Every item is as `item` wants it.
    fn each(&self, item: impl Fn(&At<'a>) -> Checked) -> Checked {
        for at in self.items()? {
            item(&at)?;
        }
        Ok(())
    }

    fn entries(&self) -> Result<impl Iterator<Item = (&'a str, At<'a>)>, String> {
        self.object()?;
        let entries = self.value.as_object().into_iter().flatten();
        Ok(entries.map(|(key, value)| (key.as_str(), self.at(key, value))))
    }

    fn strings_by_name(&self) -> Checked {
        for (_, at) in self.entries()? {
            at.string()?;
        }
        Ok(())
    }

    /// The field, where it is there.
    fn has(&self, key: &str) -> Option<At<'a>> {
        self.value.get(key).map(|value| self.at(key, value))
    }

    /// The field, where it is there and not null.
    fn may(&self, key: &str) -> Option<At<'a>> {
        self.has(key).filter(|at| !at.value.is_null())
    }

    fn must(&self, key: &str) -> Result<At<'a>, String> {
        self.object()?;
        self.has(key).ok_or_else(|| match self.path.as_str() {
            "" => format!("{key}: missing"),
            path => format!("{path}.{key}: missing"),
        })
    }

    fn may_int(&self, key: &str) -> Checked {
        self.may(key).map_or(Ok(()), |at| at.int().map(drop))
    }

    fn may_long(&self, key: &str) -> Checked {
        self.may(key).map_or(Ok(()), |at| at.long().map(drop))
    }

    fn may_string(&self, key: &str) -> Checked {
        self.may(key).map_or(Ok(()), |at| at.string().map(drop))
    }
}

fn check(whole: &At<'_>, version: u64) -> Checked {
    let later = version > 1;
    match whole.has("table-uuid") {
        Some(uuid) if later || !uuid.value.is_null() => {
            let text = uuid.string()?;
            if uuid::Uuid::try_parse(text).is_err() {
                return Err(format!("table-uuid: '{text}' is no UUID"));
            }
        }
        None if later => return Err("table-uuid: missing".to_owned()),
        _ => {}
    }
    whole.must("location")?.string()?;
    if later {
        whole.must("last-sequence-number")?.long()?;
    }
    whole.must("last-updated-ms")?.long()?;
    whole.must("last-column-id")?.int()?;
    check_schemas(whole, later)?;
    check_specs(whole, later)?;
    check_orders(whole, later)?;
    if let Some(properties) = whole.has("properties") {
        properties.strings_by_name()?;
    }
    if version > 2 {
        whole.must("next-row-id")?.long()?;
    }
    check_history(whole)?;
    if let Some(statistics) = whole.has("statistics") {
        statistics.each(|file| {
            file.must("snapshot-id")?.long()?;
            file.must("statistics-path")?.string()?;
            file.must("file-size-in-bytes")?.long()?;
            file.must("file-footer-size-in-bytes")?.long()?;
            file.must("blob-metadata")?.each(|blob| {
                blob.must("type")?.string()?;
                blob.must("snapshot-id")?.long()?;
                blob.must("sequence-number")?.long()?;
                blob.must("fields")?.each(|id| id.int().map(drop))?;
                blob.may("properties")
                    .map_or(Ok(()), |at| at.strings_by_name())
            })
        })?;
    }
    if let Some(statistics) = whole.has("partition-statistics") {
        statistics.each(|file| {
            file.must("snapshot-id")?.long()?;
            file.must("statistics-path")?.string()?;
            file.must("file-size-in-bytes")?.long().map(drop)
        })?;
    }
    if let Some(keys) = whole.may("encryption-keys") {
        keys.each(|key| {
            key.must("key-id")?.string()?;
            key.must("encrypted-key-metadata")?.string().map(drop)
        })?;
    }
    Ok(())
}

/// Fails where no item of `lists` has under `key` the number that the field `names` has.
fn check_named(whole: &At<'_>, names: &str, list: &str, key: &str) -> Checked {
    let named = whole.must(names)?;
    let wanted = named.long()?;
    for item in whole.must(list)?.items()? {
        if item.must(key)?.long()? == wanted {
            return Ok(());
        }
    }
    Err(format!("{names}: {wanted} is the {key} of none of {list}"))
}

fn check_schemas(whole: &At<'_>, later: bool) -> Checked {
    match whole.has("schemas") {
        Some(schemas) => {
            schemas.each(|schema| {
                if later {
                    schema.must("schema-id")?.int()?;
                }
                check_struct(schema)
            })?;
            match later || whole.may("current-schema-id").is_some() {
                true => check_named(whole, "current-schema-id", "schemas", "schema-id"),
                false => check_struct(&whole.must("schema")?),
            }
        }
        None if later => Err("schemas: missing".to_owned()),
        None => check_struct(&whole.must("schema")?),
    }
}

fn check_struct(at: &At<'_>) -> Checked {
    at.may_int("schema-id")?;
    if let Some(ids) = at.may("identifier-field-ids") {
        ids.each(|id| id.int().map(drop))?;
    }
    at.must("fields")?.each(|field| {
        field.must("id")?.int()?;
        field.must("name")?.string()?;
        field.must("required")?.boolean()?;
        field.may_string("doc")?;
        check_type(&field.must("type")?)
    })
}

fn check_type(at: &At<'_>) -> Checked {
    if let Some(name) = at.value.as_str() {
        // Whether it is known is said elsewhere, in other words.
        let digits = |text: &str| text.trim().parse::<u32>().is_ok();
        let inner = |open: char, close: char| {
            let inside = name.split_once(open)?.1.trim_end().strip_suffix(close)?;
            Some(inside.split(',').all(digits))
        };
        let is_right = match name {
            _ if name.starts_with("decimal") => inner('(', ')') == Some(true),
            _ if name.starts_with("fixed") => inner('[', ']') == Some(true),
            _ => true,
        };
        return match is_right {
            true => Ok(()),
            false => Err(format!("{}: '{name}' is no type", at.path)),
        };
    }
    if !at.value.is_object() {
        return Err(at.wrong("a type, by name or as an object"));
    }
    let kind = at.must("type")?;
    kind.one_of(&["struct", "list", "map"])?;
    match kind.string()? {
        "struct" => check_struct(at),
        "list" => {
            at.must("element-id")?.int()?;
            at.must("element-required")?.boolean()?;
            check_type(&at.must("element")?)
        }
        _ => {
            at.must("key-id")?.int()?;
            at.must("value-id")?.int()?;
            at.must("value-required")?.boolean()?;
            check_type(&at.must("key")?)?;
            check_type(&at.must("value")?)
        }
    }
}

fn check_specs(whole: &At<'_>, later: bool) -> Checked {
    let fields = |fields: &At<'_>| {
        fields.each(|field| {
            field.must("name")?.string()?;
            field.must("transform")?.string()?;
            if later {
                field.must("field-id")?.int()?;
            }
            field.may_int("field-id")?;
            match field.has("source-ids") {
                Some(sources) => sources.each(|id| id.int().map(drop)),
                None => field.must("source-id")?.int().map(drop),
            }
        })
    };
    match whole.has("partition-specs") {
        Some(specs) => {
            specs.each(|spec| {
                spec.must("spec-id")?.int()?;
                fields(&spec.must("fields")?)
            })?;
            if later || whole.may("default-spec-id").is_some() {
                check_named(whole, "default-spec-id", "partition-specs", "spec-id")?;
            }
        }
        None if later => return Err("partition-specs: missing".to_owned()),
        None => {
            if let Some(spec) = whole.may("partition-spec") {
                fields(&spec)?;
            }
        }
    }
    match later {
        true => whole.must("last-partition-id")?.int().map(drop),
        false => whole.may_int("last-partition-id"),
    }
}

fn check_orders(whole: &At<'_>, later: bool) -> Checked {
    let Some(orders) = whole.has("sort-orders") else {
        return match later {
            true => Err("sort-orders: missing".to_owned()),
            false => Ok(()),
        };
    };
    orders.each(|order| {
        order.must("order-id")?.long()?;
        order.must("fields")?.each(|field| {
            field.must("transform")?.string()?;
            field.must("direction")?.one_of(&["asc", "desc"])?;
            let nulls = field.must("null-order")?;
            nulls.one_of(&["nulls-first", "nulls-last"])?;
            match field.has("source-ids") {
                Some(sources) => sources.each(|id| id.int().map(drop)),
                None => field.must("source-id")?.int().map(drop),
            }
        })
    })?;
    whole.must("default-sort-order-id")?.long().map(drop)
}

/// Snapshots, and what points to them.
fn check_history(whole: &At<'_>) -> Checked {
    let mut ids = Vec::new();
    if let Some(snapshots) = whole.may("snapshots") {
        for snapshot in snapshots.items()? {
            ids.push(snapshot.must("snapshot-id")?.long()?);
            check_snapshot(&snapshot)?;
        }
    }
    if let Some(current) = whole.may("current-snapshot-id") {
        let id = current.long()?;
        if id != -1 && !ids.contains(&id) {
            return Err(format!(
                "current-snapshot-id: {id} is the snapshot-id of none of snapshots"
            ));
        }
    }
    if let Some(refs) = whole.has("refs") {
        for (_, reference) in refs.entries()? {
            let id = reference.must("snapshot-id")?.long()?;
            reference.must("type")?.one_of(&["branch", "tag"])?;
            reference.may_int("min-snapshots-to-keep")?;
            reference.may_long("max-snapshot-age-ms")?;
            reference.may_long("max-ref-age-ms")?;
            if !ids.contains(&id) {
                return Err(format!(
                    "{}.snapshot-id: {id} is the snapshot-id of none of snapshots",
                    reference.path
                ));
            }
        }
    }
    if let Some(log) = whole.may("snapshot-log") {
        log.each(|entry| {
            entry.must("snapshot-id")?.long()?;
            entry.must("timestamp-ms")?.long().map(drop)
        })?;
    }
    if let Some(log) = whole.may("metadata-log") {
        log.each(|entry| {
            entry.must("metadata-file")?.string()?;
            entry.must("timestamp-ms")?.long().map(drop)
        })?;
    }
    Ok(())
}

fn check_snapshot(snapshot: &At<'_>) -> Checked {
    snapshot.must("timestamp-ms")?.long()?;
    snapshot.may_long("sequence-number")?;
    if let Some(parent) = snapshot.has("parent-snapshot-id") {
        parent.long()?;
    }
    if let Some(summary) = snapshot.has("summary") {
        summary.strings_by_name()?;
    }
    snapshot.may_int("schema-id")?;
    snapshot.may_long("first-row-id")?;
    snapshot.may_long("added-rows")?;
    snapshot.may_string("key-id")?;
    match snapshot.has("manifest-list") {
        Some(list) => list.string().map(drop),
        None if snapshot.has("manifests").is_some() => snapshot
            .must("manifests")?
            .each(|path| path.string().map(drop)),
        None => snapshot.must("manifest-list").map(drop),
    }
}
