//! What is between a site and the cloud: the emulator, and for a site in a box also the packets on
//! its cable.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use gnomon_sim::link::{LinkConfig, OutageConnect, Profile};
use gnomon_tests::eventually::let_pass;

use super::cloud::Cloud;
use super::site::Site;

pub(crate) struct Link {
    /// To the broker, and to the API where certificates are renewed.
    lines: Vec<gnomon_sim::link::Link>,
    cable: Option<String>,
}

/// Which packets on the cable are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packets {
    Up,
    Down,
    /// So many percent of both.
    Share(u64),
}

impl Link {
    /// Needs a runtime around it.
    pub(crate) fn start(cloud: &Cloud, site: &Site, seed: u64) -> Self {
        let listen: SocketAddr =
            if site.is_box() { "0.0.0.0:0" } else { "127.0.0.1:0" }.parse().unwrap();
        let line = |target: &str| {
            let (target, profile) = (target.parse().unwrap(), Profile::perfect());
            let config = LinkConfig { listen, target, profile, seed };
            gnomon_sim::link::Link::start(config).unwrap()
        };
        Self { lines: cloud.addresses().map(line).into(), cable: site.cable() }
    }

    /// The ports at which the site finds the broker and the API.
    pub(crate) fn ports(&self) -> [u16; 2] {
        [self.lines[0].addr().port(), self.lines[1].addr().port()]
    }

    /// Behaves like this from now on.
    pub(crate) fn behave(&self, profile: &Profile) {
        self.lines.iter().for_each(|line| line.set_profile(profile.clone()).unwrap());
    }

    /// Nothing passes: connections hang, or are reset and new ones refused.
    pub(crate) fn down(&self, is_told: bool) {
        let mut profile = Profile::perfect();
        if is_told {
            profile.outage_hang_ms = Some(0);
            profile.outage_connect = OutageConnect::Refuse;
        }
        self.behave(&profile);
        self.lines.iter().for_each(gnomon_sim::link::Link::down);
    }

    pub(crate) fn up(&self) {
        self.lines.iter().for_each(gnomon_sim::link::Link::up);
        self.behave(&Profile::perfect());
    }

    /// Every connection is reset.
    pub(crate) fn reset(&self) {
        self.down(true);
        let_pass(Duration::from_millis(100));
        self.up();
    }

    /// Loses packets from now on, or no more.
    pub(crate) fn lose(&self, packets: Packets, is_on: bool) {
        let Some(cable) = &self.cable else { return };
        let (up, down) = (["INPUT", "-i", cable], ["OUTPUT", "-o", cable]);
        let ways = match packets {
            Packets::Up => vec![up],
            Packets::Down => vec![down],
            Packets::Share(_) => vec![up, down],
        };
        for [chain, side, cable] in ways {
            let mut rule = Command::new("iptables");
            rule.args(["-w", if is_on { "-I" } else { "-D" }, chain, side, cable]);
            if let Packets::Share(percent) = packets {
                let share = format!("0.{percent:02}");
                rule.args(["-m", "statistic", "--mode", "random", "--probability", &share]);
            }
            super::disk::succeeds(rule.args(["-j", "DROP"]));
        }
    }

    /// Pulls the cable out, or puts it in. Neither end is told.
    pub(crate) fn plug(&self, is_in: bool) {
        let Some(cable) = &self.cable else { return };
        // With the power of the box its end of the cable goes, and a fresh one comes.
        let way = if is_in { "up" } else { "down" };
        let _gone = Command::new("ip").args(["link", "set", cable, way]).output();
    }
}
