//! Documents from JSON and from CBOR: what is accepted has one digest, whatever way it came.
#![no_main]

use gnomon_schemas::cbor;
use gnomon_schemas::document::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let from_json = Document::parse(bytes).ok();
    let from_cbor = cbor::decode(bytes).ok().and_then(|item| Document::from_cbor(item).ok());
    for document in from_json.into_iter().chain(from_cbor) {
        let item = cbor::decode(&document.to_cbor()).expect("own bytes decode");
        let again = Document::from_cbor(item).expect("own bytes are a document");
        assert_eq!(again.digest(), document.digest());
        assert_eq!(Document::parse(document.to_string().as_bytes()).expect("own text"), document);
    }
});
