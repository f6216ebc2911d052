//! What is too large, too deep or out of range is refused, and what is just within is not.

use ciborium::Value as Cbor;
use gnomon_schemas::cbor::CborError;
use gnomon_schemas::document::{InvalidDocument, ReadDocumentError};
use gnomon_schemas::limits;
use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::wire::{DecodeError, Message};

fn int(value: u64) -> Cbor {
    Cbor::Integer(value.into())
}

fn text(value: &str) -> Cbor {
    Cbor::Text(value.to_owned())
}

/// Decodes a message of these fields beside an epoch and a position.
fn decode(kind: MessageKind, fields: Vec<(u64, Cbor)>) -> Result<Message, DecodeError> {
    let mut entries = vec![(int(0), Cbor::Bytes(vec![7; 16])), (int(1), int(1))];
    entries.extend(fields.into_iter().map(|(tag, value)| (int(tag), value)));
    let mut bytes = Vec::new();
    ciborium::into_writer(&Cbor::Map(entries), &mut bytes).unwrap();
    Message::decode(kind, &bytes)
}

/// Decodes a batch of one change that sets a whole document; its digest is not looked at here.
fn full(document: Cbor) -> Result<Message, DecodeError> {
    let change = vec![
        (int(0), text("node")),
        (int(2), int(1)),
        (int(4), document),
        (int(6), Cbor::Bytes(vec![0; 16])),
    ];
    decode(MessageKind::Batch, vec![(2, int(0)), (4, Cbor::Array(vec![Cbor::Map(change)]))])
}

fn invalid(result: Result<Message, DecodeError>) -> InvalidDocument {
    let error = result.unwrap_err();
    let DecodeError::Document(ReadDocumentError::Invalid(invalid)) = error else {
        unreachable!("refused for another reason: {error:?}")
    };
    invalid
}

fn nested(levels: usize) -> Cbor {
    (1..levels).fold(Cbor::Map(vec![]), |inner, _| Cbor::Map(vec![(text("x"), inner)]))
}

#[test]
fn a_message_over_the_limit_is_refused_unread() {
    let bytes = vec![0; limits::MESSAGE_BYTES + 1];
    let error = Message::decode(MessageKind::Ack, &bytes).unwrap_err();
    assert!(matches!(error, DecodeError::Cbor(CborError::TooLarge { .. })), "{error:?}");
}

#[test]
fn a_list_has_at_most_as_many_entries_as_a_node_has_shadows() {
    let keys = |count| Cbor::Array(vec![text("node"); count]);
    assert!(decode(MessageKind::Fetch, vec![(6, keys(limits::SHADOWS_PER_NODE))]).is_ok());
    let error = decode(MessageKind::Fetch, vec![(6, keys(limits::SHADOWS_PER_NODE + 1))]);
    assert!(matches!(error, Err(DecodeError::TooMany { field: "keys", .. })), "{error:?}");
}

#[test]
fn a_document_in_a_message_has_the_limits_of_every_document() {
    let map = |key: String, value| Cbor::Map(vec![(Cbor::Text(key), value)]);
    let long = |count: usize| map("k".to_owned(), Cbor::Text("x".repeat(count)));
    assert!(full(long(limits::DOCUMENT_BYTES - 8)).is_ok());
    let error = invalid(full(long(limits::DOCUMENT_BYTES)));
    assert!(matches!(error, InvalidDocument::TooLarge { .. }));
    assert!(full(nested(limits::DOCUMENT_DEPTH)).is_ok());
    let error = invalid(full(nested(limits::DOCUMENT_DEPTH + 1)));
    assert!(matches!(error, InvalidDocument::TooDeep { .. }));
    assert!(full(map("k".repeat(limits::OBJECT_KEY_BYTES), int(1))).is_ok());
    let error = invalid(full(map("k".repeat(limits::OBJECT_KEY_BYTES + 1), int(1))));
    assert!(matches!(error, InvalidDocument::KeyTooLong { .. }));
    let error = invalid(full(map("k".to_owned(), Cbor::Null)));
    assert!(matches!(error, InvalidDocument::Null { .. }));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let window = |value| decode(MessageKind::Hello, vec![(3, value)]);
    assert!(window(int(255)).is_ok());
    for value in [int(256), Cbor::Integer((-1).into()), text("1"), Cbor::Float(1.0)] {
        assert!(matches!(window(value), Err(DecodeError::WrongType("window"))));
    }
    let part = |value| {
        let (entries, answers) = (Cbor::Array(vec![]), Cbor::Bytes(vec![0; 16]));
        let fields = vec![(5, entries), (7, value), (8, int(1)), (9, answers)];
        decode(MessageKind::Manifest, fields)
    };
    assert!(part(int(u64::from(u32::MAX))).is_ok());
    assert!(part(int(u64::from(u32::MAX) + 1)).is_err());
}

#[test]
fn an_epoch_and_a_digest_have_sixteen_bytes() {
    let manifest = |answers, digest| {
        let entry = Cbor::Array(vec![text("node"), int(1), Cbor::Bytes(vec![0; digest])]);
        let (entries, answers) = (Cbor::Array(vec![entry]), Cbor::Bytes(vec![0; answers]));
        let fields = vec![(5, entries), (7, int(0)), (8, int(1)), (9, answers)];
        decode(MessageKind::Manifest, fields)
    };
    assert!(manifest(16, 16).is_ok());
    for len in [0, 15, 17] {
        assert!(manifest(len, 16).is_err());
        assert!(manifest(16, len).is_err());
    }
}

#[test]
fn a_length_that_is_only_claimed_is_not_believed() {
    for head in [0x9b, 0xbb, 0x5b, 0x7b] {
        let bytes = [&[0xa1, 0x00, head][..], &[0x7f; 8]].concat();
        assert!(Message::decode(MessageKind::Ack, &bytes).is_err(), "{head:x}");
    }
}
