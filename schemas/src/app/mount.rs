//! What appears in the file system of a service.

use serde::{Deserialize, Serialize};

use super::is_default;
use crate::id::ResourceName;

/// A directory that appears in the file system of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mount {
    /// A named volume of the app.
    Volume {
        /// Its name.
        name: ResourceName,
        /// Whether the service may only read it.
        #[serde(default, skip_serializing_if = "is_default")]
        read_only: bool,
    },
    /// A file or directory of the node.
    Bind {
        /// Its absolute path on the node.
        path: String,
        /// Whether the service may only read it.
        #[serde(default, skip_serializing_if = "is_default")]
        read_only: bool,
    },
    /// Memory that is empty at every start.
    Tmpfs {
        /// How many bytes it holds at most; `None`: the node's default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_bytes: Option<u64>,
    },
}

/// A config or secret that appears as a file of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMount {
    /// The name of the config or secret.
    pub source: ResourceName,
    /// The permission bits; readable by everyone unless said otherwise.
    #[serde(default = "readable_by_all", skip_serializing_if = "is_readable_by_all")]
    pub mode: u32,
}

impl FileMount {
    /// A file that everyone in the service may read.
    pub const fn new(source: ResourceName) -> Self {
        Self { source, mode: readable_by_all() }
    }
}

const fn readable_by_all() -> u32 {
    0o444
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_readable_by_all(mode: &u32) -> bool {
    *mode == readable_by_all()
}
