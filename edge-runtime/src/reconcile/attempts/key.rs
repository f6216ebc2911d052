//! What a failure is about, so that a new digest or a new instance is tried at once.

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::AppName;

use crate::reconcile::model::{InstanceId, Slot, Step};

/// The identity of a step across plans.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::reconcile) enum Key {
    Pull(AppName, String),
    /// With the digest of the service: another digest is another attempt.
    Create(Slot, Option<Revision>),
    Start(Slot, InstanceId),
    Stop(Slot, InstanceId),
    Remove(Slot, InstanceId),
    RemoveApp(AppName),
}

impl Key {
    pub(in crate::reconcile) fn of(step: &Step) -> Self {
        match step {
            Step::Pull { app, image } => Self::Pull(app.clone(), image.clone()),
            Step::Create { slot, spec } => {
                Self::Create(slot.clone(), spec.service_digest(&slot.service))
            }
            Step::Start { id, slot } => Self::Start(slot.clone(), id.clone()),
            Step::Stop { id, slot, .. } => Self::Stop(slot.clone(), id.clone()),
            Step::Remove { id, slot } => Self::Remove(slot.clone(), id.clone()),
            Step::RemoveApp { app } => Self::RemoveApp(app.clone()),
        }
    }

    pub(super) const fn app(&self) -> &AppName {
        match self {
            Self::Pull(app, _) | Self::RemoveApp(app) => app,
            Self::Create(slot, _)
            | Self::Start(slot, _)
            | Self::Stop(slot, _)
            | Self::Remove(slot, _) => &slot.app,
        }
    }

    pub(super) const fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Start(_, id) | Self::Stop(_, id) | Self::Remove(_, id) => Some(id),
            Self::Pull(..) | Self::Create(..) | Self::RemoveApp(_) => None,
        }
    }

    pub(super) fn creates(&self, slot: &Slot) -> bool {
        matches!(self, Self::Create(other, _) if other == slot)
    }
}
