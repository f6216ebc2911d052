//! Which images are taken off the node again: those that this agent fetched itself, that no
//! revision may need again, and that nothing uses; after a grace time, or at once when the disk
//! is tight. What was fetched is in the store, so that it is known after a restart; what is not
//! recorded there is never removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gnomon_sync::Moment;
use serde::{Deserialize, Serialize};

use super::{Core, Effect};
use crate::orchestrator::images::{Cleared, Disk, ImageSurvey, canonical};
use crate::store::{Entry, Op};

/// The part of the store in which the record lies.
const PREFIX: &str = "image/";
/// How often the disk is looked at while there is something that could go.
const LOOK_EVERY: Duration = Duration::from_mins(10);

/// The record, and what is being done about it.
#[derive(Debug, Default)]
pub(super) struct Images {
    owned: BTreeMap<String, Owned>,
    unwritten: BTreeSet<String>,
    look_at: Option<Moment>,
    /// Whether an answer of the orchestrator is awaited.
    is_busy: bool,
    /// Whether a pull failed for want of room since the last look.
    is_full: bool,
}

/// An image that this agent fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    id: String,
    unneeded_since: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
}

/// What may be needed: names in their long form, and ids.
type Needed = BTreeSet<String>;

/// The images in a store's record, with the orchestrator's id of each.
pub(crate) fn owned_images(entries: &[Entry]) -> Vec<(String, String)> {
    let read = |(key, value): &Entry| {
        let image = key.strip_prefix(PREFIX.as_bytes())?;
        let Row { id } = serde_json::from_slice(value).ok()?;
        Some((String::from_utf8(image.to_vec()).ok()?, id))
    };
    entries.iter().filter_map(read).collect()
}

impl Images {
    /// An image that was not here was fetched.
    pub(super) fn fetched(&mut self, image: &str, id: String) {
        self.owned.insert(image.to_owned(), Owned { id, unneeded_since: None });
        self.unwritten.insert(image.to_owned());
    }

    /// A pull found no room on the disk.
    pub(super) const fn is_full(&mut self, now: Moment) {
        self.is_full = true;
        self.look_at = Some(now);
    }

    /// The rows to commit.
    pub(super) fn take(&mut self) -> Vec<Op> {
        let rows = std::mem::take(&mut self.unwritten).into_iter().map(|image| {
            let row = self.owned.get(&image).map(|owned| Row { id: owned.id.clone() });
            let value = row.and_then(|row| serde_json::to_vec(&row).ok());
            (format!("{PREFIX}{image}").into_bytes(), value)
        });
        rows.collect()
    }

