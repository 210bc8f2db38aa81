//! Everything that lies in some folders, listed by many requests at a time.
//!
//! A range of names is listed page by page. While there are requests to spare, what is left of a range that goes on is cut in
//! two, at a name in the middle between its last one and its end; whatever the names look like, the two parts together are
//! the range. A folder of a million names in one place is cut as one of a million folders is.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use icepress_storage::{ListPage, ListedObject, Storage, StorageError, StorageErrorKind};

/// Requests that are under way at a time.
const AT_A_TIME: usize = 16;
/// How many characters beyond the last name a cut is looked for.
const DEEPEST: usize = 64;

/// Names behind `after` and before `until` that begin with `prefix`.
#[derive(Debug, Clone)]
struct Range {
    prefix: Arc<str>,
    after: Option<String>,
    until: Option<String>,
}

type Answer = (Range, Result<ListPage, StorageError>);

/// A listing under way.
pub(crate) struct Listing<'a> {
    storage: &'a dyn Storage,
    waiting: Vec<Range>,
    under_way: FuturesUnordered<BoxFuture<'a, Answer>>,
    requests: u64,
}

impl<'a> Listing<'a> {
    /// Of all that lies in `folders`, which are named without a slash at their end.
    pub(crate) fn of(storage: &'a dyn Storage, folders: &[String]) -> Self {
        let ranges = folders.iter().map(|folder| Range {
            prefix: format!("{folder}/").into(),
            after: None,
            until: None,
        });
        Self {
            storage,
            waiting: ranges.collect(),
            under_way: FuturesUnordered::new(),
            requests: 0,
        }
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Some more objects, in no order; `None` once all were told. After an error what was told is not the whole.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, StorageError> {
        loop {
            while self.under_way.len() < AT_A_TIME
                && let Some(range) = self.waiting.pop()
            {
                self.requests += 1;
                let storage = self.storage;
                let page = async move {
                    let page = storage.list_after(&range.prefix, range.after.as_deref());
                    let page = page.await;
                    (range, page)
                };
                self.under_way.push(page.boxed());
            }
            let Some((range, page)) = self.under_way.next().await else {
                return Ok(None);
            };
            let mut page = page?;
            check_order(&range, &page)?;
            let is_inside =
                |it: &ListedObject| range.until.as_ref().is_none_or(|end| it.location < *end);
            let inside = page.objects.partition_point(is_inside);
            let goes_on = page.next.filter(|_| inside == page.objects.len());
            page.objects.truncate(inside);
            if let Some(last) = goes_on {
                self.go_on(range, last);
            }
            if !page.objects.is_empty() {
                return Ok(Some(page.objects));
            }
        }
    }

    /// What is left of a range behind `last`.
    fn go_on(&mut self, range: Range, last: String) {
        if range.until.as_ref().is_some_and(|end| last >= *end) {
            return;
        }
        let is_idle = self.under_way.len() + self.waiting.len() + 1 < AT_A_TIME;
        let end = range.until.as_deref();
        let cut = is_idle
            .then(|| between(&range.prefix, &last, end))
            .flatten();
        if let Some(cut) = cut {
            // A name that is the cut itself is in the second part: `after` is exclusive, so that one begins just before it.
            self.waiting.push(Range {
                prefix: Arc::clone(&range.prefix),
                after: Some(cut.clone()),
                until: range.until,
            });
            self.waiting.push(Range {
                prefix: range.prefix,
                after: Some(last),
                until: Some(behind(&cut)),
            });
        } else {
            self.waiting.push(Range {
                after: Some(last),
                ..range
            });
        }
    }
}

/// The name that sorts right behind `name`.
fn behind(name: &str) -> String {
    format!("{name}\0")
}

/// A store that lists in another order, or does not begin where it was asked to, would have parts of the range listed
/// twice and others never.
fn check_order(range: &Range, page: &ListPage) -> Result<(), StorageError> {
    let mut before = range.after.as_deref();
    for object in &page.objects {
        let location = object.location.as_str();
        let is_sound =
            location.starts_with(&*range.prefix) && before.is_none_or(|before| before < location);
        if !is_sound {
            return Err(StorageError {
                kind: StorageErrorKind::Other,
                action: "list",
                location: location.to_owned(),
                source: Some("the store does not list names in their order, so nobody can tell whether that was all".into()),
            });
        }
        before = Some(location);
    }
    Ok(())
}

/// A name between `last` and `end` (which may be none), in the middle as far as characters that people use go.
fn between(prefix: &str, last: &str, end: Option<&str>) -> Option<String> {
    const LEAST: u8 = b' ';
    const MOST: u8 = 0x7f;
    let mut is_below_end = end.is_none();
    for place in prefix.len()..prefix.len() + DEEPEST {
        if place > last.len() || !last.is_char_boundary(place) {
            return None;
        }
        let low = last.as_bytes().get(place).copied();
        let high = match end {
            Some(end) if !is_below_end => end.as_bytes().get(place).copied().unwrap_or(LEAST),
            _ => MOST,
        };
        let from = low.unwrap_or(LEAST).clamp(LEAST, MOST);
        let middle = from + high.clamp(LEAST, MOST).saturating_sub(from) / 2;
        if middle > from && middle.is_ascii_graphic() {
            return Some(format!("{}{}", &last[..place], char::from(middle)));
        }
        is_below_end |= low.is_none_or(|low| low < high);
    }
    None
}

#[cfg(test)]
mod tests;
