//! How commits lie in a journal file: a head, then one frame after the other, each with its length,
//! its number and a checksum. Pure: bytes in, rows out.
//!
//! The checksum of a frame covers the store's identity and the file's generation, so that what an
//! earlier life of the file has left behind is never taken for a frame of this one.

use super::overlay::Rows;

/// Which store a journal belongs to.
pub(super) type StoreId = [u8; 16];

/// What a journal file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: StoreId,
    /// Files are numbered; a later one takes over from the one before.
    pub(super) generation: u64,
    /// The number of the first commit in it. What an earlier file has from there on is void.
    pub(super) first: u64,
}

/// How many bytes the head takes.
pub(super) const HEAD: usize = 64;

const MAGIC: &[u8; 16] = b"gnomon journal 1";
const FRAME: [u8; 4] = *b"GJf1";
/// Mark, length, number, checksum.
const FRAME_HEAD: usize = 4 + 4 + 8 + 4;
/// Frames begin at multiples of this.
const ALIGN: usize = 8;

impl Head {
    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD);
        bytes.extend(MAGIC);
        bytes.extend(self.id);
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.first.to_le_bytes());
        let sum = crc32fast::hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        bytes.resize(HEAD, 0);
        bytes
    }

    /// Reads what [`Self::encode`] has made; `None`: it is not that.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (covered, rest) = bytes.split_at_checked(MAGIC.len() + 16 + 8 + 8)?;
        let (sum, _) = rest.split_first_chunk::<4>()?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*sum) {
            return None;
        }
        let rest = covered.strip_prefix(MAGIC)?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (first, _) = rest.split_first_chunk::<8>()?;
        let (generation, first) = (u64::from_le_bytes(*generation), u64::from_le_bytes(*first));
        Some(Self { id: *id, generation, first })
    }

    fn sum(&self, len: [u8; 4], number: u64, payload: &[u8]) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.id);
        sum.update(&self.generation.to_le_bytes());
        sum.update(&len);
        sum.update(&number.to_le_bytes());
        sum.update(payload);
        sum.finalize()
    }
}

/// Puts the frame of a commit in place of what is in the buffer; `false`: it is too large for one.
pub(super) fn encode(head: &Head, number: u64, rows: &Rows, into: &mut Vec<u8>) -> bool {
    into.clear();
    into.resize(FRAME_HEAD, 0);
    let mut before: &[u8] = &[];
    for (key, value) in rows {
        let shared = before.iter().zip(key).take_while(|(one, other)| one == other).count();
        let rest = key.get(shared..).unwrap_or_default();
        put_number(into, shared);
        put_number(into, rest.len());
        into.extend(rest);
        match value {
            None => into.push(0),
            Some(value) => {
                put_number(into, value.len() + 1);
                into.extend(value.iter());
            }
        }
        before = key;
    }
    let Some((head_bytes, payload)) = into.split_first_chunk_mut::<FRAME_HEAD>() else {
        return false;
    };
    let Ok(len) = u32::try_from(payload.len()) else { return false };
    let len = len.to_le_bytes();
    let sum = head.sum(len, number, payload).to_le_bytes();
    let parts = FRAME.into_iter().chain(len).chain(number.to_le_bytes()).chain(sum);
    for (to, from) in head_bytes.iter_mut().zip(parts) {
        *to = from;
    }
    into.resize(into.len().next_multiple_of(ALIGN), 0);
    true
}

/// Where the reading of a file has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Where the next frame goes.
    pub(super) at: usize,
    /// Its number.
    pub(super) next: u64,
    /// A frame lies behind that end, so that something between was lost.
    pub(super) is_damaged: bool,
}

/// Gives every frame of a file to `each`, up to the commit `until`, which is in a later file.
/// A last frame that is not whole was never acknowledged, and is the end.
pub(super) fn read(bytes: &[u8], head: &Head, until: u64, each: &mut dyn FnMut(u64, Rows)) -> End {
    let (mut at, mut next) = (HEAD, head.first);
    while next < until {
        let frame = bytes.get(at..).and_then(|rest| frame(rest, head));
        let Some((_, payload)) = frame.filter(|(number, _)| *number == next) else {
            let is_damaged = has_frame(bytes.get(at..).unwrap_or_default(), head, next);
            return End { at, next, is_damaged };
        };
        let Some(rows) = rows(payload) else { return End { at, next, is_damaged: true } };
        each(next, rows);
        at += (FRAME_HEAD + payload.len()).next_multiple_of(ALIGN);
        next += 1;
    }
    End { at, next, is_damaged: false }
}

/// Whether a whole frame from this number on is anywhere.
pub(super) fn has_frame(bytes: &[u8], head: &Head, from: u64) -> bool {
    (0..bytes.len()).step_by(ALIGN).any(|at| {
        let found = bytes.get(at..).and_then(|rest| frame(rest, head));
        found.is_some_and(|(number, _)| number >= from)
    })
}

/// The whole frame with the highest number that begins at `from` or behind it: that number, and where
/// the frame ends.
pub(super) fn last(bytes: &[u8], head: &Head, from: usize) -> Option<(u64, usize)> {
    let places = (from.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN);
    let frames = places.filter_map(|at| {
        let (number, payload) = frame(bytes.get(at..)?, head)?;
        Some((number, at + FRAME_HEAD + payload.len()))
    });
    frames.max()
}

/// The frame that the bytes begin with: its number and what it holds.
fn frame<'a>(bytes: &'a [u8], head: &Head) -> Option<(u64, &'a [u8])> {
    let rest = bytes.strip_prefix(&FRAME)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    let number = u64::from_le_bytes(*number);
    let is_whole = head.sum(*len, number, payload) == u32::from_le_bytes(*sum);
    is_whole.then_some((number, payload))
}

fn rows(mut bytes: &[u8]) -> Option<Rows> {
    let (mut rows, mut before) = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let (shared, rest) = (take_number(&mut bytes)?, take_number(&mut bytes)?);
        let mut key: Vec<u8> = before.get(..shared)?.to_vec();
        key.extend(take(&mut bytes, rest)?);
        let value = match take_number(&mut bytes)? {
            0 => None,
            len => Some(take(&mut bytes, len - 1)?.to_vec()),
        };
        before.clone_from(&key);
        rows.push((key, value));
    }
    Some(rows.into_iter().collect())
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

/// Seven bits to a byte, the lowest first; all but the last have the highest bit.
fn put_number(into: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            return into.push(low);
        }
        into.push(low | 0x80);
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let low = usize::from(byte & 0x7f);
        let part = low.checked_shl(shift)?;
        if part >> shift != low {
            return None;
        }
        number |= part;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod laws;
