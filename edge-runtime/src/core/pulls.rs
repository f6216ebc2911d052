//! The images that are being fetched, in a lane of their own: a download may take an hour, and
//! the repair of the app that it is for must not wait for it. Each image once, whoever needs it,
//! and not many at a time: they share one link. What is here already is found first, without
//! a place in that queue. They may be kept to a part of the day; what is under way then goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_schemas::app::{AppStatus, ServiceState};
use gnomon_schemas::id::AppName;
use gnomon_schemas::node::Window;
use gnomon_sync::Moment;

use super::schedules::is_set;
use super::{Core, Effect};
use crate::reconcile::model::Step;

/// How many images are fetched at the same time.
const AT_ONCE: usize = 2;

/// An image is in the map from the first wish for it until it is here or could not be fetched.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    wanted: BTreeMap<String, Pull>,
    /// The images whose turn has not come, the first to be fetched first.
    queue: VecDeque<String>,
    /// The apps whose images somebody wants now, whatever the time of the day.
    hurried: BTreeSet<AppName>,
}

#[derive(Debug)]
struct Pull {
    /// Who needs it.
    apps: BTreeSet<AppName>,
    phase: Phase,
    /// How much of it is here, in steps.
    percent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The orchestrator is asked whether it is here.
    Looking,
    Waiting,
    Fetching,
}

impl Pulls {
    /// Takes all that a plan wants fetched. What nobody wants any more is given up, also half-way:
    /// it would use up the link.
    pub(super) fn want(&mut self, needs: BTreeMap<String, BTreeSet<AppName>>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.wanted.retain(|image, pull| {
            let is_wanted = needs.contains_key(image);
            if !is_wanted && pull.phase == Phase::Fetching {
                effects.push(Effect::GiveUp { image: image.clone() });
            }
            is_wanted
        });
        self.queue.retain(|image| self.wanted.contains_key(image));
        for (image, apps) in needs {
            let pull = self.wanted.entry(image.clone()).or_insert_with(|| {
                effects.push(Effect::Find { image });
                Pull { apps: BTreeSet::new(), phase: Phase::Looking, percent: 0 }
            });
            pull.apps = apps;
        }
        effects
    }

    /// The orchestrator said that an image is here; gives back who needs it.
    pub(super) fn found(&mut self, image: &str) -> BTreeSet<AppName> {
        self.leave(Phase::Looking, image)
    }

    /// It said that an image is not here; gives back whether somebody waited to hear that.
    pub(super) fn missed(&mut self, image: &str) -> bool {
        let pull = self.wanted.get_mut(image).filter(|it| it.phase == Phase::Looking);
        let Some(pull) = pull else { return false };
        pull.phase = Phase::Waiting;
        self.queue.push_back(image.to_owned());
        true
    }

    /// An image was fetched, or could not be; gives back who needs it.
    pub(super) fn ended(&mut self, image: &str) -> BTreeSet<AppName> {
        self.leave(Phase::Fetching, image)
    }

    /// News of a pull that was given up say nothing of one that was begun since.
    fn leave(&mut self, phase: Phase, image: &str) -> BTreeSet<AppName> {
        let is_in_phase = self.wanted.get(image).is_some_and(|pull| pull.phase == phase);
        let pull = if is_in_phase { self.wanted.remove(image) } else { None };
        let wanted = &self.wanted;
        self.hurried.retain(|app| wanted.values().any(|pull| pull.apps.contains(app)));
        pull.map(|pull| pull.apps).unwrap_or_default()
    }

    /// Somebody wants the images of an app now.
    pub(super) fn hurry(&mut self, app: AppName) {
        self.hurried.insert(app);
    }

    /// So much of an image is here.
    pub(super) fn came(&mut self, image: &str, percent: u8) {
        if let Some(pull) = self.wanted.get_mut(image).filter(|it| it.phase == Phase::Fetching) {
            pull.percent = percent;
        }
    }

    /// The next image to fetch, if another one may be; `is_time` says whether the time of the day
    /// permits it.
    pub(super) fn next(&mut self, is_time: bool) -> Option<Effect> {
        let fetched = self.wanted.values().filter(|pull| pull.phase == Phase::Fetching).count();
        if fetched >= AT_ONCE {
            return None;
        }
        let (wanted, hurried) = (&self.wanted, &self.hurried);
        let may = |image: &String| {
            is_time || wanted.get(image).is_some_and(|it| !it.apps.is_disjoint(hurried))
        };
        let at = self.queue.iter().position(may)?;
        let image = self.queue.remove(at)?;
        let pull = self.wanted.get_mut(&image)?;
        pull.phase = Phase::Fetching;
        let app = pull.apps.first()?.clone();
        Some(Effect::Apply(Step::Pull { app, image }))
    }

    /// The images that are to be fetched, or are being fetched.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        self.wanted.keys().map(String::as_str)
    }

    /// Whether an image that the app needs is being fetched.
    pub(super) fn are_for(&self, app: &AppName) -> bool {
        self.wanted.values().any(|pull| pull.apps.contains(app))
    }
}

impl Core {
    /// Begins the pulls that may begin.
    pub(super) fn fetch(&mut self) {
        let is_time = self.is_time_to_pull();
        while let Some(effect) = self.pulls.next(is_time) {
            self.effects.push_back(effect);
        }
    }

