use super::*;

fn read(toml: &str) -> Result<Modes, String> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        mode: Modes,
    }
    let file: Result<File, _> = toml::from_str(toml);
    file.map(|file| file.mode)
        .map_err(|error| error.to_string())
}

fn of(toml: &str, table: &str, property: Option<&str>) -> Result<Mode, String> {
    let properties = property.map(|value| (PROPERTY.to_owned(), value.to_owned()));
    let ruling = read(toml)?.of(&table.parse().unwrap(), &properties.into_iter().collect());
    ruling
        .map(|ruling| ruling.mode)
        .map_err(|error| error.to_string())
}

#[test]
fn the_nearest_that_says_anything_decides_and_to_maintain_is_the_default() {
    use Mode::{Maintain, Observe};
    let by_database = "[mode]\ndefault = 'observe'\n[mode.database]\n'lake.sales' = 'maintain'";
    let by_table =
        "[mode.database]\n'lake.sales' = 'maintain'\n[mode.table]\n'lake.*.orders*' = 'observe'";
    let exact = "[mode.table]\n'lake.sales.*' = 'observe'\n'lake.sales.ord?rs' = 'maintain'";
    let both = "[mode.catalog]\n'la*' = 'maintain'\n'*ke' = 'observe'";
    for (toml, table, property, expected) in [
        ("", "lake.sales.orders", None, Maintain),
        ("mode = 'observe'", "lake.sales.orders", None, Observe),
        (by_database, "lake.sales.orders", None, Maintain),
        (by_database, "lake.sales.eu.orders", None, Maintain),
        (by_database, "lake.salesmen.orders", None, Observe),
        (by_table, "lake.sales.orders_2026", None, Observe),
        (by_table, "lake.sales.clicks", None, Maintain),
        (exact, "lake.sales.orders", None, Maintain),
        (exact, "lake.sales.clicks", None, Observe),
        (both, "lake.sales.clicks", None, Observe),
        ("mode = 'observe'", "lake.a.b", Some(" Maintain "), Maintain),
        ("mode = 'maintain'", "lake.a.b", Some("observe"), Observe),
    ] {
        assert_eq!(of(toml, table, property), Ok(expected), "{toml} {table}");
    }
}

#[test]
fn names_fit_with_stars_and_question_marks() {
    for (pattern, name, fits) in [
        ("*", "", true),
        ("lake.*", "lake.sales.orders", true),
        ("lake.*", "lakes.sales.orders", false),
        ("*.orders", "lake.sales.orders", true),
        ("*a*b*c", "xxaxbxbxc", true),
        ("*a*b*c", "xxaxbxbx", false),
        ("?", "é", true),
        ("?", "", false),
        ("lake.sales.orders", "lake.sales.order", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}

#[test]
fn what_makes_no_sense_is_named_with_the_nearest_right_word() {
    for (toml, property, expected) in [
        ("mode = 'observ'", None, &["'observ'", "'observe'"][..]),
        ("mode = 'off'", None, &["'off'", "observe or maintain"]),
        ("mode = 3", None, &["observe"]),
        ("[mode]\ndefalt = 'observe'", None, &["defalt", "default"]),
        (
            "[mode.catalog]\nlake = 'mantain'",
            None,
            &["'mantain'", "'maintain'"],
        ),
        (
            "[mode.database]\nlake = 'observe'",
            None,
            &["'lake' is no database"],
        ),
        (
            "[mode.table]\n'lake.orders' = 'observe'",
            None,
            &["'lake.orders' is no table"],
        ),
        (
            "",
            Some("observed"),
            &["icepress.mode", "'observed'", "did you mean 'observe'"],
        ),
        ("", Some("no"), &["icepress.mode", "observe or maintain"]),
    ] {
        let error = of(toml, "lake.sales.orders", property).unwrap_err();
        for part in expected {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}

#[test]
fn sets_of_modes_have_numbers_of_their_own_where_any_is_to_observe() {
    let of = |toml: &str| read(toml).unwrap().fingerprint();
    for none in ["", "mode = 'maintain'", "[mode.catalog]\nlake = 'maintain'"] {
        assert_eq!(of(none), None, "{none}");
    }
    let all = of("mode = 'observe'");
    let some = of("[mode]\ndefault = 'observe'\n[mode.catalog]\nlake = 'maintain'");
    assert!(all.is_some() && some.is_some() && all != some);
    assert_eq!(of("[mode]\ndefault = 'observe'"), all);
}
