//! A session of MQTT: the first byte chooses the version and whether it outlives its connections, the
//! rest is what the client sends. Nothing panics, and the bounds hold after each packet.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gnomon_broker::fuzzing::session(bytes));