    /// Takes what the store says; what it has lost and is known here is written again.
    pub(super) fn load(&mut self, entries: &[Entry]) {
        self.unwritten = self.owned.keys().cloned().collect();
        for (key, value) in entries {
            let image =
                key.strip_prefix(PREFIX.as_bytes()).and_then(|it| std::str::from_utf8(it).ok());
            let Some(image) = image else { continue };
            let Ok(Row { id }) = serde_json::from_slice(value) else {
                tracing::error!(
                    image,
                    "a row of the record of fetched images cannot be read; the \
                    image is left alone from now on"
                );
                self.unwritten.insert(image.to_owned());
                continue;
            };
            let owned = self.owned.entry(image.to_owned());
            let owned = owned.or_insert_with(|| Owned { id: id.clone(), unneeded_since: None });
            if owned.id == id {
                self.unwritten.remove(image);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owned.is_empty()
    }

    /// Notes since when each image is not needed; asks for a look if one may go, and not often.
    pub(super) fn review(&mut self, now: Moment, needed: &Needed) -> Option<Effect> {
        let mut may_go = false;
        for (image, owned) in &mut self.owned {
            if is_needed(image, owned, needed) {
                owned.unneeded_since = None;
            } else {
                owned.unneeded_since.get_or_insert(now);
                may_go = true;
            }
        }
        if self.is_busy || !may_go || self.look_at.is_some_and(|at| at > now) {
            return None;
        }
        self.is_busy = true;
        Some(Effect::Survey)
    }

    /// Nobody could look.
    pub(super) fn missed(&mut self, now: Moment) {
        self.is_busy = false;
        self.look_at = Some(now + LOOK_EVERY);
    }

    /// What is on the node: says which image goes now.
    pub(super) fn surveyed(
        &mut self,
        now: Moment,
        survey: &ImageSurvey,
        needed: &Needed,
        grace: Duration,
    ) -> Option<Effect> {
        self.missed(now);
        self.compare(survey, needed);
        let is_full = std::mem::take(&mut self.is_full);
        let is_tight = is_full || survey.disk.is_some_and(Disk::is_tight);
        let goes = self.owned.iter().filter_map(|(image, owned)| {
            let since = owned.unneeded_since.filter(|_| !is_needed(image, owned, needed))?;
            let is_over = now.saturating_since(since) >= grace;
            let found = survey.find(image).filter(|found| !found.in_use)?;
            (is_over || is_tight).then(|| (since, image.clone(), found.id.clone()))
        });
        let (_, image, id) = goes.min()?;
        tracing::info!(image, is_tight, "an image that nothing needs any more is removed");
        self.is_busy = true;
        self.is_full = is_full;
        Some(Effect::Clear { image, id })
    }

    /// An image should go: what became of it.
    pub(super) fn cleared(&mut self, now: Moment, image: &str, outcome: Result<Cleared, String>) {
        self.missed(now);
        match outcome {
            Ok(Cleared::Gone | Cleared::Another) => {
                self.forget(image);
                self.look_at = Some(now);
            }
            Ok(Cleared::InUse) => self.is_full = false,
            Err(reason) => {
                self.is_full = false;
                tracing::warn!(image, reason, "an image could not be removed; tried again later");
            }
        }
    }

    /// Forgets what is gone, and what somebody else gave the name to.
    fn compare(&mut self, survey: &ImageSurvey, needed: &Needed) {
        let is_lost = |image: &str, owned: &Owned| match survey.find(image) {
            Some(found) => found.id != owned.id,
            None => !is_needed(image, owned, needed),
        };
        let lost = self.owned.iter().filter(|(image, owned)| is_lost(image, owned));
        let lost: Vec<_> = lost.map(|(image, _)| image.clone()).collect();
        for image in &lost {
            self.forget(image);
        }
    }

    fn forget(&mut self, image: &str) {
        self.owned.remove(image);
        self.unwritten.insert(image.to_owned());
    }
}

fn is_needed(image: &str, owned: &Owned, needed: &Needed) -> bool {
    needed.contains(&canonical(image)) || needed.contains(&owned.id)
}

impl Core {
    /// Looks for images that may go, once it is known what all may be needed.
    pub(super) fn review_images(&mut self, now: Moment) {
        if self.images.is_empty() || !self.knows_what_is_needed() {
            return;
        }
        let needed = self.needed_in_long_form();
        let effect = self.images.review(now, &needed);
        self.effects.extend(effect);
    }

    pub(super) fn on_surveyed(&mut self, now: Moment, survey: Result<ImageSurvey, String>) {
        match survey {
            Ok(survey) if self.knows_what_is_needed() => {
                let needed = self.needed_in_long_form();
                let grace = self.config.image_grace;
                let effect = self.images.surveyed(now, &survey, &needed, grace);
                self.effects.extend(effect);
            }
            Ok(_) => self.images.missed(now),
            Err(reason) => {
                tracing::debug!(reason, "the images of this node could not be listed");
                self.images.missed(now);
            }
        }
    }

    pub(super) fn on_cleared(
        &mut self,
        now: Moment,
        image: &str,
        outcome: Result<Cleared, String>,
    ) {
        self.images.cleared(now, image, outcome);
        self.review_images(now);
    }

    fn knows_what_is_needed(&self) -> bool {
        self.settled && self.machines.is_some()
    }

    fn needed_in_long_form(&self) -> Needed {
        let needed = self.needed_images();
        let fetched = self.pulls.images().map(canonical);
        let names: Vec<_> = needed.iter().map(|name| canonical(name)).chain(fetched).collect();
        needed.into_iter().chain(names).collect()
    }
}

#[cfg(test)]
mod tests;
