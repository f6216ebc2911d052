//! What the end-to-end tests share: the real programs as processes, a cloud and sites in folders
//! of their own, and waiting for conditions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]
#![expect(clippy::indexing_slicing, reason = "JSON in tests")]
#![expect(missing_docs, reason = "read by the tests of this folder only")]

pub mod client;
pub mod cloud;
pub mod eventually;
pub mod kubernetes;
pub mod mqtt;
pub mod process;
pub mod site;

pub use client::Api;
pub use cloud::Cloud;
pub use eventually::eventually;
pub use kubernetes::Kubernetes;
pub use mqtt::Mqtt;
pub use process::Program;
pub use site::Site;
