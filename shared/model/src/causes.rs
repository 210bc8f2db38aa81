//! Errors for people.

use std::error::Error;

/// An error and its causes in one line: the words of an SDK or an HTTP client often name only the outermost.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A text with an address in it as it may be printed: `https://user:password@host` keeps the host alone.
pub fn without_login(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // What names the server ends with the first of these; a password may have an @ of its own.
    let end = rest.find(['/', '?', '#', ' ']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let host = authority
        .rsplit_once('@')
        .map(|(_, host)| format!("***@{host}"));
    let host = host.unwrap_or_else(|| authority.to_owned());
    format!("{before}://{host}{}", without_login(after))
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn causes_follow_once_each() {
        let refused = Layer("connection refused", None);
        let connect = Layer("connect: connection refused", Some(Box::new(refused)));
        let dispatch = Layer("dispatch failure", Some(Box::new(connect)));
        assert_eq!(
            with_causes(&dispatch),
            "dispatch failure: connect: connection refused"
        );
    }

    #[test]
    fn who_logs_in_is_left_out_of_an_address() {
        for (text, expected) in [
            ("https://me:pass@host:1/x", "https://***@host:1/x"),
            (
                "postgresql://me:p@ss@host/db?x=y@z",
                "postgresql://***@host/db?x=y@z",
            ),
            (
                "of http://me@a/b and https://you:pw@c",
                "of http://***@a/b and https://***@c",
            ),
            ("https://host/a@b", "https://host/a@b"),
            ("no address", "no address"),
        ] {
            assert_eq!(without_login(text), expected);
        }
    }
}
