//! The rows of the history: `past/<node>/<shadow>`, a zero byte, `d` or `u` for the half, the
//! shadow's version in eight bytes. The value is the date in eight bytes and then CBOR, so that
//! who looks for what is too old need not decode it.

use ciborium::Value as Cbor;
use gnomon_schemas::cbor::Build;
use gnomon_schemas::document::Patch;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Digest, Half, Version};
use serde::Deserialize;

use super::ReadRowError;
use crate::domain::{Author, Entry};
use crate::store::Op;

/// The prefix of every row of the history.
pub const PAST: &[u8] = b"past/";

#[derive(Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
struct Row<P> {
    #[serde(rename = "v")]
    version: Version,
    #[serde(rename = "w")]
    by: String,
    #[serde(rename = "g")]
    digest: Option<[u64; 2]>,
    #[serde(rename = "u")]
    undo: Option<P>,
}

/// Everything of a node.
pub(crate) fn of_node(node: &NodeName) -> Vec<u8> {
    [PAST, node.as_str().as_bytes(), b"/"].concat()
}

/// Everything of a shadow.
pub(crate) fn of_shadow(node: &NodeName, key: &ShadowKey) -> Vec<u8> {
    [of_node(node).as_slice(), key.to_string().as_bytes(), b"\0"].concat()
}

/// Everything of a half, in the order of the versions.
pub(crate) fn of_half(node: &NodeName, key: &ShadowKey, half: Half) -> Vec<u8> {
    key_of(node, key, half, &[])
}

fn key_of(node: &NodeName, key: &ShadowKey, half: Half, number: &[u8]) -> Vec<u8> {
    let half: &[u8] = match half {
        Half::Desired => b"\0d",
        Half::Reported => b"\0u",
    };
    let key = key.to_string();
    [PAST, node.as_str().as_bytes(), b"/", key.as_bytes(), half, number].concat()
}

/// The entry as a change of the store.
pub(crate) fn put(node: &NodeName, key: &ShadowKey, half: Half, entry: &Entry) -> Op {
    let number = entry.shadow_version.0.to_be_bytes();
    Op::Put { key: key_of(node, key, half, &number), value: encode(entry) }
}

/// What a [`Row`] is read from, behind the date.
fn encode(entry: &Entry) -> Vec<u8> {
    let build = Build::default().raw(&entry.at_ms.to_be_bytes()).map(4);
    let build = build.text("v").unsigned(entry.version.0).text("w").text(entry.by.as_str());
    let build = match entry.digest.map(split) {
        Some([high, low]) => build.text("g").array(2).unsigned(high).unsigned(low),
        None => build.text("g").null(),
    };
    let build = match &entry.undo {
        Some(undo) => build.text("u").raw(&undo.to_cbor()),
        None => build.text("u").null(),
    };
    build.finish()
}

/// Reads an entry.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Entry, ReadRowError> {
    let bad = || super::unreadable(key);
    let (_, number) = key.split_last_chunk::<8>().ok_or_else(bad)?;
    let (at, rest) = value.split_first_chunk::<8>().ok_or_else(bad)?;
    let row: Row<Cbor> = ciborium::from_reader(rest).map_err(|_| bad())?;
    let undo = row.undo.map(Patch::from_cbor).transpose().map_err(|_| bad())?;
    Ok(Entry {
        shadow_version: Version(u64::from_be_bytes(*number)),
        version: row.version,
        at_ms: u64::from_be_bytes(*at),
        by: Author::new(&row.by),
        digest: row.digest.map(join),
        undo,
    })
}

/// When an entry was accepted, and whether it deleted its half, without reading the rest of it.
pub(crate) fn age_of(key: &[u8], value: &[u8]) -> Result<(u64, bool), ReadRowError> {
    let entry = read(key, value)?;
    Ok((entry.at_ms, entry.digest.is_none()))
}

/// Whose history a row belongs to.
pub(crate) fn place_of(key: &[u8]) -> Result<(NodeName, ShadowKey, Half), ReadRowError> {
    let read = || {
        let rest = half_of(key).strip_prefix(PAST)?;
        let (rest, half) = match rest.split_last_chunk::<2>()? {
            (rest, b"\0d") => (rest, Half::Desired),
            (rest, b"\0u") => (rest, Half::Reported),
            _ => return None,
        };
        let (node, shadow) = std::str::from_utf8(rest).ok()?.split_once('/')?;
        Some((node.parse().ok()?, shadow.parse().ok()?, half))
    };
    read().ok_or_else(|| super::unreadable(key))
}

/// A key without its version: equal for all entries of a half.
pub(crate) fn half_of(key: &[u8]) -> &[u8] {
    key.split_last_chunk::<8>().map_or(key, |(half, _)| half)
}

fn split(digest: Digest) -> [u64; 2] {
    let number = u128::from_be_bytes(digest.0);
    let low = u64::try_from(number & u128::from(u64::MAX)).expect("masked to 64 bits");
    let high = u64::try_from(number >> 64).expect("shifted to 64 bits");
    [high, low]
}

fn join([high, low]: [u64; 2]) -> Digest {
    Digest((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use gnomon_schemas::cbor;
    use gnomon_schemas::document::Document;

    use super::*;

    #[test]
    fn an_entry_survives_its_row() {
        let (node, key): (NodeName, ShadowKey) =
            ("site-1".parse().unwrap(), "device/a/b".parse().unwrap());
        let document = Document::parse(br#"{"a":{"b":[1]}}"#).unwrap();
        for (digest, undo) in [
            (Some(document.digest()), None),
            (None, Some(Patch::parse(br#"{"a":{"b":null},"c":1.5}"#).unwrap())),
        ] {
            let entry = Entry {
                shadow_version: Version(300),
                version: Version(2),
                at_ms: 12345,
                by: Author::new("admin"),
                digest,
                undo,
            };
            let Op::Put { key: row, value } = put(&node, &key, Half::Reported, &entry) else {
                panic!("not a put");
            };
            assert!(row.starts_with(&of_half(&node, &key, Half::Reported)));
            assert!(row.starts_with(&of_shadow(&node, &key)));
            assert_eq!(half_of(&row), of_half(&node, &key, Half::Reported));
            assert_eq!(place_of(&row).unwrap(), (node.clone(), key.clone(), Half::Reported));
            assert_eq!(age_of(&row, &value).unwrap(), (12345, digest.is_none()));
            assert_eq!(read(&row, &value).unwrap(), entry);
            // What version 0.1 has written.
            let as_ever = Row {
                version: entry.version,
                by: entry.by.to_string(),
                digest: entry.digest.map(split),
                undo: entry.undo.as_ref(),
            };
            assert_eq!(value[8..], cbor::encode(&as_ever));
            assert!(read(&row, &value[..10]).is_err());
        }
        let parent: ShadowKey = "device/a".parse().unwrap();
        assert!(!of_shadow(&node, &key).starts_with(&of_shadow(&node, &parent)));
    }
}
