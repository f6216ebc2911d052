//! The same vectors as files, for other implementations: diagnostic notation (RFC 8949, section 8)
//! and the bytes in hex. A `-newer` one holds what a newer minor version may add, an `-older` one
//! says what is understood by itself today.

use std::path::PathBuf;

use ciborium::Value as Cbor;
use gnomon_schemas::wire::Message;

use super::{unhex, vectors};

/// The files, and which of the vectors each of them is.
const FILES: [(&str, usize); 9] = [
    ("hello", 0),
    ("hello-window", 1),
    ("ack", 2),
    ("batch", 3),
    ("manifest", 4),
    ("fetch", 5),
    ("hello-older", 0),
    ("hello-newer", 0),
    ("batch-newer", 3),
];

#[test]
fn every_file_says_the_same_in_words_and_in_bytes() {
    for (name, _) in FILES {
        let (notation, bytes) = read(name);
        let item: Cbor = ciborium::from_reader(bytes.as_slice()).unwrap();
        assert_eq!(notation, diagnostic(&item), "{name}");
    }
}

#[test]
fn every_file_decodes_to_its_message_and_back() {
    for (name, at) in FILES {
        let (_, bytes) = read(name);
        let (message, _) = vectors().remove(at);
        assert_eq!(Message::decode(message.kind(), &bytes).unwrap(), message, "{name}");
        if !["-newer", "-older"].iter().any(|age| name.ends_with(age)) {
            assert_eq!(
                gnomon_schemas::hex::of(&message.encode()),
                gnomon_schemas::hex::of(&bytes),
                "{name}"
            );
        }
    }
}

/// The notation, however it is broken into lines, and the bytes.
fn read(name: &str) -> (String, Vec<u8>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let text = std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
    let (notation, bytes) = text.split_once("\n\n").unwrap();
    let lines: Vec<_> = notation.lines().map(str::trim).collect();
    let bytes: String = bytes.split_whitespace().collect();
    (lines.join(" ").replace("[ ", "["), unhex(&bytes))
}

/// A CBOR item in diagnostic notation.
#[expect(clippy::wildcard_enum_match_arm, reason = "the vectors hold few kinds of items")]
fn diagnostic(item: &Cbor) -> String {
    match item {
        Cbor::Integer(integer) => i128::from(*integer).to_string(),
        Cbor::Bytes(bytes) => format!("h'{}'", gnomon_schemas::hex::of(bytes)),
        Cbor::Text(text) => format!("{text:?}"),
        Cbor::Bool(value) => value.to_string(),
        Cbor::Null => "null".to_owned(),
        Cbor::Array(items) => {
            let items: Vec<_> = items.iter().map(diagnostic).collect();
            format!("[{}]", items.join(", "))
        }
        Cbor::Map(entries) => {
            let entry =
                |(key, value): &(Cbor, Cbor)| format!("{}: {}", diagnostic(key), diagnostic(value));
            let entries: Vec<_> = entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
        _ => unreachable!("the vectors hold no {item:?}"),
    }
}
