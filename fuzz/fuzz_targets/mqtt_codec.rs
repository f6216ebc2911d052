//! Packets of MQTT: the first byte chooses the version, the rest is what a client sends. What decodes
//! is encoded for both versions and must decode to the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gnomon_broker::fuzzing::codec(bytes));
