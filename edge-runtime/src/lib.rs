//! The site agent: keeps a site's shadows on disk, makes the site match them with or without a
//! link, and reports back what changed.

pub mod backoff;
pub mod core;
pub mod enrolment;
pub mod identity;
pub mod link;
pub mod local;
pub mod lock;
pub mod metrics;
pub mod orchestrator;
pub mod reconcile;
pub mod renewal;
pub mod run;
pub mod settings;
pub mod store;
pub mod uninstall;
pub mod update;

/// An error with all its causes, for a log line or a person.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Foreign errors often print their cause themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
