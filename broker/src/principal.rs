//! Who is at the other end of a connection.

use std::fmt;
use std::str::FromStr;

/// What kind of client a principal is; the access rules are written per role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A site's agent.
    Node,
    /// A thing that is connected directly.
    Device,
    /// A backend of the operator.
    Service,
    /// A client that showed no credentials.
    Anonymous,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Device => "device",
            Self::Service => "service",
            Self::Anonymous => "anonymous",
        })
    }
}

/// A text that is not the name of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is 'node', 'device', 'service' or 'anonymous'")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;
    fn from_str(text: &str) -> Result<Self, ParseRoleError> {
        match text {
            "node" => Ok(Self::Node),
            "device" => Ok(Self::Device),
            "service" => Ok(Self::Service),
            "anonymous" => Ok(Self::Anonymous),
            _ => Err(ParseRoleError),
        }
    }
}

/// An authenticated identity. Client ids belong to it: the same client id of another
/// principal is another session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The name within its role, such as the node's name; empty for an anonymous client.
    pub name: Box<str>,
    /// The kind of client.
    pub role: Role,
}

impl Principal {
    /// A principal of a role.
    pub fn new(name: &str, role: Role) -> Self {
        Self { name: name.into(), role }
    }

    /// The identity of a client that showed no credentials.
    pub fn anonymous() -> Self {
        Self::new("", Role::Anonymous)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Anonymous => f.write_str("anonymous"),
            Role::Node | Role::Device | Role::Service => write!(f, "{}/{}", self.role, self.name),
        }
    }
}
