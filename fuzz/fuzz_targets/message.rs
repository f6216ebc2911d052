//! Every message kind: the first byte chooses it, the rest is its payload. What decodes must
//! survive its own encoding.
#![no_main]

use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::wire::Message;
use libfuzzer_sys::fuzz_target;

const KINDS: [MessageKind; 5] = [
    MessageKind::Hello,
    MessageKind::Batch,
    MessageKind::Ack,
    MessageKind::Manifest,
    MessageKind::Fetch,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, payload)) = bytes.split_first() else { return };
    let kind = KINDS[usize::from(*first) % KINDS.len()];
    if let Ok(message) = Message::decode(kind, payload) {
        let again = Message::decode(kind, &message.encode()).expect("own bytes decode");
        assert_eq!(again, message);
    }
});
