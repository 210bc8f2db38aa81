//! Texts for people, kept short enough for a row of a store.

/// The text, or as much of it as `most` bytes hold, with how long it was.
pub fn shortened(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let note = format!("… ({} bytes in all)", text.len());
    let kept = text.floor_char_boundary(most.saturating_sub(note.len()));
    format!("{}{note}", &text[..kept])
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let long = "ä".repeat(500);
        let short = shortened(long, 101);
        assert!(short.len() <= 101, "{}", short.len());
        assert!(short.ends_with("ä… (1000 bytes in all)"), "{short}");
        assert_eq!(shortened(short.clone(), 101), short, "once is enough");
        assert_eq!(shortened("as it is".to_owned(), 8), "as it is");
    }
}
