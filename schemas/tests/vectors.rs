//! Golden CBOR of every message: a difference here is a change of the protocol and needs an ADR.
#![expect(clippy::unwrap_used, reason = "test code")]

#[path = "vectors/files.rs"]
mod files;
#[path = "vectors/limits.rs"]
mod limits;

use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::version::{Digest, Epoch, Seq, Version};
use gnomon_schemas::wire::{
    Ack, Batch, Body, Entry, Fetch, Hello, Manifest, ManifestEntry, Message,
};
use serde_json::json;

const EPOCH: Epoch = Epoch(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn digest(fill: u8) -> Digest {
    Digest([fill; 16])
}

#[expect(clippy::too_many_lines, reason = "a table")]
/// Each message with the hex of its CBOR; the comment above is its diagnostic notation.
fn vectors() -> Vec<(Message, &'static str)> {
    let entry = |key: &str, base, version, body| Entry {
        key: key.parse().unwrap(),
        base: Version(base),
        version: Version(version),
        body,
    };
    let patch = Patch::from_value(json!({"rate": 5, "unit": null})).unwrap();
    let full = Document::from_value(json!({"on": true})).unwrap();
    vec![
        // {0: h'0102..10', 1: 7}
        (
            Message::Hello(Hello { epoch: EPOCH, seq: Seq(7), window: 1 }),
            "a200500102030405060708090a0b0c0d0e0f100107",
        ),
        // {0: h'0102..10', 1: 7, 3: 4}
        (
            Message::Hello(Hello { epoch: EPOCH, seq: Seq(7), window: 4 }),
            "a300500102030405060708090a0b0c0d0e0f1001070304",
        ),
        // {0: h'0102..10', 1: 300}
        (
            Message::Ack(Ack { epoch: EPOCH, seq: Seq(300) }),
            "a200500102030405060708090a0b0c0d0e0f100119012c",
        ),
        // {0: h'0102..10', 1: 9, 2: 7, 4: [
        //   {0: "device/p1", 1: 3, 2: 4, 3: {"rate": 5, "unit": null}, 6: h'aa..'},
        //   {0: "app/web", 2: 1, 4: {"on": true}, 6: h'bb..'},
        //   {0: "node", 2: 2, 5: true}]}
        (
            Message::Batch(Batch {
                epoch: EPOCH,
                after: Seq(7),
                seq: Seq(9),
                changes: vec![
                    entry("device/p1", 3, 4, Body::Patch(patch, digest(0xaa))),
                    entry("app/web", 0, 1, Body::Full(full, digest(0xbb))),
                    entry("node", 0, 2, Body::Gone),
                ],
            }),
            "a400500102030405060708090a0b0c0d0e0f10010902070483a500696465766963652f70310103020403a2\
             64726174650564756e6974f60650aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa400676170702f776562020104\
             a1626f6ef50650bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbba300646e6f6465020205f5",
        ),
        // {0: h'0102..10', 1: 9, 5: [["app/web", 1, h'bb..']], 7: 0, 8: 1, 9: h'00..'}
        (
            Message::Manifest(Manifest {
                epoch: EPOCH,
                seq: Seq(9),
                answers: Epoch::NONE,
                part: 0,
                parts: 1,
                entries: vec![ManifestEntry {
                    key: "app/web".parse().unwrap(),
                    version: Version(1),
                    digest: digest(0xbb),
                }],
            }),
            "a600500102030405060708090a0b0c0d0e0f10010905818367617\
             0702f7765620150bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb07000801095000000000000000000000000000\
             000000",
        ),
        // {0: h'0102..10', 1: 9, 6: ["app/web", "device/p1/limits"]}
        (
            Message::Fetch(Fetch {
                epoch: EPOCH,
                seq: Seq(9),
                keys: vec!["app/web".parse().unwrap(), "device/p1/limits".parse().unwrap()],
            }),
            "a300500102030405060708090a0b0c0d0e0f1001090682676170702f776562706465766963652f70312f6c\
             696d697473",
        ),
    ]
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn every_message_encodes_to_its_vector() {
    for (message, golden) in vectors() {
        assert_eq!(gnomon_schemas::hex::of(&message.encode()), golden, "{message:?}");
    }
}

#[test]
fn every_vector_decodes_to_its_message() {
    for (message, golden) in vectors() {
        assert_eq!(Message::decode(message.kind(), &unhex(golden)).unwrap(), message);
    }
}

#[test]
fn fields_of_a_newer_minor_version_are_ignored() {
    for (message, golden) in vectors() {
        let mut bytes = unhex(golden);
        bytes[0] += 1;
        bytes.extend([0x18, 0x63, 0x81, 0x01]);
        assert_eq!(Message::decode(message.kind(), &bytes).unwrap(), message);
    }
}

#[test]
fn every_truncation_is_refused() {
    for (message, golden) in vectors() {
        let bytes = unhex(golden);
        for len in 0..bytes.len() {
            let cut = Message::decode(message.kind(), &bytes[..len]);
            assert!(cut.is_err(), "{len} bytes of {message:?} were accepted");
        }
    }
}

#[test]
fn one_message_is_not_taken_for_another() {
    let ack = Message::Ack(Ack { epoch: EPOCH, seq: Seq(1) }).encode();
    // A hello may have the fields of an ack: the topic tells them apart.
    for kind in [MessageKind::Batch, MessageKind::Manifest, MessageKind::Fetch] {
        assert!(Message::decode(kind, &ack).is_err(), "{kind:?}");
    }
}

#[test]
fn every_flipped_bit_is_refused_or_reads_as_some_message() {
    for (message, golden) in vectors() {
        let bytes = unhex(golden);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Message::decode(message.kind(), &flipped) {
                let again = Message::decode(other.kind(), &other.encode()).unwrap();
                assert_eq!(again, other);
            }
        }
    }
}
