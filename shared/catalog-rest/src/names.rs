//! Names in paths and queries.

use icepress_model::Namespace;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What a path segment must not carry as it is: everything but RFC 3986's unreserved characters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// What stands between the levels of a namespace (`namespace-separator`; the unit separator, if the server says nothing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Separator {
    /// Between encoded levels, in a path.
    in_path: String,
    /// Between the levels themselves, in a query's value before that is encoded.
    in_query: String,
}

impl Default for Separator {
    fn default() -> Self {
        Self::new("%1F")
    }
}

impl Separator {
    /// As the property says it: encoded, as in `%2E`, or as it is.
    pub(crate) fn new(property: &str) -> Self {
        let in_query = percent_decode_str(property)
            .decode_utf8_lossy()
            .into_owned();
        let is_encoded = in_query != property;
        Self {
            // Servers look for the very letters that they gave.
            in_path: if is_encoded {
                property.to_owned()
            } else {
                segment(property)
            },
            in_query,
        }
    }

    /// A namespace as one segment of a path.
    pub(crate) fn segment(&self, namespace: &Namespace) -> String {
        let levels: Vec<String> = namespace.0.iter().map(|level| segment(level)).collect();
        levels.join(&self.in_path)
    }

    /// A namespace as the value of a query's parameter.
    pub(crate) fn query_value(&self, namespace: &Namespace) -> String {
        namespace.0.join(&self.in_query)
    }
}

#[cfg(test)]
mod tests;
