//! Puts a base and its journal together again, or refuses to. Changes nothing that is there: a
//! last frame that is not whole is overwritten by the next commit.

use std::path::Path;
use std::sync::{Condvar, Mutex, RwLock};

use super::file::{self, Current, Found, Watch};
use super::frame::{self, Head};
use super::overlay::Layers;
use super::recovery::{Mark, Mismatch, Replay};
use super::writer::{Shelf, Writer};
use super::{Bounds, Flushing, JournaledStore, RedbStore, Shared};
use crate::store::StoreError;
use crate::store::system::explain_io;

/// What a journal comes to.
struct Replayed {
    layers: Layers,
    last: u64,
    /// The file that commits go on in.
    current: Option<Current>,
    shelf: Shelf,
}

pub(super) fn open(
    path: &Path,
    bounds: Bounds,
    watch: Watch,
    open_base: fn(&Path) -> Result<RedbStore, StoreError>,
) -> Result<Shared, StoreError> {
    let folder = JournaledStore::journal_of(path);
    let files = file::list(&folder).map_err(|source| explain_io(&folder, source))?;
    let refuse = |mismatch: Mismatch| StoreError::Mismatch {
        path: path.to_owned(),
        journal: folder.clone(),
        reason: mismatch.to_string().into(),
    };
    let has_base = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if !has_base && holds_frames(&files)? {
        return Err(refuse(Mismatch::NoBase));
    }
    let base = open_base(path)?;
    let (mark, replayed) = match base.mark()? {
        Some(bytes) => {
            let mark = Mark::decode(&bytes).ok_or_else(|| StoreError::Damaged {
                path: path.to_owned(),
                reason: "what it says of its journal cannot be read".into(),
            })?;
            (mark, replay(&files, mark, bounds, &watch, refuse)?)
        }
        None if holds_frames(&files)? => return Err(refuse(Mismatch::Foreign)),
        // What there may be was made by a first commit that did not get further.
        None => {
            let old = files.iter().map(|file| (file.path.clone(), 0)).collect();
            let shelf = Shelf { old, spare: None };
            let mark = Mark { id: rand::random(), flushed: 0, is_whole: true };
            (mark, Replayed { layers: Layers::default(), last: 0, current: None, shelf })
        }
    };
    let generation = files.last().map_or(0, |file| file.generation);
    let (current, last) = (replayed.current, replayed.last);
    let is_whole = mark.is_whole && last == mark.flushed;
    let writer = Writer { current, generation, last, is_whole, buffer: Vec::new() };
    Ok(Shared {
        path: path.to_owned(),
        folder,
        id: mark.id,
        bounds,
        watch,
        base,
        writer: Mutex::new(writer),
        turn: Mutex::new(()),
        flushing: Mutex::new(Flushing::default()),
        changed: Condvar::new(),
        layers: RwLock::new(replayed.layers),
        shelf: Mutex::new(replayed.shelf),
    })
}

fn holds_frames(files: &[Found]) -> Result<bool, StoreError> {
    for file in files {
        let Some(head) = &file.head else { continue };
        let bytes = file.read().map_err(|source| explain_io(&file.path, source))?;
        if frame::has_frame(&bytes, head, head.first) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn replay(
    files: &[Found],
    mark: Mark,
    bounds: Bounds,
    watch: &Watch,
    refuse: impl Fn(Mismatch) -> StoreError,
) -> Result<Replayed, StoreError> {
    let (mut replay, mut layers, mut shelf) =
        (Replay::new(mark), Layers::default(), Shelf::default());
    let mut last_file = None;
    for (at, file) in files.iter().enumerate() {
        let failed = |source| explain_io(&file.path, source);
        let Some(head) = file.head else {
            // Made when the power went, before anything was in it.
            let head = Head { id: mark.id, generation: file.generation, first: 0 };
            let is_last = at + 1 == files.len();
            if is_last && frame::has_frame(&file.read().map_err(failed)?, &head, mark.flushed + 1) {
                return Err(damaged(file, "its head is not whole, but changes follow it"));
            }
            shelf.old.push((file.path.clone(), 0));
            continue;
        };
        if head.id != mark.id && !holds_frames(std::slice::from_ref(file))? {
            shelf.old.push((file.path.clone(), 0));
            continue;
        }
        replay.file(&head).map_err(&refuse)?;
        let mut later = files.iter().skip(at + 1).filter_map(|file| file.head);
        let later = later.find(|later| later.id == mark.id);
        let until = later.map_or(u64::MAX, |later| later.first);
        let bytes = file.read().map_err(failed)?;
        let end = frame::read(&bytes, &head, until, &mut |number, rows| {
            if replay.wants(number) {
                layers.take(number, rows);
            }
        });
        replay.ended(end).map_err(|_| damaged(file, "something in the middle was lost"))?;
        if layers.active_bytes() >= bounds.layer {
            layers.freeze();
        }
        last_file = Some((file, head, end));
        if later.is_some() {
            shelf.old.push((file.path.clone(), end.next - 1));
        }
    }
    let last = replay.done().map_err(&refuse)?;
    let mut current = None;
    if let Some((file, head, end)) = last_file {
        if end.next == last + 1 {
            let resumed = Current::resume(&file.path, head, end.at, watch);
            current = Some(resumed.map_err(|source| explain_io(&file.path, source))?);
        } else {
            shelf.old.push((file.path.clone(), end.next - 1));
        }
    }
    Ok(Replayed { layers, last, current, shelf })
}

fn damaged(file: &Found, reason: &str) -> StoreError {
    StoreError::Damaged { path: file.path.clone(), reason: reason.into() }
}
