//! Topics, shadow keys and names: what parses prints as it was written.
#![no_main]

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::Topic;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(topic) = text.parse::<Topic>() {
        assert_eq!(topic.to_string(), text);
    }
    if let Ok(key) = text.parse::<ShadowKey>() {
        assert_eq!(key.to_string(), text);
    }
});
