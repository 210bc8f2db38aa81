//! The command line is consistent, and amounts mean what they say.

use std::{path::Path, time::Duration};

use icepress_model::Bytes;
use proptest::prelude::*;

use super::{Arguments, Command, State, amounts};

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::read(line.split(' '))
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::whole_command().debug_assert();
}

#[test]
fn global_options_stand_before_or_after_the_command() {
    for line in [
        "icepress --catalog lake --json run --once",
        "icepress run --once --catalog lake --json",
    ] {
        let arguments = parse(line).unwrap();
        assert_eq!(arguments.global.catalog.as_deref(), Some("lake"), "{line}");
        assert!(arguments.global.json, "{line}");
    }
}

#[test]
fn the_state_file_is_never_lost_to_the_states_of_tables() {
    let (new, failing) = (State::New, State::Failing);
    for (line, states, file) in [
        (
            "icepress --state f.db tables --state new",
            vec![new],
            Some("f.db"),
        ),
        (
            "icepress --state=f.db tables --state new,failing",
            vec![new, failing],
            Some("f.db"),
        ),
        (
            "icepress --state-file new tables --state new",
            vec![new],
            Some("new"),
        ),
        (
            "icepress tables --state new --state-file f.db",
            vec![new],
            Some("f.db"),
        ),
        (
            "icepress tables --state f,1.db --state new --state failing",
            vec![new, failing],
            Some("f,1.db"),
        ),
        ("icepress --state f.db tables", vec![], Some("f.db")),
        ("icepress tables --state new", vec![new], None),
        ("icepress tables --state f.db", vec![], Some("f.db")),
    ] {
        let arguments = parse(line).unwrap();
        let named = arguments.global.state_file.as_deref();
        assert_eq!(named, file.map(Path::new), "{line}");
        let Command::Tables(tables) = arguments.command else {
            panic!("not tables");
        };
        assert_eq!(tables.states, states, "{line}");
    }
    for line in [
        "icepress --state f.db run",
        "icepress run --state f.db --once",
        "icepress run --state-file f.db",
        "icepress buckets resize 4 --state f.db",
        "icepress --state g.db buckets --state f.db",
    ] {
        let arguments = parse(line).unwrap();
        let named = arguments.global.state_file.as_deref();
        assert_eq!(named, Some(Path::new("f.db")), "{line}");
    }
    for line in [
        "icepress --deployed --state f.db run",
        "icepress --deployed run --state-file f.db",
        "icepress --deployed tables --state f.db",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
    assert!(parse("icepress --deployed tables --state new").is_ok());
}

#[test]
fn what_is_left_out_has_its_default() {
    let arguments = parse("icepress run").unwrap();
    assert_eq!(arguments.global.catalog, None);
    assert_eq!(arguments.global.memory, Bytes::mebibytes(512));
    let Command::Run(run) = arguments.command else {
        panic!("not run");
    };
    assert_eq!(run.interval, Duration::from_secs(60));
}

#[test]
fn wrong_use_is_refused() {
    for line in [
        "icepress",
        "icepress plan",
        "icepress press",
        "icepress run --once --interval 5s",
        "icepress verify a.b --snapshot latest",
        "icepress demo --no-run",
        "icepress --threads 0 run",
        "icepress --memory 0 run",
        "icepress --memory 5elephants run",
        "icepress completions tcsh",
    ] {
        let error = parse(line).unwrap_err();
        // Help for lack of a command is printed as an error too, and ends with 2 as well.
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn units_of_bytes_and_time() {
    for (text, expected) in [
        ("1", 1),
        ("2kb", 2_000),
        ("2KiB", 2_048),
        ("3 MiB", 3 << 20),
        ("1g", 1 << 30),
    ] {
        assert_eq!(amounts::bytes(text), Ok(Bytes(expected)), "{text}");
    }
    for (text, expected) in [
        ("90", 90),
        ("90s", 90),
        ("2m", 120),
        ("1h", 3_600),
        ("1d", 86_400),
    ] {
        assert_eq!(
            amounts::duration(text),
            Ok(Duration::from_secs(expected)),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_is_too_odd_to_be_refused_in_words(text in ".{0,30}") {
        for message in [
            amounts::bytes(&text).err(),
            amounts::duration(&text).err(),
            amounts::threads(&text).err(),
            amounts::snapshot(&text).err(),
        ] {
            prop_assert!(message.is_none_or(|message| !message.is_empty()));
        }
    }

    #[test]
    fn mebibytes_are_2_to_the_20(n in 1u64..(1 << 40)) {
        prop_assert_eq!(amounts::bytes(&format!("{n}MiB")), Ok(Bytes::mebibytes(n)));
    }
}
