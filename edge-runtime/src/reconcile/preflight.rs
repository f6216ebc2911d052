//! Rule: an app that is invalid, or that asks for what this node cannot do or another app has, is
//! refused before anything is touched; what runs of it is left as it is, and not kept alive, since the spec that
//! says how is gone. Tests: `an_invalid_app_leaves_what_runs_untouched`,
//! `an_app_beyond_the_orchestrator_is_refused`.

use std::sync::Arc;

use gnomon_schemas::app::AppSpec;

use super::desired::DesiredApp;
use super::text::clip;
use crate::orchestrator::Capabilities;

/// Much longer than other reasons: a person has to mend the app from it.
const REASON_CHARS: usize = 1_000;

pub(super) fn check<'a>(
    wanted: &'a DesiredApp,
    capabilities: &Capabilities,
    refusal: Option<&str>,
) -> Result<&'a Arc<AppSpec>, String> {
    let spec = wanted.spec.as_ref().map_err(|why| clip(why.clone(), REASON_CHARS))?;
    capabilities.check(spec).map_err(|why| clip(why.to_string(), REASON_CHARS))?;
    refusal.map_or(Ok(spec), |why| Err(clip(why.to_owned(), REASON_CHARS)))
}
