//! One file per command. Data goes to stdout, talk to stderr.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod get;
pub(crate) mod node;
pub(crate) mod shadow;
pub(crate) mod token;
