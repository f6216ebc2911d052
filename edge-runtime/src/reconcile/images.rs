//! Rules: an image is fetched when a copy must be made from it, not before; the images of a
//! revision that replaces another are all here before anything of the other is stopped. Whether
//! they are is not known before somebody has looked.
//! Tests: `images_are_fetched_before_anything_is_stopped`,
//! `a_running_app_needs_no_pull_after_a_restart_of_the_agent`.

use std::collections::BTreeSet;

use gnomon_schemas::app::ServiceState;
use gnomon_schemas::id::AppName;

use super::memory::Memory;
use super::model::Step;
use super::verdict::{Standing, Verdict};
use super::view::Service;

/// The images that must be fetched before the app can be brought to its revision.
#[derive(Debug)]
pub(super) struct Images<'a> {
    app: &'a AppName,
    memory: Memory<'a>,
    missing: BTreeSet<&'a str>,
}

impl<'a> Images<'a> {
    /// Those of the needed images that are not known to be here.
    pub(super) fn missing(
        app: &'a AppName,
        needed: impl Iterator<Item = &'a str>,
        memory: Memory<'a>,
    ) -> Self {
        let missing = needed.filter(|image| !memory.has_pulled(app, image)).collect();
        Self { app, memory, missing }
    }

    pub(super) fn are_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether nobody has looked yet for some of them: they may be here.
    pub(super) fn are_unknown(&self) -> bool {
        self.missing.iter().any(|image| !self.memory.has_looked_for(self.app, image))
    }

    /// The pulls; their news are told with the services that need them.
    pub(super) fn pulls(&self) -> impl Iterator<Item = Verdict> {
        self.missing.iter().map(|image| self.pull(image))
    }

    /// Why the service cannot be made yet for want of its image.
    pub(super) fn wait(&self, service: &Service<'_>) -> Option<Verdict> {
        let image = service.spec.image.as_deref()?;
        let image = self.missing.get(image)?;
        Some(Verdict { step: None, ..self.pull(image) })
    }

    /// A link that is down is no trouble, only a longer way.
    fn pull(&self, image: &str) -> Verdict {
        let step = Step::Pull { app: self.app.clone(), image: image.to_owned() };
        let doing = format!("pulling {image}");
        let verdict = self.memory.offer(step, ServiceState::Pulling, &doing);
        match verdict.standing {
            Standing::Settled | Standing::Moving => verdict.because(doing),
            Standing::Troubled => {
                Verdict { standing: Standing::Moving, state: ServiceState::Pulling, ..verdict }
            }
            Standing::Broken => verdict,
        }
    }
}
