//! Plans as text, for logs, people and snapshot tests.

use std::fmt;

use gnomon_schemas::app::{AppStatus, ServiceStatus};
use serde::Serialize;

use super::model::{Slot, Step};
use super::plan::Plan;

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.app, self.service, self.replica)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pull { app, image } => write!(f, "pull {image} for {app}"),
            Self::Create { slot, .. } => write!(f, "create {slot}"),
            Self::Start { id, slot } => write!(f, "start {slot} ({id})"),
            Self::Stop { id, slot, grace } => {
                write!(f, "stop {slot} ({id}) within {} ms", grace.as_millis())
            }
            Self::Remove { id, slot } => write!(f, "remove {slot} ({id})"),
            Self::RemoveApp { app } => write!(f, "remove what is left of {app}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            writeln!(f, "nothing to do")?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for (app, status) in &self.report {
            write_app(f, app.as_str(), status)?;
        }
        match self.wake_at {
            Some((at, why)) => writeln!(f, "wake at {at}: {why}"),
            None => Ok(()),
        }
    }
}

fn write_app(f: &mut fmt::Formatter<'_>, app: &str, status: &AppStatus) -> fmt::Result {
    write!(f, "{app} v{} is {}", status.desired_version, word(&status.state))?;
    write_reason(f, status.reason.as_deref())?;
    for (name, service) in &status.services {
        write_service(f, name.as_str(), service)?;
    }
    Ok(())
}

fn write_service(f: &mut fmt::Formatter<'_>, name: &str, it: &ServiceStatus) -> fmt::Result {
    write!(f, "  {name} {} {}/{}", word(&it.state), it.running, it.replicas)?;
    match it.healthy {
        Some(true) => write!(f, " healthy")?,
        Some(false) => write!(f, " unhealthy")?,
        None => {}
    }
    if it.restarts > 0 {
        write!(f, " restarts {}", it.restarts)?;
    }
    if let Some(code) = it.exit_code {
        write!(f, " exit {code}")?;
    }
    write_reason(f, it.reason.as_deref())
}

fn write_reason(f: &mut fmt::Formatter<'_>, reason: Option<&str>) -> fmt::Result {
    match reason {
        Some(reason) => writeln!(f, ": {reason}"),
        None => writeln!(f),
    }
}

/// The word of the wire, so that the two never differ.
fn word<T: Serialize>(state: &T) -> String {
    let value = serde_json::to_value(state).ok();
    value.as_ref().and_then(|value| value.as_str()).unwrap_or("?").to_owned()
}
