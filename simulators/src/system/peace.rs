//! The end of every run: faults stop, and within bounded time every site must be as it should be,
//! and the cloud must know it. Then nothing is touched any more, whatever is restarted.

use gnomon_edge::reconcile::model::Step;
use gnomon_schemas::app::{AppState, AppStatus};
use gnomon_schemas::key::ShadowKey;

use super::event::{Event, Fate};
use super::site::is_well;
use super::{System, wishes};
use crate::world::{Invariant, Violation, ensure};

/// The most time that a site may need to become as it should be, in milliseconds.
const PATIENCE: u64 = 60 * 60 * 1_000;

/// How long a system that is as it should be may still have news, in milliseconds: an app turns out
/// to be good, an image is looked for in vain a tenth time and what ran before runs on.
const SETTLING: u64 = 20 * 60 * 1_000;

/// How long nothing may happen to a system that is as it should be, in milliseconds.
const QUIET: u64 = 30 * 60 * 1_000;

/// The most messages that a system which is in sync sends for each site while it is quiet.
const QUIET_MESSAGES: u64 = 8;

impl System {
    /// Ends all faults and checks what must then become true.
    pub(super) fn peace(&mut self) -> Result<(), Violation> {
        self.tell(|| "peace".to_owned());
        self.happen(Event::CloudFull(false))?;
        for site in self.sites() {
            self.happen(Event::SiteFull(site, false))?;
            self.happen(Event::Outage(site, false))?;
        }
        self.become_well()?;
        self.pass(SETTLING)?;
        let steps = self.steps();
        self.stay_quiet(&steps)?;
        for site in self.sites() {
            self.tell(|| format!("site {site}: its link breaks, then its agent"));
            self.happen(Event::SiteHangsUp(site))?;
            self.happen(Event::BrokerHangsUp(site))?;
            self.become_well()?;
            self.happen(Event::SiteCrash { site, power: false })?;
            self.become_well()?;
        }
        self.happen(Event::CloudCrash)?;
        self.become_well()?;
        self.stay_quiet(&steps)
    }

    fn sites(&self) -> std::ops::Range<u16> {
        0..u16::try_from(self.places.len()).unwrap_or(u16::MAX)
    }

    fn steps(&self) -> Vec<Vec<Step>> {
        self.places.iter().map(|place| place.site.fake.steps()).collect()
    }

    /// Lets everything happen that can until all sites are well.
    fn become_well(&mut self) -> Result<(), Violation> {
        let end = self.now + PATIENCE;
        loop {
            self.work()?;
            let Some(ill) = self.find_ill() else { return Ok(()) };
            ensure(self.now < end, Invariant::Convergence, || {
                format!("after {} min of peace: {ill}", PATIENCE / 60_000)
            })?;
            self.sleep(end)?;
        }
    }

    /// Lets time pass; nothing may be done to what runs, and little may be sent.
    fn stay_quiet(&mut self, steps: &[Vec<Step>]) -> Result<(), Violation> {
        self.pass(SETTLING)?;
        let sent = self.tally.messages;
        self.pass(QUIET)?;
        if let Some(ill) = self.find_ill() {
            return Err(Violation { invariant: Invariant::Convergence, what: ill });
        }
        for (place, before) in self.places.iter().zip(steps) {
            let bad = |step: &&Step| !matches!(step, Step::Pull { .. });
            let (now, was) = (place.site.fake.steps(), before.iter().filter(bad).count());
            let new: Vec<_> = now.iter().filter(bad).skip(was).map(ToString::to_string).collect();
            ensure(new.is_empty(), Invariant::Cost, || {
                format!("{} is as it should be, and still does {new:?}", place.site.name)
            })?;
        }
        let sent = self.tally.messages - sent;
        let most = QUIET_MESSAGES * self.places.len() as u64;
        ensure(sent <= most, Invariant::Cost, || {
            format!("{sent} messages were sent while nothing changed; {most} would do")
        })
    }

    fn pass(&mut self, millis: u64) -> Result<(), Violation> {
        let end = self.now + millis;
        while self.now < end {
            self.sleep(end)?;
            self.work()?;
        }
        Ok(())
    }

