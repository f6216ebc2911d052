//! Steering running links from outside: requests and responses, one JSON object per line, over a
//! Unix socket.

mod client;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::tap::TapLink;
use super::{Counters, InvalidProfile, Link, Profile, SHIPPED_PROFILES};

pub use client::{AskError, ask};
pub use server::{BindControlError, ControlSocket, MAX_LINE_BYTES};

/// What a client asks.
///
/// ```
/// use gnomon_sim::link::control::Request;
///
/// let request: Request = serde_json::from_str(r#"{"link":"site-1","do":"down"}"#).expect("valid");
/// assert_eq!(request, Request::Down { link: "site-1".to_owned() });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Take a link down.
    Down {
        /// The link's name.
        link: String,
    },
    /// Bring it back.
    Up {
        /// The link's name.
        link: String,
    },
    /// Change how it behaves.
    Profile {
        /// The link's name.
        link: String,
        /// The name of a shipped profile, or an object with the fields of one.
        profile: serde_json::Value,
    },
    /// Read what it has counted.
    Counters {
        /// The link's name.
        link: String,
    },
    /// Tell all about all links.
    List {},
}

/// What the links answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Response {
    /// It is done.
    Done {
        /// The link's name.
        link: String,
    },
    /// What a link has counted.
    Counters {
        /// The link's name.
        link: String,
        /// Its counters.
        counters: Counters,
    },
    /// All links.
    List {
        /// In the order of their names.
        links: Vec<LinkReport>,
    },
    /// It is not done.
    Error {
        /// The kind, for programs.
        code: ErrorCode,
        /// What was wrong and what to do, for people.
        message: String,
    },
}

/// One link in a [`Response::List`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// Its name.
    pub link: String,
    /// Where it listens; a wire does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr: Option<SocketAddr>,
    /// Where it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<SocketAddr>,
    /// Whether it has been taken down.
    pub down: bool,
    /// How it behaves.
    pub profile: Profile,
    /// What it has counted.
    pub counters: Counters,
}

/// Why a request was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not one JSON object with the fields of a request.
    Malformed,
    /// A line longer than [`MAX_LINE_BYTES`]; the connection is closed after this answer.
    TooLong,
    /// No link of that name here.
    UnknownLink,
    /// No profile of that name is shipped.
    UnknownProfile,
    /// Not the fields of a profile, or values that make no link.
    InvalidProfile,
}

/// An emulated link of either kind.
#[derive(Debug)]
pub enum Emulated {
    /// A TCP proxy.
    Proxy(Link),
    /// A wire between two network namespaces.
    Wire(TapLink),
}

/// The links of one process by name.
#[derive(Debug, Default)]
pub struct Links(BTreeMap<String, Emulated>);

/// A second link under a name that is taken.
#[derive(Debug, thiserror::Error)]
#[error("there is a link named {name} already: give each link its own name")]
pub struct DuplicateLink {
    /// The name.
    pub name: String,
}

impl Links {
    /// Adds a link.
    pub fn insert(&mut self, name: String, link: impl Into<Emulated>) -> Result<(), DuplicateLink> {
        if self.0.contains_key(&name) {
            return Err(DuplicateLink { name });
        }
        self.0.insert(name, link.into());
        Ok(())
    }

    /// Looks a link up.
    pub fn get(&self, name: &str) -> Option<&Emulated> {
        self.0.get(name)
    }

