//! Patches from JSON and from CBOR: they merge, and compose with themselves, without a panic.
#![no_main]

use gnomon_schemas::cbor;
use gnomon_schemas::document::{Document, Patch, diff, merge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let from_json = Patch::parse(bytes).ok();
    let from_cbor = cbor::decode(bytes).ok().and_then(|item| Patch::from_cbor(item).ok());
    for patch in from_json.into_iter().chain(from_cbor) {
        let item = cbor::decode(&patch.to_cbor()).expect("own bytes decode");
        assert_eq!(Patch::from_cbor(item).expect("own bytes are a patch"), patch);
        let once = merge(&Document::new(), &patch);
        let twice = merge(&once, &patch);
        assert_eq!(twice, merge(&Document::new(), &patch.clone().compose(patch.clone())));
        assert_eq!(merge(&once, &diff(&once, &twice)), twice);
    }
});