    /// Lets everything happen that can happen without time passing.
    fn work(&mut self) -> Result<(), Violation> {
        loop {
            let mut events = Vec::new();
            let (is_writing, works) = (self.cloud.is_writing(), self.cloud.has_work(self.now));
            if is_writing {
                events.push(Event::CloudWrites(Fate::Done));
            } else if works {
                events.push(Event::Decide);
            }
            for site in self.sites() {
                let place = self.place(site);
                if place.line.site.is_none() || place.line.site != place.line.broker {
                    events.push(Event::SiteHangsUp(site));
                    events.push(Event::Connect(site));
                }
                let (site_of, line) = (&place.site, &mut place.line);
                let able = [
                    (site_of.is_writing(), Event::SiteWrites(site, Fate::Done)),
                    (!site_of.answers.is_empty(), Event::Answered { site, at: 0 }),
                    (!site_of.steps.is_empty(), Event::StepEnds { site, at: 0, fails: false }),
                    (!line.packets(true).is_empty(), Event::Arrive { site, up: true, at: 0 }),
                    (!line.packets(false).is_empty(), Event::Arrive { site, up: false, at: 0 }),
                ];
                events.extend(able.into_iter().filter_map(|(can, event)| can.then_some(event)));
            }
            if events.is_empty() {
                return Ok(());
            }
            events.into_iter().try_for_each(|event| self.happen(event))?;
        }
    }

    /// Lets time pass until something is due, and not beyond `end`.
    fn sleep(&mut self, end: u64) -> Result<(), Violation> {
        let sites = self.places.iter().filter_map(|place| place.site.due());
        let due = sites.chain(self.cloud.due()).min().unwrap_or(end);
        let wait = due.clamp(self.now + 1, end.max(self.now + 1)) - self.now;
        self.happen(Event::Wait(u32::try_from(wait).unwrap_or(u32::MAX)))
    }

    /// Who is not as it should be, and why.
    fn find_ill(&mut self) -> Option<String> {
        self.sites().find_map(|site| self.illness(site))
    }

    fn illness(&mut self, site: u16) -> Option<String> {
        let now = self.now;
        let status = self.place(site).site.status(now);
        let place = &self.places[usize::from(site) % self.places.len()];
        let name = &place.site.name;
        let node = self.cloud.domain.node(name)?;
        if !node.view().in_sync {
            return Some(format!("{name} does not hold every desired"));
        }
        if !status.is_some_and(|status| status.up.is_some_and(|up| up.in_sync)) {
            return Some(format!("{name} has not reported everything"));
        }
        let mut instances = place.site.instances();
        for app in 0..u8::try_from(wishes::APPS.len()).unwrap_or(0) {
            let key = wishes::key(app);
            let view = node.shadow(&key);
            let (own, others) = instances.into_iter().partition(|(slot, _)| is_of(&key, &slot.app));
            instances = others;
            let own: Vec<_> = own;
            let Some(desired) = view.desired else {
                if own.is_empty() && view.reported.is_none() {
                    continue;
                }
                return Some(format!("{name}: {key} is not wanted, and there is {own:?}"));
            };
            let report = view.reported.as_ref().map(|half| half.document.to_value());
            let report = report.and_then(|it| AppStatus::from_document(&it).ok());
            let Some(report) = report else { return Some(format!("{name}: no report of {key}")) };
            if report.desired_version != desired.version {
                return Some(format!("{name}: the report of {key} is of an older version"));
            }
            if wishes::is_bad(&desired.document) {
                if report.state == AppState::Running && report.rolled_back_from.is_none() {
                    return Some(format!("{name}: {key} cannot run, and is reported to"));
                }
                continue;
            }
            let wanted = wishes::services(&desired.document);
            let well = own.len() == wanted && own.iter().all(|(_, state)| is_well(*state));
            if !well || report.state != AppState::Running || report.rolled_back_from.is_some() {
                return Some(format!("{name}: {key} should run; {own:?}, reported: {report:?}"));
            }
        }
        (!instances.is_empty()).then(|| format!("{name}: strangers run: {instances:?}"))
    }
}

fn is_of(key: &ShadowKey, app: &gnomon_schemas::id::AppName) -> bool {
    key.app() == Some(app)
}