    /// All links in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Emulated)> {
        self.0.iter().map(|(name, link)| (name.as_str(), link))
    }

    /// Stops them all.
    pub async fn shutdown(&self) {
        for link in self.0.values() {
            match link {
                Emulated::Proxy(link) => link.shutdown().await,
                // It ends when it is dropped.
                Emulated::Wire(_) => {}
            }
        }
    }

    /// Carries out one line of input, whatever it is.
    pub fn answer_line(&self, line: &[u8]) -> Response {
        match serde_json::from_slice(line) {
            Ok(request) => self.answer(request),
            Err(error) => refused(
                ErrorCode::Malformed,
                format!(
                    "not a request: {error}; send e.g. {{\"link\":\"site-1\",\"do\":\"down\"}}"
                ),
            ),
        }
    }

    /// Carries out one request.
    pub fn answer(&self, request: Request) -> Response {
        match request {
            Request::Down { link } => self.with(link, |found, link| {
                found.down();
                Response::Done { link }
            }),
            Request::Up { link } => self.with(link, |found, link| {
                found.up();
                Response::Done { link }
            }),
            Request::Profile { link, profile } => {
                self.with(link, |found, link| {
                    match read_profile(profile).and_then(|profile| {
                        found.set_profile(profile).map_err(|error| {
                            refused(ErrorCode::InvalidProfile, format!("not a profile: {error}"))
                        })
                    }) {
                        Ok(()) => Response::Done { link },
                        Err(refusal) => refusal,
                    }
                })
            }
            Request::Counters { link } => self
                .with(link, |found, link| Response::Counters { link, counters: found.counters() }),
            Request::List {} => Response::List {
                links: self.iter().map(|(name, link)| report(name, link)).collect(),
            },
        }
    }

    fn with(&self, name: String, act: impl FnOnce(&Emulated, String) -> Response) -> Response {
        if let Some(link) = self.0.get(&name) {
            return act(link, name);
        }
        let known: Vec<_> = self.0.keys().map(String::as_str).collect();
        let message = format!("no link named {name:?}: there is {}", known.join(", "));
        refused(ErrorCode::UnknownLink, message)
    }
}

fn read_profile(value: serde_json::Value) -> Result<Profile, Response> {
    if let serde_json::Value::String(name) = &value {
        return Profile::shipped(name).ok_or_else(|| {
            let names = SHIPPED_PROFILES.join(", ");
            let message = format!("no shipped profile {name:?}: use {names}, or send the fields");
            refused(ErrorCode::UnknownProfile, message)
        });
    }
    serde_json::from_value(value)
        .map_err(|error| refused(ErrorCode::InvalidProfile, format!("not a profile: {error}")))
}

impl Emulated {
    /// The profile in force.
    pub fn profile(&self) -> Profile {
        match self {
            Self::Proxy(link) => link.profile(),
            Self::Wire(wire) => wire.profile(),
        }
    }

    /// Changes how it behaves.
    pub fn set_profile(&self, profile: Profile) -> Result<(), InvalidProfile> {
        match self {
            Self::Proxy(link) => link.set_profile(profile),
            Self::Wire(wire) => wire.set_profile(profile),
        }
    }

    /// Takes it down: nothing passes.
    pub fn down(&self) {
        match self {
            Self::Proxy(link) => link.down(),
            Self::Wire(wire) => wire.set_down(true),
        }
    }

    /// Brings it back.
    pub fn up(&self) {
        match self {
            Self::Proxy(link) => link.up(),
            Self::Wire(wire) => wire.set_down(false),
        }
    }

    /// Whether it has been taken down.
    pub fn is_down(&self) -> bool {
        match self {
            Self::Proxy(link) => link.is_down(),
            Self::Wire(wire) => wire.is_down(),
        }
    }

    /// What it has counted so far.
    pub fn counters(&self) -> Counters {
        match self {
            Self::Proxy(link) => link.counters(),
            Self::Wire(wire) => wire.counters(),
        }
    }

    /// Where a proxy listens and leads; of a wire, nothing.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Proxy(link) => Some((link.addr(), link.target())),
            Self::Wire(_) => None,
        }
    }
}

impl From<Link> for Emulated {
    fn from(link: Link) -> Self {
        Self::Proxy(link)
    }
}

impl From<TapLink> for Emulated {
    fn from(wire: TapLink) -> Self {
        Self::Wire(wire)
    }
}

fn report(name: &str, link: &Emulated) -> LinkReport {
    let addresses = link.addresses();
    LinkReport {
        link: name.to_owned(),
        addr: addresses.map(|(addr, _)| addr),
        target: addresses.map(|(_, target)| target),
        down: link.is_down(),
        profile: link.profile(),
        counters: link.counters(),
    }
}

fn refused(code: ErrorCode, message: String) -> Response {
    Response::Error { code, message }
}

#[cfg(test)]
mod tests;
