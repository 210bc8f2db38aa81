//! What a name that nothing reads was probably meant to be.

/// The one of `known` that `name` is most like, unless none is like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, known), known))
        // A third of the letters may be wrong: with more, most short words are like each other.
        .filter(|(distance, known)| distance * 3 <= known.chars().count().max(3))
        .min()
        .map(|(_, known)| known)
}

/// What to tell whoever wrote `name` where only `known` have a meaning.
pub fn unknown(name: &str, known: &[&str]) -> String {
    match (nearest(name, known.iter().copied()), known) {
        (Some(near), _) => format!("nothing reads '{name}': did you mean '{near}'?"),
        (None, []) => format!("nothing reads '{name}'"),
        (None, known) => format!("nothing reads '{name}': known are {}", known.join(", ")),
    }
}

/// The words of serde about a field that it does not know, which list those that it knows, with the one that was meant;
/// `None` where it says something else.
pub fn unknown_field(message: &str) -> Option<String> {
    let (name, rest) = message.strip_prefix("unknown field `")?.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2);
    Some(match nearest(name, known) {
        Some(near) => format!("{message}: did you mean '{near}'?"),
        None => message.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_a_slip_would_turn_into_it() {
        let known = ["limits", "catalog", "plan"];
        for (name, expected) in [
            ("limit", Some("limits")),
            ("catalgo", Some("catalog")),
            ("Catalogs", Some("catalog")),
            ("plans", Some("plan")),
            ("runs", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(
            nearest("max_dollar_a_month", ["max-dollars-a-month"]),
            Some("max-dollars-a-month")
        );
    }

    #[test]
    fn serde_s_words_for_an_unknown_field_are_understood() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only the names of its fields matter")]
        struct Known {
            first: u32,
            second: u32,
        }
        let said = |json: &str| {
            let error = serde_json::from_str::<Known>(json).unwrap_err();
            unknown_field(&error.to_string())
        };
        assert_eq!(
            said(r#"{"frist": 1}"#).unwrap(),
            "unknown field `frist`, expected `first` or `second` at line 1 column 8: did you mean 'first'?"
        );
        assert_eq!(
            said(r#"{"other": 1}"#).unwrap(),
            "unknown field `other`, expected `first` or `second` at line 1 column 8"
        );
        assert_eq!(said(r#"{"first": "x"}"#), None);
    }
}