    pub(super) fn on_pulling(&mut self, now: Moment, image: &str, percent: u8) {
        self.pulls.came(image, percent);
        self.watching.want(now, "a part of an image has come");
    }

    /// Without a window always, and while the clock was never set.
    fn is_time_to_pull(&self) -> bool {
        let is_in = |window: Window| !is_set(self.wall_s) || window.contains(self.wall_s);
        self.told_settings.window().is_none_or(is_in)
    }

    /// Says of what is being fetched how much of it is here, or for when it waits.
    pub(super) fn explain_pulls(&self, app: &AppName, status: &mut AppStatus) {
        let Some(Ok(spec)) = self.desired.apps.get(app).map(|it| &it.spec) else { return };
        let window = self.told_settings.window().filter(|_| !self.is_time_to_pull());
        for (name, service) in &mut status.services {
            let is_pulling = service.state == ServiceState::Pulling;
            let image = spec.services.get(name).and_then(|it| it.image.as_deref());
            let Some(image) = image.filter(|_| is_pulling) else { continue };
            let Some(pull) = self.pulls.wanted.get(image) else { continue };
            let more = match (pull.phase, window) {
                (Phase::Waiting, Some(window)) => format!(", not before {} UTC", window.begin()),
                (Phase::Fetching, _) if pull.percent > 0 => format!(", {} %", pull.percent),
                (Phase::Looking | Phase::Waiting | Phase::Fetching, _) => continue,
            };
            let plain = format!("pulling {image}");
            for text in [&mut service.reason, &mut status.reason].into_iter().flatten() {
                if text.ends_with(&plain) {
                    text.push_str(&more);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    fn apps(names: &[&str]) -> BTreeSet<AppName> {
        names.iter().map(|name| app(name)).collect()
    }

    fn needs<const N: usize>(needs: [(&str, &[&str]); N]) -> BTreeMap<String, BTreeSet<AppName>> {
        needs.map(|(image, names)| (image.to_owned(), apps(names))).into()
    }

    fn find(image: &str) -> Effect {
        Effect::Find { image: image.to_owned() }
    }

    fn fetch(app_name: &str, image: &str) -> Effect {
        Effect::Apply(Step::Pull { app: app(app_name), image: image.to_owned() })
    }

    #[test]
    fn an_image_that_two_apps_need_is_fetched_once_and_both_hear_of_it() {
        let mut pulls = Pulls::default();
        assert_eq!(pulls.want(needs([("x", &["a"])])), [find("x")]);
        assert_eq!(pulls.want(needs([("x", &["a", "b"])])), []);
        assert!(pulls.missed("x") && !pulls.missed("x"));
        assert_eq!(pulls.next(true), Some(fetch("a", "x")));
        assert_eq!(pulls.want(needs([("x", &["a", "b"])])), []);
        assert_eq!(pulls.next(true), None);
        assert!(pulls.are_for(&app("b")));
        assert_eq!(pulls.ended("x"), apps(&["a", "b"]));
        assert!(!pulls.are_for(&app("b")));
    }

    #[test]
    fn two_are_fetched_at_once_in_the_order_in_which_they_were_missed() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["a"]), ("z", &["b"])]));
        for image in ["z", "y", "x"] {
            pulls.missed(image);
        }
        assert_eq!(pulls.next(true), Some(fetch("b", "z")));
        assert_eq!(pulls.next(true), Some(fetch("a", "y")));
        assert_eq!(pulls.next(true), None);
        pulls.ended("y");
        assert_eq!(pulls.next(true), Some(fetch("a", "x")));
        assert_eq!(pulls.next(true), None);
    }

    #[test]
    fn an_image_that_is_here_does_not_wait_for_downloads() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["a"]), ("z", &["b"])]));
        pulls.missed("x");
        pulls.missed("y");
        assert!(pulls.next(true).is_some() && pulls.next(true).is_some());
        assert_eq!(pulls.found("z"), apps(&["b"]));
    }

    #[test]
    fn what_nobody_needs_any_more_is_given_up_and_its_late_news_mean_nothing() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["a"]), ("z", &["a"])]));
        for image in ["x", "y", "z"] {
            pulls.missed(image);
        }
        assert!(pulls.next(true).is_some() && pulls.next(true).is_some());
        let x = "x".to_owned();
        assert_eq!(pulls.want(needs([("y", &["a"])])), [Effect::GiveUp { image: x }]);
        assert_eq!(pulls.next(true), None, "z is given up too");
        assert_eq!(pulls.want(needs([("x", &["b"]), ("y", &["a"])])), [find("x")]);
        assert_eq!(pulls.ended("x"), apps(&[]));
        pulls.missed("x");
        assert_eq!(pulls.next(true), Some(fetch("b", "x")));
    }

    #[test]
    fn outside_of_its_time_a_pull_waits_unless_somebody_wants_it_now() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["b"])]));
        pulls.missed("x");
        pulls.missed("y");
        assert_eq!(pulls.next(false), None);
        pulls.hurry(app("b"));
        assert_eq!(pulls.next(false), Some(fetch("b", "y")));
        assert_eq!(pulls.next(false), None);
        assert_eq!(pulls.next(true), Some(fetch("a", "x")));
        pulls.ended("y");
        pulls.want(needs([("z", &["b"])]));
        pulls.missed("z");
        assert_eq!(pulls.next(false), None, "one hurry is for what is wanted at that time");
    }
}
