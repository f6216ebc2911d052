//! The face that clients of AWS IoT Device Shadow know. [`domain`] decides and is pure.

pub mod domain;
