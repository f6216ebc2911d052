//! What a service may do beyond what every container may, or less: capabilities of the kernel,
//! devices, the root file system, and the kernel's limits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::is_default;

/// What a service may do, as far as that differs from the usual.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Confinement {
    /// Capabilities that it has beside the usual ones.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cap_add: BTreeSet<Capability>,
    /// Capabilities that are taken from it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cap_drop: BTreeSet<Capability>,
    /// Whether its root file system is read-only; volumes are not.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Whether no program that it runs may have more rights than it has, such as by `setuid`.
    #[serde(skip_serializing_if = "is_default")]
    pub no_new_privileges: bool,
    /// The kernel's limits of one process.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<UlimitName, Ulimit>,
}

/// A device of the node that a service may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its absolute path on the node.
    pub path: String,
    /// What may be done with it: `r` read, `w` write, `m` make; all of it unless said otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
}

/// What may be done with a device, in the order `rwm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Access {
    read: bool,
    write: bool,
    make: bool,
}

/// A limit: the one that holds, and how far the process may raise it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// The one that holds; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft: Option<u64>,
    /// How far the process may raise it; `None`: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<u64>,
}

/// A text is not what it should name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct ParseNameError(&'static str);

impl Access {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, make: true };
}

impl Default for Access {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Access {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let count = |letter| text.chars().filter(|c| *c == letter).count();
        let is_plain = text.chars().all(|c| "rwm".contains(c) && count(c) == 1);
        if text.is_empty() || !is_plain {
            return Err(ParseNameError("some of the letters `rwm`, each once"));
        }
        Ok(Self { read: text.contains('r'), write: text.contains('w'), make: text.contains('m') })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.make, "m")];
        letters.iter().filter(|(may, _)| *may).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl TryFrom<String> for Access {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

impl From<Access> for String {
    fn from(access: Access) -> Self {
        access.to_string()
    }
}

macro_rules! known_names {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $clean:expr, [$($text:literal),+ $(,)?]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(&'static str);

        impl $name {
            /// Every one that there is.
            pub const ALL: &'static [&'static str] = &[$($text),+];

            /// The name.
            pub const fn as_str(self) -> &'static str {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                let clean: fn(&str) -> String = $clean;
                let text = clean(text);
                let found = Self::ALL.iter().find(|name| **name == text);
                found.map(|name| Self(name)).ok_or(ParseNameError($expected))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

known_names! {
    /// A capability of the Linux kernel without its `CAP_`, or `ALL`.
    ///
    /// ```
    /// use gnomon_schemas::app::Capability;
    /// let net: Capability = "cap_net_admin".parse().unwrap();
    /// assert_eq!(net.as_str(), "NET_ADMIN");
    /// assert!("NET_ADMIM".parse::<Capability>().is_err());
    /// ```
    Capability, "a capability such as `NET_ADMIN`, or `ALL`",
    |text| {
        let upper = text.to_ascii_uppercase();
        upper.strip_prefix("CAP_").map(ToOwned::to_owned).unwrap_or(upper)
    },
    [
        "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF",
        "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID",
        "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
        "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE",
        "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME",
        "SYS_TTY_CONFIG", "SYSLOG", "WAKE_ALARM",
    ]
}

known_names! {
    /// A limit that the kernel keeps for each process.
    UlimitName, "a limit such as `nofile`, `nproc` or `core`", |text| text.to_ascii_lowercase(),
    [
        "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc",
        "rss", "rtprio", "rttime", "sigpending", "stack",
    ]
}
