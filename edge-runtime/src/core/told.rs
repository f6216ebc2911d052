//! What the cloud says to the agent itself, in the desired half of the shadow `node`. Settings
//! that cannot be read are reported, and none is used in their place.

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::node::{NodeSettings, PullSettings, Window};
use gnomon_schemas::version::Version;
use gnomon_sync::Moment;
use serde_json::{Value, json};

use super::{Core, Effect};
use crate::orchestrator::Kind;

/// What was said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    version: Option<Version>,
    /// Whether it is the cloud's last word, as far as is known.
    is_sure: bool,
    settings: NodeSettings,
    refused: Option<String>,
}

impl Told {
    /// The part of the day in which images are fetched.
    pub(super) const fn window(&self) -> Option<Window> {
        self.settings.pulls.window
    }
}

impl Core {
    /// Takes the desired half of the node's shadow, or that there is none.
    pub(super) fn take_settings(&mut self, now: Moment, desired: Option<(Version, &Packed)>) {
        let version = desired.map(|(version, _)| version);
        let reader = self.machines.as_ref().map(|machines| &machines.down);
        let is_sure = reader.is_some_and(|reader| !reader.doubts(&ShadowKey::Node));
        let (known, was_sure) = (self.told_settings.version, self.told_settings.is_sure);
        if version == known && was_sure == is_sure {
            return;
        }
        if version != known {
            tracing::info!(?version, "what is desired of the node itself changed");
        }
        let document = desired.map(|(_, document)| document.to_value()).unwrap_or_default();
        let read = desired.map(|_| NodeSettings::from_document(&document));
        let agent = document.get("agent").cloned().unwrap_or_default();
        if is_sure {
            // An order in doubt would bring back an older program.
            self.effects.push_back(Effect::AgentDesired(agent));
        }
        let (settings, refused) = match read.transpose() {
            Ok(settings) => {
                let settings = settings.unwrap_or_default();
                let kind = self.config.capabilities.kind;
                let without = without_effect(kind, &settings.pulls);
                (settings, without)
            }
            Err(why) => {
                tracing::warn!(%why, "the desired settings of this node are refused");
                (NodeSettings::default(), Some(why.to_string()))
            }
        };
        if settings != self.told_settings.settings {
            self.effects.push_back(Effect::Configure(settings.clone()));
            self.attempts.ask_to_pull_again(now);
            self.watching.want(now, "the settings of this node changed");
        }
        self.told_settings = Told { version, is_sure, settings, refused };
        self.report_soon(now);
    }

    /// What is reported of the settings; nothing while there are none.
    pub(super) fn settings_report(&self) -> Option<Value> {
        let Told { version, is_sure: _, settings, refused } = &self.told_settings;
        let registries: Vec<_> = settings.registries.keys().collect();
        let mut report = json!({ "desired_version": (*version)?, "registries": registries });
        if let (true, Some(report)) =
            (settings.pulls != PullSettings::default(), report.as_object_mut())
        {
            report.insert("pulls".to_owned(), json!(settings.pulls));
        }
        if let (Some(why), Some(report)) = (refused, report.as_object_mut()) {
            report.insert("refused".to_owned(), why.as_str().into());
        }
        Some(report)
    }
}

/// What the orchestrator of this node cannot heed.
fn without_effect(kind: Kind, pulls: &PullSettings) -> Option<String> {
    let is_ours = pulls.resume || pulls.kib_per_s.is_some();
    let is_alone = matches!(kind, Kind::K3s | Kind::Process);
    (is_ours && is_alone).then(|| {
        "`pulls.kib_per_s` and `pulls.resume` have no effect here: only Docker fetches images \
         through the agent"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_docker_heeds_is_said_where_there_is_another() {
        let resumed = PullSettings { resume: true, ..PullSettings::default() };
        let slow = PullSettings { kib_per_s: 5.try_into().ok(), ..PullSettings::default() };
        for pulls in [resumed, slow] {
            assert_eq!(without_effect(Kind::Docker, &pulls), None);
            assert!(without_effect(Kind::K3s, &pulls).is_some());
            assert!(without_effect(Kind::Process, &pulls).is_some());
        }
        assert_eq!(without_effect(Kind::K3s, &PullSettings::default()), None);
    }
}
