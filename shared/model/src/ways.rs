//! In which way row groups are joined.

use std::{fmt, str::FromStr};

/// Whether row groups are joined page by page, or row by row. The rows are the same either way, and so is what metadata says
/// of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MergePages {
    /// By pages, where these are sound, in the table's own form, and large enough for readers.
    #[default]
    WhereItPays,
    /// By pages, however small they are.
    Always,
    /// By rows.
    Never,
}

impl MergePages {
    /// The word of each.
    const WORDS: [(Self, &str); 3] = [
        (Self::WhereItPays, "where-it-pays"),
        (Self::Always, "always"),
        (Self::Never, "never"),
    ];
}

impl fmt::Display for MergePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Self::WORDS.into_iter();
        let word = words.find(|(of, _)| of == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

impl FromStr for MergePages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = Self::WORDS.into_iter();
        let found = words.find(|(_, word)| *word == text);
        found
            .map(|(of, _)| of)
            .ok_or_else(|| "it must be where-it-pays, always or never".to_owned())
    }
}
