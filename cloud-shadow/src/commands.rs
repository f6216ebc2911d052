//! What `gnomon-cloud` can be told to do, apart from being the cloud.

pub(crate) mod broker;
pub(crate) mod health;
pub(crate) mod init;
pub(crate) mod keep;
mod log;
pub(crate) mod serve;
