//! Chooses what happens next, by chance; which faults are on, and how strong, is drawn per seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::System;
use super::event::{Event, Fate};
use super::wishes::{APPS, VARIANTS};

/// How often each thing happens, relative to the others; 0: never.
#[derive(Debug)]
struct Rates {
    wish: u32,
    work: u32,
    arrive: u32,
    wait: u32,
    lose: u32,
    repeat: u32,
    hang_up: u32,
    cloud_crash: u32,
    site_crash: u32,
    full: u32,
    outage: u32,
    dies: u32,
    fails: f64,
    bad: bool,
}

/// The chance behind one run.
#[derive(Debug)]
pub(super) struct Driver {
    rng: StdRng,
    rates: Rates,
}

impl Driver {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let rates = Rates::draw(&mut rng);
        Self { rng, rates }
    }

    /// The next event.
    pub(super) fn next(&mut self, system: &mut System) -> Event {
        let count = u16::try_from(system.places.len()).unwrap_or(u16::MAX);
        let site = self.rng.random_range(0..count);
        let kinds = self.offer(system, site);
        let total: u32 = kinds.iter().map(|(rate, _)| rate).sum();
        let mut ticket = self.rng.random_range(0..total);
        for (rate, event) in kinds {
            if ticket < rate {
                return event;
            }
            ticket -= rate;
        }
        Event::Wait(1)
    }

    fn offer(&mut self, system: &mut System, site: u16) -> Vec<(u32, Event)> {
        let (cloud, now) = (&system.cloud, system.now);
        let (writes, works) = (cloud.is_writing(), cloud.has_work(now));
        let place = system.place(site);
        let if_so = |so: bool, rate: u32| if so { rate } else { 0 };
        let (rates, rng) = (&self.rates, &mut self.rng);
        let at = rng.random();
        let has_step = !place.site.steps.is_empty();
        let (has_answer, site_writes) = (!place.site.answers.is_empty(), place.site.is_writing());
        let up = rng.random();
        let (is_linked, on_way) = (place.line.site.is_some(), !place.line.packets(up).is_empty());
        let variants = if rates.bad { VARIANTS } else { VARIANTS - 1 };
        let variant = rng.random_bool(0.8).then(|| rng.random_range(0..variants));
        let app = rng.random_range(0..u8::try_from(APPS.len()).unwrap_or(1));
        let fails = rng.random_bool(rates.fails);
        let cloud_fate = fate(rng, rates.cloud_crash);
        let site_fate = fate(rng, rates.site_crash);
        let wait = [50, 1_000, 5_000, 40_000][rng.random_range(0..4)];
        let on = rng.random_bool(0.4);
        vec![
            (rates.wish, Event::Wish { site, app, variant }),
            (if_so(!writes && works, rates.work), Event::Decide),
            (if_so(writes, rates.work), Event::CloudWrites(cloud_fate)),
            (rates.cloud_crash, Event::CloudCrash),
            (rates.full, Event::CloudFull(on)),
            (if_so(!is_linked, rates.work), Event::Connect(site)),
            (if_so(is_linked, rates.hang_up), Event::SiteHangsUp(site)),
            (if_so(is_linked, rates.hang_up), Event::BrokerHangsUp(site)),
            (
                if_so(on_way, rates.arrive),
                Event::Arrive { site, up, at: if at < 200 { 0 } else { at } },
            ),
            (if_so(on_way, rates.repeat), Event::Repeat { site, up, at }),
            (if_so(on_way, rates.lose), Event::Lose { site, up, at }),
            (if_so(site_writes, rates.work), Event::SiteWrites(site, site_fate)),
            (if_so(has_answer, rates.work), Event::Answered { site, at }),
            (if_so(has_step, rates.work), Event::StepEnds { site, at, fails }),
            (rates.site_crash, Event::SiteCrash { site, power: on }),
            (rates.full, Event::SiteFull(site, on)),
            (rates.outage, Event::Outage(site, on)),
            (rates.dies, Event::InstanceDies { site, at }),
            (rates.dies, Event::InstanceGoes { site, at }),
            (rates.wait, Event::Wait(wait)),
        ]
    }
}

fn fate(rng: &mut StdRng, crashes: u32) -> Fate {
    match rng.random_range(0..100) {
        0 if crashes > 0 => Fate::DoneUnheard,
        1 if crashes > 0 => Fate::Lost,
        _ => Fate::Done,
    }
}

impl Rates {
    fn draw(rng: &mut StdRng) -> Self {
        let mut maybe = |highest: u32| {
            if rng.random_bool(0.5) { rng.random_range(1..=highest) } else { 0 }
        };
        Self {
            lose: maybe(30),
            repeat: maybe(30),
            hang_up: maybe(10),
            cloud_crash: maybe(5),
            site_crash: maybe(5),
            full: maybe(6),
            outage: maybe(6),
            dies: maybe(6),
            bad: maybe(1) == 1,
            fails: f64::from(maybe(30)) / 100.0,
            wish: rng.random_range(2..40),
            work: rng.random_range(60..200),
            arrive: rng.random_range(60..200),
            wait: rng.random_range(5..60),
        }
    }
}
