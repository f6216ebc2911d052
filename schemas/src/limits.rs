//! The sizes beyond which input is refused, in one place so that no layer invents its own.

/// The most bytes that a document may have in its deterministic CBOR form.
pub const DOCUMENT_BYTES: usize = 256 * 1024;

/// The most levels of objects and arrays that a document may nest; the document itself is level 1.
pub const DOCUMENT_DEPTH: usize = 32;

/// The most bytes that a key of an object may have.
pub const OBJECT_KEY_BYTES: usize = 512;

/// The most bytes that a protocol message may have, in either direction.
pub const MESSAGE_BYTES: usize = 512 * 1024;

/// The most shadows that one node may have.
pub const SHADOWS_PER_NODE: usize = 20_000;

/// The most bytes that a JSON text from a user may have before it is parsed.
pub const JSON_BYTES: usize = 1024 * 1024;

/// Apps that a node runs; more are refused there.
pub const APPS_PER_NODE: usize = 256;
