//! Which state file wins.

use std::path::{Path, PathBuf};

use super::Environment;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Environment::from_variables(variables, PathBuf::from("/nowhere"))
}

#[test]
fn the_option_wins_over_the_variable_over_the_users_directory() {
    let all = environment(&[
        ("ICEPRESS_STATE", "/v.db"),
        ("XDG_STATE_HOME", "/x"),
        ("HOME", "/h"),
    ]);
    let asked_for = Path::new("/asked.db");
    assert_eq!(all.state_file(Some(asked_for)).unwrap(), asked_for);
    assert_eq!(all.state_file(None).unwrap(), Path::new("/v.db"));

    let xdg = environment(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]);
    assert_eq!(
        xdg.state_file(None).unwrap(),
        Path::new("/x/icepress/state.db")
    );

    let home = PathBuf::from("/h/.local/state/icepress/state.db");
    for variables in [
        vec![("HOME", "/h")],
        vec![("XDG_STATE_HOME", "relative"), ("HOME", "/h")],
        vec![
            ("XDG_STATE_HOME", ""),
            ("ICEPRESS_STATE", ""),
            ("HOME", "/h"),
        ],
    ] {
        assert_eq!(environment(&variables).state_file(None).unwrap(), home);
    }
    let homeless = environment(&[]).state_file(None).unwrap_err();
    assert!(
        homeless.to_string().contains("ICEPRESS_STATE"),
        "{homeless}"
    );
}
