//! The `x-gnomon` sections: what the Compose Specification has no word for.

use super::context::{Context, Item};
use super::error::ComposeErrorKind as Kind;
use crate::app::{Missed, Schedule, Trial};

/// The section of the whole app.
pub(super) fn app(item: &Item<'_>, context: &mut Context<'_>) -> Trial {
    let mut trial = Trial::default();
    let Some(mut fields) = context.mapping(item) else { return trial };
    if let Some(settle) = fields.take("settle") {
        context.place("trial.settle_ms", &settle);
        trial.settle_ms = context.duration(&settle).unwrap_or(trial.settle_ms);
    }
    if let Some(rollback) = fields.take("rollback") {
        let read = |text: &str| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        trial.rollback = context.value(&rollback, "`on` or `off`", read).unwrap_or(trial.rollback);
    }
    if let Some(window) = fields.take("update_window") {
        let read = |text: &str| text.parse().ok();
        let expected = "a part of each day in UTC such as `02:00-04:00`";
        trial.update_window = context.value(&window, expected, read);
    }
    context.refuse_rest(fields);
    trial
}

/// The section of one service.
pub(super) fn service(item: &Item<'_>, context: &mut Context<'_>) -> Option<Schedule> {
    let mut fields = context.mapping(item)?;
    let (cron, missed) = (fields.take("schedule"), fields.take("missed"));
    context.refuse_rest(fields);
    let read = |text: &str| match text {
        "once" => Some(Missed::Once),
        "skip" => Some(Missed::Skip),
        _ => None,
    };
    let policy = missed.as_ref().map(|item| context.value(item, "`once` or `skip`", read));
    let Some(cron) = cron else {
        if let Some(missed) = missed {
            context.key_error(&missed, Kind::Missing("schedule"));
        }
        return None;
    };
    let text = context.text(&cron)?;
    match text.parse() {
        Ok(cron) => Some(Schedule { cron, missed: policy.flatten().unwrap_or_default() }),
        Err(error) => {
            context.error(&cron, Kind::BadSchedule(error));
            None
        }
    }
}
