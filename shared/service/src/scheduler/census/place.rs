//! How far a long listing got, as it is kept between its runs.
//!
//! A place is also where the names of tables stand that got rows before any digest knew them. So none is thrown away: the one
//! that takes its place goes on with these names, as missing once, until a digest has them ([`ListingProgress::anew`]).

use icepress_coordination::Digest;
use icepress_model::{Generation, TimestampMs};

use super::digest::{SeenTables, number};

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// At its first page.
    Begin,
    /// At the page that the catalog gives for this.
    After(String),
    /// Nowhere: all pages were read.
    End,
}

impl Next {
    /// What a page named as the next one; `None` after the last.
    pub(super) fn of_page(token: Option<String>) -> Self {
        token.map_or(Self::End, Self::After)
    }

    /// What the next page is asked for with.
    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Self::After(token) => Some(token),
            Self::Begin | Self::End => None,
        }
    }
}

/// How far a listing got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListingProgress {
    pub(super) began_at: TimestampMs,
    /// The layout by which the tables were marked that were seen: under another they have to be marked anew.
    pub(super) layout: Generation,
    pub(super) next: Next,
    /// What was seen so far. As missing once: what may have a row, and is not seen yet.
    pub(super) seen: SeenTables,
}

impl ListingProgress {
    /// At the first page, with the names of tables that may have rows although the digest `last` has not heard of them.
    pub(super) fn anew(
        began_at: TimestampMs,
        layout: Generation,
        before: Option<&SeenTables>,
        last: &SeenTables,
    ) -> Self {
        let mut seen = SeenTables::default();
        if let Some(before) = before {
            seen.miss_again(&before.names_beside(last));
        }
        Self {
            began_at,
            layout,
            next: Next::Begin,
            seen,
        }
    }

    /// The bytes of it: when it began and the layout, 8 bytes each, the kind of what is next and its length, 1 and 8, that
    /// itself, and what was seen as digests have it. What holds nothing is no bytes at all.
    pub(super) fn encode(&self) -> Digest {
        if self.next == Next::Begin && self.seen.is_empty() {
            return Digest::default();
        }
        let kind = match self.next {
            Next::End => 0,
            Next::After(_) => 1,
            Next::Begin => 2,
        };
        let token = self.next.token().unwrap_or_default().as_bytes();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.began_at.get().to_le_bytes());
        bytes.extend_from_slice(&self.layout.get().to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(&(token.len() as u64).to_le_bytes());
        bytes.extend_from_slice(token);
        bytes.extend_from_slice(&self.seen.encode().0);
        Digest(bytes)
    }

    /// Reads what [`ListingProgress::encode`] wrote; `None` for anything else.
    pub(super) fn decode(note: &Digest) -> Option<Self> {
        let (head, rest) = note.0.split_at_checked(25)?;
        let length = usize::try_from(number(&head[17..])).ok()?;
        let (token, entries) = rest.split_at_checked(length)?;
        let next = match head[16] {
            0 => Next::End,
            1 => Next::After(std::str::from_utf8(token).ok()?.to_owned()),
            2 => Next::Begin,
            _ => return None,
        };
        Some(Self {
            began_at: TimestampMs(i64::from_le_bytes(head[..8].try_into().ok()?)),
            layout: Generation(number(&head[8..16])),
            next,
            seen: SeenTables::decode(&Digest(entries.to_vec())),
        })
    }
}

#[cfg(test)]
mod tests {
    use icepress_model::{CatalogName, Namespace, TableId};

    use super::{super::digest::Seen, *};

    fn seen(name: &str) -> Seen {
        let table = TableId {
            catalog: CatalogName::from("lake"),
            namespace: Namespace::from_dotted("sales"),
            name: name.to_owned(),
        };
        Seen::new(&table, &"s3://lake/orders/1.json".into())
    }

    fn all(names: &[&str]) -> SeenTables {
        let mut all = SeenTables::default();
        names.iter().for_each(|name| all.insert(seen(name)));
        all
    }

    #[test]
    fn a_place_is_read_as_it_was_kept_and_nothing_else_is_one() {
        for next in [Next::Begin, Next::End, Next::After("token-é".to_owned())] {
            let place = ListingProgress {
                began_at: TimestampMs(1_760_000_000_123),
                layout: Generation(3),
                next,
                seen: all(&["orders"]),
            };
            assert_eq!(ListingProgress::decode(&place.encode()), Some(place));
        }
        for other in [vec![], vec![1; 16], vec![255; 40]] {
            assert_eq!(ListingProgress::decode(&Digest(other)), None);
        }
    }

    #[test]
    fn a_place_that_is_given_up_leaves_the_names_that_no_digest_has() {
        let (before, last) = (all(&["orders", "clicks"]), all(&["clicks"]));
        let anew = ListingProgress::anew(TimestampMs(1), Generation(3), Some(&before), &last);
        let (orders, clicks) = (seen("orders"), seen("clicks"));
        assert!(anew.seen.has_name(orders.name) && !anew.seen.contains(&orders));
        assert!(!anew.seen.has_name(clicks.name));
        assert_eq!(ListingProgress::decode(&anew.encode()), Some(anew));
        let nothing = ListingProgress::anew(TimestampMs(1), Generation(3), Some(&last), &last);
        assert_eq!(nothing.encode(), Digest::default());
    }
}
