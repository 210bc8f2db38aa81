//! Manifests of a snapshot in the making, one after the other: what is new from memory, what is carried over from the manifests
//! that it stands in, each fetched shortly before.

use std::{collections::VecDeque, slice};

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, StreamExt as _, stream, stream::BoxStream};
use icepress_storage::{Room, RoomTaken};

use super::Draft;
use crate::{
    TableError,
    manifests::{Carried, ManifestPart, ManifestSettings, ManifestWriter, WrittenManifest, fetch},
};

/// How many manifests are fetched at a time to be carried over.
const CONCURRENT_FETCHES: usize = 8;

/// A manifest to be carried over, with its content and the room that this takes.
type Fetched<'a> = Result<(&'a Carried<'a>, Buffer, RoomTaken<'a>), TableError>;

/// The manifests of the parts of a snapshot.
pub(super) struct Making<'a> {
    draft: &'a Draft<'a>,
    parts: slice::Iter<'a, ManifestPart<'a>>,
    settings: &'a ManifestSettings,
    room: &'a Room,
    open: Option<(ManifestWriter<'a>, BoxStream<'a, Fetched<'a>>)>,
    ready: VecDeque<WrittenManifest>,
}

impl<'a> Making<'a> {
    /// Manifests of `parts`; what is carried over is in `room` until it is written.
    pub(super) fn new(
        draft: &'a Draft<'a>,
        parts: &'a [ManifestPart<'a>],
        settings: &'a ManifestSettings,
        room: &'a Room,
    ) -> Self {
        Self {
            draft,
            parts: parts.iter(),
            settings,
            room,
            open: None,
            ready: VecDeque::new(),
        }
    }

    /// The next manifest; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<WrittenManifest>, TableError> {
        let (draft, room) = (self.draft, self.room);
        let sync = || draft.ambient.uuid().into_bytes();
        let unwritable = |error| draft.unwritable(error);
        loop {
            if let Some(manifest) = self.ready.pop_front() {
                return Ok(Some(manifest));
            }
            let Some((writer, fetched)) = &mut self.open else {
                let Some(part) = self.parts.next() else {
                    return Ok(None);
                };
                let mut writer = ManifestWriter::new(part, self.settings).map_err(unwritable)?;
                for entry in &part.entries {
                    let full = writer.add(entry, sync).map_err(unwritable)?;
                    self.ready.extend(full);
                }
                // Boxed one by one: else the compiler can't tell that the whole may move between threads.
                let mut fetches = Vec::with_capacity(part.carried.len());
                for carried in &part.carried {
                    fetches.push(fetch_in(room, draft, carried).boxed());
                }
                let fetched = stream::iter(fetches).buffered(CONCURRENT_FETCHES).boxed();
                self.open = Some((writer, fetched));
                continue;
            };
            match fetched.next().await {
                Some(fetched) => {
                    let (carried, content, _room) = fetched?;
                    let full = writer.carry_over(carried, &content, sync);
                    self.ready.extend(full.map_err(unwritable)?);
                }
                None => {
                    self.ready.extend(writer.end().map_err(unwritable)?);
                    self.open = None;
                }
            }
        }
    }
}

async fn fetch_in<'a>(
    room: &'a Room,
    draft: &'a Draft<'a>,
    carried: &'a Carried<'a>,
) -> Fetched<'a> {
    let (storage, table) = (draft.storage.as_ref(), &draft.loaded.table);
    let place = room.enter(carried.file.content_bytes()).await;
    let content = fetch(storage, table, &carried.file.path).await?;
    Ok((carried, content, place))
}
