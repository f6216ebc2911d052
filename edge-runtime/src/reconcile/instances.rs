//! What runs, in the order of apps and slots, so that it can be walked beside what is desired.

use gnomon_schemas::id::AppName;

use super::model::{Instance, Observed};

/// Every instance, by slot and then by id.
#[derive(Debug)]
pub(super) struct Instances<'a>(Vec<&'a Instance>);

impl<'a> Instances<'a> {
    pub(super) fn of(observed: &'a Observed) -> Self {
        let mut all: Vec<_> = observed.instances.values().collect();
        all.sort_by(|a, b| a.slot.cmp(&b.slot));
        Self(all)
    }

    /// Each app that has any, with them.
    pub(super) fn by_app(&self) -> impl Iterator<Item = (&'a AppName, &[&'a Instance])> {
        let apps = self.0.chunk_by(|a, b| a.slot.app == b.slot.app);
        apps.filter_map(|own| Some((&own.first()?.slot.app, own)))
    }

    /// Those of one app.
    pub(super) fn of_app(&self, app: &AppName) -> &[&'a Instance] {
        let from = self.0.partition_point(|it| it.slot.app < *app);
        let rest = self.0.get(from..).unwrap_or_default();
        let until = rest.partition_point(|it| it.slot.app == *app);
        rest.get(..until).unwrap_or_default()
    }
}
