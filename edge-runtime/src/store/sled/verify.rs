//! The check of everything that is read back: each frame, each chain of chunks, and at opening
//! the sums of the whole store.

use ::sled::IVec;

use super::Fault;
use super::head::{self, Head};
use crate::store::{chunk, frame};

/// Checks all records of a store; `None` if it is empty.
pub(super) fn all(
    records: impl Iterator<Item = Result<(IVec, IVec), Fault>>,
    get: impl Fn(&[u8]) -> Result<Option<IVec>, Fault>,
) -> Result<Option<Head>, Fault> {
    let mut found = Head::new(uuid::Uuid::nil());
    let mut stated = None;
    for record in records {
        let (key, sealed) = record?;
        if key == head::KEY {
            stated = Some(Head::open(&sealed).ok_or_else(|| bad(head::KEY, "it is malformed"))?);
            continue;
        }
        frame::open(&key, &sealed).map_err(|error| bad(&key, error))?;
        if let Some(own) = key.strip_prefix(chunk::FIRST) {
            value(own, &key, &sealed, &get)?;
        }
        found.count(&key, &sealed);
    }
    match stated {
        None if found.count == 0 => Ok(None),
        None => Err(Fault::Corrupt("it holds entries and no head".to_owned())),
        Some(head) if (head.count, head.sum) == (found.count, found.sum) => Ok(Some(head)),
        Some(head) => Err(Fault::Corrupt(format!(
            "it must hold {} records and holds {}, or other ones",
            head.count, found.count
        ))),
    }
}

/// The value whose first record is `sealed`.
pub(super) fn value(
    key: &[u8],
    first_key: &[u8],
    sealed: &[u8],
    get: impl Fn(&[u8]) -> Result<Option<IVec>, Fault>,
) -> Result<Vec<u8>, Fault> {
    let first = frame::open(first_key, sealed).map_err(|error| bad(first_key, error))?;
    let (more, part) = chunk::read_first(first.payload).map_err(|error| bad(first_key, error))?;
    let mut value = part.to_vec();
    for index in 1..=more {
        let record_key = chunk::rest_key(key, index);
        let torn = || bad(key, chunk::ChunkError::Torn(index));
        let sealed = get(&record_key)?.ok_or_else(torn)?;
        let rest = frame::open(&record_key, &sealed).map_err(|error| bad(&record_key, error))?;
        if rest.commit != first.commit {
            return Err(torn());
        }
        value.extend_from_slice(rest.payload);
    }
    Ok(value)
}

fn bad(key: &[u8], what: impl std::fmt::Display) -> Fault {
    Fault::Corrupt(format!("entry {:?}: {what}", String::from_utf8_lossy(key)))
}
