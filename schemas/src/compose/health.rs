//! The health check of a service.

use super::context::{Context, Item};
use super::error::ComposeErrorKind as Kind;
use crate::app::{HealthCheck, HealthTest};

const FORMS: &str = "a text, or a list that begins with `CMD`, `CMD-SHELL` or `NONE`";

pub(super) fn read(item: &Item<'_>, context: &mut Context<'_>) -> Option<HealthCheck> {
    let mut fields = context.mapping(item)?;
    let disabled = fields.take("disable").and_then(|item| context.boolean(&item)).unwrap_or(false);
    let written = fields.take("test");
    let has_test = written.is_some();
    let test = written.and_then(|item| test(&item, context));
    let mut check = HealthCheck::new(test.clone().unwrap_or(HealthTest::Exec(Vec::new())));
    for (key, slot) in [
        ("interval", &mut check.interval_ms),
        ("timeout", &mut check.timeout_ms),
        ("start_period", &mut check.start_period_ms),
    ] {
        if let Some(field) = fields.take(key) {
            context.place(format!("{}_ms", field.path), &field);
            if let Some(duration) = context.duration(&field) {
                *slot = duration;
            }
        }
    }
    if let Some(field) = fields.take("retries") {
        context.place(field.path.clone(), &field);
        check.retries = context.whole(&field).unwrap_or(check.retries);
    }
    context.finish(fields);
    if !has_test && !disabled {
        context.error(item, Kind::Missing("test"));
    }
    test.filter(|_| !disabled).map(|_| check)
}

/// What to run; `None` after an error, and for a test that is switched off.
pub(super) fn test(item: &Item<'_>, context: &mut Context<'_>) -> Option<HealthTest> {
    context.place(item.path.clone(), item);
    if !item.is_list() {
        return context.text(item).map(HealthTest::Shell);
    }
    let mut words = context.texts(item)?;
    let form = if words.is_empty() { String::new() } else { words.remove(0) };
    match (form.as_str(), words.as_slice()) {
        ("NONE", []) => None,
        ("CMD", [_, ..]) => Some(HealthTest::Exec(words)),
        ("CMD-SHELL", [script]) => Some(HealthTest::Shell(script.clone())),
        _ => {
            context.error(item, Kind::Expected { expected: FORMS });
            None
        }
    }
}
