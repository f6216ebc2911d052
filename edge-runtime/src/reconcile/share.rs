//! What apps have to share. Rules: a node runs no more than so many apps; those that are there stay,
//! then comes the first by name, and the others are refused. Test:
//! `of_too_many_apps_those_that_run_stay_and_the_others_are_refused`.
//!
//! A fixed port of the node belongs to one app: to the one that is there with it, else to the
//! first that asked. An app that asks for one of another app is refused before anything is touched,
//! until the port is free. Tests: `a_port_of_another_app_is_refused_before_anything_is_touched`,
//! `the_app_that_has_a_port_keeps_it`. So is one that asks for a port on which something else of
//! the node listens, unless the container is made already: then its start says what is wrong, and
//! the rest of the app goes on. Test: `a_port_on_which_somebody_else_listens_is_refused`.

use std::collections::BTreeMap;

use gnomon_schemas::app::{Port, Protocol};
use gnomon_schemas::id::{AppName, ServiceName};
use gnomon_schemas::limits::APPS_PER_NODE;

use super::desired::{Desired, DesiredApp};
use super::instances::Instances;
use super::model::Instance;

/// Which apps do not get what they ask for.
#[derive(Debug, Default)]
pub(super) struct Shares<'a> {
    refused: BTreeMap<&'a AppName, String>,
}

/// The apps that have a port of this number, each with what it asked for.
type Taken<'a> = BTreeMap<(Option<u16>, Protocol), Vec<(&'a AppName, Port)>>;

impl<'a> Shares<'a> {
    pub(super) fn share_out(
        desired: &'a Desired,
        instances: &Instances<'_>,
        foreign: &[Port],
    ) -> Self {
        let mut shares = Self::default();
        shares.count(desired, instances);
        if is_a_port_asked_for_twice(desired) {
            shares.give_ports(desired, instances);
        }
        if !foreign.is_empty() {
            shares.spare_ports(desired, instances, foreign);
        }
        shares
    }

    fn spare_ports(&mut self, desired: &'a Desired, instances: &Instances<'_>, foreign: &[Port]) {
        for (app, wanted) in &desired.apps {
            let is_made = |service: &ServiceName| {
                let (digest, mut own) = (wanted.digest(service), instances.of_app(app).iter());
                own.any(|it| it.slot.service == *service && digest == Some(it.service_digest))
            };
            let mut ports = wanted.facts().ports.iter();
            let clash = ports.find(|(service, port)| {
                foreign.iter().any(|it| it.collides(port)) && !is_made(service)
            });
            let Some((service, port)) = clash else { continue };
            self.refused.entry(app).or_insert_with(|| {
                let port = name(port);
                format!(
                    "service {service} asks for port {port} of the node, on which something that \
                     is not Gnomon's listens"
                )
            });
        }
    }

    fn count(&mut self, desired: &'a Desired, instances: &Instances<'_>) {
        if desired.apps.len() <= APPS_PER_NODE {
            return;
        }
        let mut apps: Vec<_> = desired.apps.keys().collect();
        apps.sort_by_key(|app| (instances.of_app(app).is_empty(), *app));
        for app in apps.into_iter().skip(APPS_PER_NODE) {
            let all = desired.apps.len();
            let why = format!("a node runs at most {APPS_PER_NODE} apps, and {all} are desired");
            self.refused.insert(app, why);
        }
    }

    fn give_ports(&mut self, desired: &'a Desired, instances: &Instances<'_>) {
        let asking = desired.apps.iter().filter(|(_, wanted)| !wanted.facts().ports.is_empty());
        let mut asking: Vec<_> =
            asking.filter(|(app, _)| !self.refused.contains_key(app)).collect();
        asking.sort_by_cached_key(|(app, wanted)| {
            (rank(wanted, instances.of_app(app)), desired.turn(app), *app)
        });
        let mut taken = Taken::new();
        for (app, wanted) in asking {
            let ports = wanted.facts().ports.iter();
            let clash = ports.clone().find_map(|(service, port)| {
                let others = taken.get(&key(port))?;
                let (other, _) = others.iter().find(|(_, other)| other.collides(port))?;
                let port = name(port);
                Some(format!(
                    "service {service} asks for port {port} of the node, which app {other} has"
                ))
            });
            if let Some(why) = clash {
                self.refused.insert(app, why);
                continue;
            }
            for (_, port) in ports {
                taken.entry(key(port)).or_default().push((app, *port));
            }
        }
    }

    /// Why an app does not get what it asks for.
    pub(super) fn refusal(&self, app: &AppName) -> Option<&str> {
        self.refused.get(app).map(String::as_str)
    }
}

/// Else there is nothing to give out, as nearly always.
fn is_a_port_asked_for_twice(desired: &Desired) -> bool {
    let ports = desired.apps.values().flat_map(|wanted| &wanted.facts().ports);
    let mut asked: Vec<_> = ports.map(|(_, port)| key(port)).collect();
    asked.sort_unstable();
    asked.iter().zip(asked.iter().skip(1)).any(|(one, next)| one == next)
}

fn name(port: &Port) -> String {
    let protocol = if port.protocol == Protocol::Udp { "udp" } else { "tcp" };
    format!("{}/{protocol}", key(port).0.unwrap_or_default())
}

fn key(port: &Port) -> (Option<u16>, Protocol) {
    (port.host.map(std::num::NonZero::get), port.protocol)
}

/// The lower, the better the claim: what runs as it is wanted, what is being updated, the rest.
fn rank(wanted: &DesiredApp, instances: &[&Instance]) -> u8 {
    let claims = wanted.facts().ports.iter().map(|(service, _)| {
        let mut own = instances.iter().filter(|it| it.slot.service == *service).peekable();
        let has_some = own.peek().is_some();
        let is_current = own.any(|it| wanted.digest(service) == Some(it.service_digest));
        if is_current { 0 } else { 2 - u8::from(has_some) }
    });
    claims.min().unwrap_or(2)
}
