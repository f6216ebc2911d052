//! What an emulated link is like: the serde form of a profile, its checks, and the profiles shipped with the program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The names of the profiles compiled into the program.
pub const SHIPPED_PROFILES: [&str; 7] =
    ["perfect", "4g-good", "4g-bad", "2g-edge", "satellite", "tunnel", "carrier-outage"];

/// How a link behaves. `up` is from the connecting client to the target, `down` is the way back.
///
/// The default is a perfect link: every field that is left out does no harm.
///
/// ```
/// use gnomon_sim::link::Profile;
///
/// let slow = Profile::parse("delay_ms = 300\nrate_up_bytes_per_s = 8000").expect("a profile");
/// assert_eq!(slow.delay_ms, 300);
/// assert!(Profile::parse("delay = 300").is_err(), "units belong to the name");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// One-way delay, in each direction.
    pub delay_ms: u64,
    /// Added to the delay of each chunk, uniform from zero; order is kept all the same.
    pub jitter_ms: u64,
    /// Rate from client to target, shared by all connections of the link; 0 is unlimited.
    pub rate_up_bytes_per_s: u64,
    /// Rate from target to client, shared by all connections of the link; 0 is unlimited.
    pub rate_down_bytes_per_s: u64,
    /// What the modem holds per direction before the sender feels back-pressure.
    pub queue_bytes: u64,
    /// Probability, per KiB, that a segment is lost and its stream stalls.
    pub loss_per_kib: f64,
    /// Probability that a retransmission is lost again, which doubles the stall.
    pub loss_repeat: f64,
    /// The first retransmission time.
    pub stall_ms: u64,
    /// The longest single retransmission time.
    pub stall_cap_ms: u64,
    /// Probability per minute that a connection is reset, for each connection.
    pub resets_per_minute: f64,
    /// A connection that is idle for longer is forgotten without a word; 0 is never.
    pub nat_idle_ms: u64,
    /// Mean time between outages of the link's own making; 0 is none.
    pub outage_every_ms: u64,
    /// Mean length of such an outage.
    pub outage_for_ms: u64,
    /// How long connections hang half-open in an outage before they are reset: 0 resets them at
    /// once, leaving it out lets them hang until the link is back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage_hang_ms: Option<u64>,
    /// What happens to new connections while the link is down.
    pub outage_connect: OutageConnect,
}

/// What a client meets that connects while the link is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageConnect {
    /// Nothing answers: the connection waits for the link, or for the client to give up.
    #[default]
    BlackHole,
    /// The connection is reset at once.
    Refuse,
}

impl Profile {
    /// A link that does nothing to the bytes.
    pub fn perfect() -> Self {
        Self {
            delay_ms: 0,
            jitter_ms: 0,
            rate_up_bytes_per_s: 0,
            rate_down_bytes_per_s: 0,
            queue_bytes: 64 * 1024,
            loss_per_kib: 0.0,
            loss_repeat: 0.0,
            stall_ms: 0,
            stall_cap_ms: 0,
            resets_per_minute: 0.0,
            nat_idle_ms: 0,
            outage_every_ms: 0,
            outage_for_ms: 0,
            outage_hang_ms: None,
            outage_connect: OutageConnect::BlackHole,
        }
    }

