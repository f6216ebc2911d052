//! Carries out what the schedule says, one thread for each target. What is left to chance in it
//! comes from the schedule, too.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the schedule gives each target the faults of its own places"
)]

mod of_cloud;
mod of_link;
mod of_site;

use std::thread;
use std::time::{Duration, Instant};

use gnomon_tests::eventually::let_pass;

use crate::campaign::Recorder;
use crate::fault::Fault;
use crate::history::Event;
use crate::schedule::{Burst, Planned, Target};
use crate::stage::Stage;

/// One fault, and where it is written down.
struct Strike<'a> {
    planned: &'a Planned,
    node: Option<&'a str>,
    recorder: &'a Recorder,
}

impl Strike<'_> {
    const fn fault(&self) -> Fault {
        self.planned.fault
    }

    /// It begins.
    fn breaks(&self) {
        self.breaks_service(None);
    }

    /// It begins, and touches this service alone.
    fn breaks_service(&self, service: Option<String>) {
        let node = self.node.map(str::to_owned);
        self.recorder.record(Event::Broke { fault: self.fault(), node, service });
    }

    /// It lasts.
    fn lasts(&self) {
        let_pass(self.planned.lasts);
    }

    /// A number below this one.
    const fn chance(&self, below: u64) -> u64 {
        self.planned.chance % below
    }
}

/// Breaks everything that a burst has; returns when all is mended.
pub(crate) fn strike(burst: &Burst, stage: &mut Stage, recorder: &Recorder) {
    let began = Instant::now();
    let Stage { cloud, sites, links, .. } = stage;
    let door = &cloud.door().clone();
    let names: Vec<_> = sites.iter().map(|site| site.node.clone()).collect();
    thread::scope(|scope| {
        let queue = |target: Target,
                     node: Option<String>,
                     mut act: Box<dyn FnMut(&Strike<'_>) + Send + '_>| {
            for planned in burst.faults.iter().filter(|planned| planned.target == target) {
                let_pass(planned.at.saturating_sub(began.elapsed()));
                let node = node.as_deref();
                act(&Strike { planned, node, recorder });
                let node = node.map(str::to_owned);
                recorder.record(Event::Mended { fault: planned.fault, node });
            }
        };
        scope.spawn(move || {
            queue(Target::Cloud, None, Box::new(|strike| of_cloud::strike(cloud, strike)));
        });
        for ((number, link), node) in links.iter().enumerate().zip(&names) {
            scope.spawn(move || {
                let act = Box::new(move |strike: &Strike<'_>| of_link::strike(link, strike));
                queue(Target::Link(number), Some(node.clone()), act);
            });
        }
        for (number, site) in sites.iter_mut().enumerate() {
            scope.spawn(move || {
                let node = site.node.clone();
                let act = Box::new(|strike: &Strike<'_>| of_site::strike(site, door, strike));
                queue(Target::Site(number), Some(node), act);
            });
        }
    });
}

/// Again and again until the time is over.
fn until(lasts: Duration, mut act: impl FnMut()) {
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        act();
    }
}
