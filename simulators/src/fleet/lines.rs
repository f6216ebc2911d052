//! The way from the sites to the broker: straight, or through emulated links, one per group.

use std::net::SocketAddr;

use gnomon_edge::link::mqtt::Address;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::plan::Whom;
use crate::link::{Link, LinkConfig, OutageConnect, Profile, StartLinkError};

/// Whether sites may have a link, and if so, after how long an outage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carrier {
    pub(super) is_cut: bool,
    pub(super) outage: std::time::Duration,
}

/// The lines of all groups.
#[derive(Debug)]
pub(super) struct Lines {
    groups: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    carrier: watch::Sender<Carrier>,
    link: Option<Link>,
}

/// Why there are no emulated links.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The broker's host has no address.
    #[error("the broker's address {0} cannot be resolved")]
    Resolve(Address, #[source] std::io::Error),
    /// It has none at all.
    #[error("the broker's host {0} has no address")]
    NoAddress(Address),
    /// A link did not start.
    #[error("an emulated link did not start")]
    Start(#[from] StartLinkError),
}

impl Lines {
    /// Lines to the broker for groups of so many sites. An emulated link's rates are those of one
    /// site: those of its group are as many times that. Its outages reset what is open and refuse
    /// what is new.
    pub(super) async fn start(
        sizes: &[usize],
        broker: &Address,
        profile: Option<&Profile>,
        seed: u64,
    ) -> Result<Self, LinesError> {
        let mut lines = Vec::new();
        for (group, sites) in (0_u64..).zip(sizes) {
            let link = match profile {
                Some(profile) => {
                    let profile = shared(profile, u64::try_from(*sites).unwrap_or(1).max(1));
                    let seed = seed.wrapping_add(group);
                    let (listen, target) =
                        (SocketAddr::from(([127, 0, 0, 1], 0)), resolve(broker).await?);
                    Some(Link::start(LinkConfig { listen, target, profile, seed })?)
                }
                None => None,
            };
            lines.push(Line { carrier: watch::Sender::new(Carrier::default()), link });
        }
        Ok(Self { groups: lines })
    }

    /// Where a site dials, and what tells it of outages.
    pub(super) fn of(&self, site: u32, broker: &Address) -> (Address, watch::Receiver<Carrier>) {
        let groups = u32::try_from(self.groups.len()).unwrap_or(1).max(1);
        let at = usize::try_from(site % groups).unwrap_or_default();
        let Some(group) = self.groups.get(at) else {
            return (broker.clone(), watch::Sender::new(Carrier::default()).subscribe());
        };
        let address = match &group.link {
            Some(link) => Address { host: link.addr().ip().to_string(), port: link.addr().port() },
            None => broker.clone(),
        };
        (address, group.carrier.subscribe())
    }

    /// Begins or ends an outage. On emulated links the agents meet it as they would; else each site
    /// is told, and drops its connection.
    pub(super) fn set(&self, whom: Whom, carrier: Carrier) {
        let count = u32::try_from(self.groups.len()).unwrap_or(1);
        for (group, line) in (0..count).zip(&self.groups) {
            if !whom.is(group, count) {
                continue;
            }
            match &line.link {
                Some(link) if carrier.is_cut => link.down(),
                Some(link) => link.up(),
                None => drop(line.carrier.send_replace(carrier)),
            }
        }
    }

    /// Ends the emulated links.
    pub(super) async fn stop(self) {
        for line in self.groups {
            if let Some(link) = line.link {
                link.shutdown().await;
            }
        }
    }
}

fn shared(profile: &Profile, sites: u64) -> Profile {
    Profile {
        rate_up_bytes_per_s: profile.rate_up_bytes_per_s.saturating_mul(sites),
        rate_down_bytes_per_s: profile.rate_down_bytes_per_s.saturating_mul(sites),
        queue_bytes: profile.queue_bytes.saturating_mul(sites),
        outage_hang_ms: Some(profile.outage_hang_ms.unwrap_or_default()),
        outage_connect: OutageConnect::Refuse,
        ..profile.clone()
    }
}

pub(super) async fn resolve(address: &Address) -> Result<SocketAddr, LinesError> {
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let mut found = found.map_err(|source| LinesError::Resolve(address.clone(), source))?;
    found.next().ok_or_else(|| LinesError::NoAddress(address.clone()))
}