    /// Reads a profile from the text of a TOML file.
    pub fn parse(text: &str) -> Result<Self, ParseProfileError> {
        let profile: Self = toml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    /// Gives the profile shipped under `name`.
    pub fn shipped(name: &str) -> Option<Self> {
        Self::parse(shipped_text(name)?).ok()
    }

    /// Reads the profile shipped under that name, or else the TOML file at that path.
    pub fn load(name_or_path: &str) -> Result<Self, LoadProfileError> {
        if let Some(profile) = Self::shipped(name_or_path) {
            return Ok(profile);
        }
        let path = Path::new(name_or_path);
        let text = std::fs::read_to_string(path)
            .map_err(|source| LoadProfileError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|source| LoadProfileError::Parse { path: path.to_owned(), source })
    }

    /// Says what is wrong with the values, if anything is.
    pub fn check(&self) -> Result<(), InvalidProfile> {
        for (field, value) in [
            ("loss_per_kib", self.loss_per_kib),
            ("loss_repeat", self.loss_repeat),
            ("resets_per_minute", self.resets_per_minute),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(InvalidProfile::Probability { field, value });
            }
        }
        for (field, value) in [
            ("delay_ms", self.delay_ms),
            ("jitter_ms", self.jitter_ms),
            ("stall_ms", self.stall_ms),
            ("stall_cap_ms", self.stall_cap_ms),
            ("nat_idle_ms", self.nat_idle_ms),
            ("outage_every_ms", self.outage_every_ms),
            ("outage_for_ms", self.outage_for_ms),
            ("outage_hang_ms", self.outage_hang_ms.unwrap_or_default()),
        ] {
            if value > DAY_MS {
                return Err(InvalidProfile::TooLong { field, value });
            }
        }
        if !QUEUE_BYTES.contains(&self.queue_bytes) {
            return Err(InvalidProfile::Queue { value: self.queue_bytes });
        }
        if self.loss_per_kib > 0.0 && self.stall_ms == 0 {
            return Err(InvalidProfile::NeedsCompanion { set: "loss_per_kib", zero: "stall_ms" });
        }
        if self.stall_cap_ms < self.stall_ms {
            return Err(InvalidProfile::StallCap { stall: self.stall_ms, cap: self.stall_cap_ms });
        }
        if self.outage_every_ms > 0 && self.outage_for_ms == 0 {
            return Err(InvalidProfile::NeedsCompanion {
                set: "outage_every_ms",
                zero: "outage_for_ms",
            });
        }
        Ok(())
    }

    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    pub(super) fn rate(&self, direction: super::Direction) -> u64 {
        match direction {
            super::Direction::Up => self.rate_up_bytes_per_s,
            super::Direction::Down => self.rate_down_bytes_per_s,
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::perfect()
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const QUEUE_BYTES: std::ops::RangeInclusive<u64> = 1024..=16 * 1024 * 1024;

fn shipped_text(name: &str) -> Option<&'static str> {
    Some(match name {
        "perfect" => include_str!("../../profiles/perfect.toml"),
        "4g-good" => include_str!("../../profiles/4g-good.toml"),
        "4g-bad" => include_str!("../../profiles/4g-bad.toml"),
        "2g-edge" => include_str!("../../profiles/2g-edge.toml"),
        "satellite" => include_str!("../../profiles/satellite.toml"),
        "tunnel" => include_str!("../../profiles/tunnel.toml"),
        "carrier-outage" => include_str!("../../profiles/carrier-outage.toml"),
        _ => return None,
    })
}

/// Why the values of a profile make no link.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProfile {
    /// A probability outside its range.
    #[error("{field} = {value} is not a probability: use a number from 0 to 1")]
    Probability {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A time beyond a day.
    #[error("{field} = {value} is longer than a day: use at most {DAY_MS}")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A modem queue that holds no segment, or too many.
    #[error("queue_bytes = {value} is out of range: use 1024 to 16777216")]
    Queue {
        /// Its value.
        value: u64,
    },
    /// A cap below what it caps.
    #[error("stall_cap_ms = {cap} is below stall_ms = {stall}: raise the cap")]
    StallCap {
        /// The first retransmission time.
        stall: u64,
        /// The cap.
        cap: u64,
    },
    /// A field that means nothing without another.
    #[error("{set} is set but {zero} is 0: set {zero} too")]
    NeedsCompanion {
        /// The field that is set.
        set: &'static str,
        /// The field it needs.
        zero: &'static str,
    },
}

/// Why a text is not a profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseProfileError {
    /// Not TOML, or not the fields of a profile.
    #[error("the link profile is not readable")]
    Toml(#[from] toml::de::Error),
    /// Readable, but with values that make no link.
    #[error("the link profile has a wrong value")]
    Invalid(#[from] InvalidProfile),
}

/// Why a profile could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadProfileError {
    /// Neither a shipped name nor a readable file.
    #[error(
        "no link profile {}: name a readable TOML file or one of {}",
        path.display(),
        SHIPPED_PROFILES.join(", ")
    )]
    Read {
        /// What was asked for.
        path: PathBuf,
        /// Why it is not readable as a file.
        source: std::io::Error,
    },
    /// The file is not a profile.
    #[error("cannot use the link profile {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseProfileError,
    },
}

#[cfg(test)]
mod tests;
