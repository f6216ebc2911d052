//! An ERROR in a log is a broken promise, unless the world gave the reason for it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::world::{Invariant, Violation};

/// What a site says whose disk is full; that is the world's doing.
const EXPLAINED: &str = "the store does not take changes";

/// The first error that nothing explains.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<String>>>);

/// Runs with all logs of this thread going into the trap.
pub(super) fn watched(run: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    let trap = Trap::default();
    let subscriber = tracing_subscriber::registry().with(trap.clone());
    let result = tracing::subscriber::with_default(subscriber, run);
    let caught = trap.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let broken = caught.map(|what| Violation { invariant: Invariant::NoError, what });
    result.and(broken.map_or(Ok(()), Err))
}

impl<S: Subscriber> Layer<S> for Trap {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        if !words.0.contains(EXPLAINED) {
            let mut caught = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            caught.get_or_insert(words.0);
        }
    }
}

/// The fields of an event as text.
#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        write!(self.0, "{field}: {value:?} ").expect("a string takes text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_a_log_breaks_a_promise_and_a_warning_does_not() {
        let quiet = watched(|| {
            tracing::warn!("it is getting late");
            tracing::error!("{EXPLAINED}; apps keep running");
            Ok(())
        });
        assert_eq!(quiet, Ok(()));
        let loud = watched(|| {
            tracing::error!(what = "milk", "it was spilt");
            Ok(())
        });
        let violation = loud.unwrap_err();
        assert_eq!(violation.invariant, Invariant::NoError);
        assert!(violation.what.contains("spilt") && violation.what.contains("milk"), "{violation}");
    }
}
