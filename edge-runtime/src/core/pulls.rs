//! The images that are being fetched, in a lane of their own: a download may take an hour, and
//! the repair of the app that it is for must not wait for it. Each image once, whoever needs it,
//! and not many at a time: they share one link. What is here already is found first, without
//! a place in that queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_schemas::id::AppName;

use super::Effect;
use crate::reconcile::model::Step;

/// How many images are fetched at the same time.
const AT_ONCE: usize = 2;

/// An image is in the map from the first wish for it until it is here or could not be fetched.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    wanted: BTreeMap<String, Pull>,
    /// The images whose turn has not come, the first to be fetched first.
    queue: VecDeque<String>,
}

#[derive(Debug)]
struct Pull {
    /// Who needs it.
    apps: BTreeSet<AppName>,
    phase: Phase,
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
                Pull { apps: BTreeSet::new(), phase: Phase::Looking }
            });
            pull.apps = apps;
        }
        effects
    }

    /// The orchestrator said whether an image is here; gives back who needs it if it is.
    pub(super) fn found(&mut self, image: &str, is_here: bool) -> BTreeSet<AppName> {
        if is_here {
            return self.leave(Phase::Looking, image);
        }
        if let Some(pull) = self.wanted.get_mut(image).filter(|it| it.phase == Phase::Looking) {
            pull.phase = Phase::Waiting;
            self.queue.push_back(image.to_owned());
        }
        BTreeSet::new()
    }

    /// An image was fetched, or could not be; gives back who needs it.
    pub(super) fn ended(&mut self, image: &str) -> BTreeSet<AppName> {
        self.leave(Phase::Fetching, image)
    }

    /// News of a pull that was given up say nothing of one that was begun since.
    fn leave(&mut self, phase: Phase, image: &str) -> BTreeSet<AppName> {
        let is_in_phase = self.wanted.get(image).is_some_and(|pull| pull.phase == phase);
        let pull = if is_in_phase { self.wanted.remove(image) } else { None };
        pull.map(|pull| pull.apps).unwrap_or_default()
    }

    /// The next image to fetch, if another one may be.
    pub(super) fn next(&mut self) -> Option<Effect> {
        let fetched = self.wanted.values().filter(|pull| pull.phase == Phase::Fetching).count();
        if fetched >= AT_ONCE {
            return None;
        }
        let image = self.queue.pop_front()?;
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
        assert_eq!(pulls.found("x", false), apps(&[]));
        assert_eq!(pulls.next(), Some(fetch("a", "x")));
        assert_eq!(pulls.want(needs([("x", &["a", "b"])])), []);
        assert_eq!(pulls.next(), None);
        assert!(pulls.are_for(&app("b")));
        assert_eq!(pulls.ended("x"), apps(&["a", "b"]));
        assert!(!pulls.are_for(&app("b")));
    }

    #[test]
    fn two_are_fetched_at_once_in_the_order_in_which_they_were_missed() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["a"]), ("z", &["b"])]));
        for image in ["z", "y", "x"] {
            pulls.found(image, false);
        }
        assert_eq!(pulls.next(), Some(fetch("b", "z")));
        assert_eq!(pulls.next(), Some(fetch("a", "y")));
        assert_eq!(pulls.next(), None);
        pulls.ended("y");
        assert_eq!(pulls.next(), Some(fetch("a", "x")));
        assert_eq!(pulls.next(), None);
    }

    #[test]
    fn an_image_that_is_here_does_not_wait_for_downloads() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["a"]), ("z", &["b"])]));
        pulls.found("x", false);
        pulls.found("y", false);
        assert!(pulls.next().is_some() && pulls.next().is_some());
        assert_eq!(pulls.found("z", true), apps(&["b"]));
    }

    #[test]
    fn what_nobody_needs_any_more_is_given_up_and_its_late_news_mean_nothing() {
        let mut pulls = Pulls::default();
        pulls.want(needs([("x", &["a"]), ("y", &["a"]), ("z", &["a"])]));
        for image in ["x", "y", "z"] {
            pulls.found(image, false);
        }
        assert!(pulls.next().is_some() && pulls.next().is_some());
        let x = "x".to_owned();
        assert_eq!(pulls.want(needs([("y", &["a"])])), [Effect::GiveUp { image: x }]);
        assert_eq!(pulls.next(), None, "z is given up too");
        assert_eq!(pulls.want(needs([("x", &["b"]), ("y", &["a"])])), [find("x")]);
        assert_eq!(pulls.ended("x"), apps(&[]));
        pulls.found("x", false);
        assert_eq!(pulls.next(), Some(fetch("b", "x")));
    }
}
