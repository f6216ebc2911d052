//! A port of a service that is reachable from outside.

use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use super::is_default;

/// A port of a service and where the node offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The port on which the service listens.
    pub container: NonZeroU16,
    /// The port of the node; `None`: any free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<NonZeroU16>,
    /// The address of the node; `None`: every address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The protocol; TCP unless said otherwise.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
}

/// The protocol of a port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Port {
    /// Whether both ask for the same fixed port of the node.
    pub fn collides(&self, other: &Self) -> bool {
        let everywhere = |ip: Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
        self.host.is_some()
            && self.host == other.host
            && self.protocol == other.protocol
            && (everywhere(self.host_ip)
                || everywhere(other.host_ip)
                || self.host_ip == other.host_ip)
    }
}
