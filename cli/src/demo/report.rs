//! What the demo measured: `report.json`, and the table at the end.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::bytes::{BySite, Bytes};
use super::stage::Stage;
use crate::output::table;

/// What was measured; what is `None` was not reached.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Whether both sites hold and run what the cloud wants, and reality agrees.
    pub(super) converged: bool,
    /// What ran the app.
    pub(super) orchestrator: String,
    /// Why it was that.
    pub(super) orchestrator_why: String,
    /// From the first write until both sites reported the app running.
    pub(super) seconds_to_deploy: Option<f64>,
    /// From the kill until the service ran again, without a link.
    pub(super) offline_repair_ms: Option<u64>,
    /// Writes of desired state while the site was away.
    pub(super) desired_writes_offline: u64,
    /// Batches in which they left once the link was back.
    pub(super) batches_for_offline_writes: Option<u64>,
    /// Changes in those batches.
    pub(super) changes_for_offline_writes: Option<u64>,
    /// Batches that were sent again because an answer was late.
    pub(super) retries_for_offline_writes: Option<u64>,
    /// From the link's return until the site ran the newest version and the cloud knew.
    pub(super) seconds_to_converge: Option<f64>,
    /// Over the link, for that.
    pub(super) converge_bytes: Option<Bytes>,
    /// Over the link, for a reconnect with nothing to say.
    pub(super) no_change_reconnect_bytes: Option<Bytes>,
    /// From the link's return until the site was in sync, with nothing to say.
    pub(super) no_change_reconnect_seconds: Option<f64>,
    /// Over each link, in all.
    pub(super) bytes: BySite,
    /// The profile of both links.
    pub(super) link_profile: String,
    /// Where reality and the reports differ.
    pub(super) differences: Vec<String>,
    /// What gnomon did not remove and the demo had to.
    pub(super) left_behind: Vec<String>,
    /// From start to the end of the story.
    pub(super) seconds_in_all: f64,
    /// Why the demo failed, if it did.
    pub(super) error: Option<String>,
    /// Whether the verification was reached.
    #[serde(skip)]
    pub(super) verified: bool,
}

impl Report {
    /// Adds what is known only at the end.
    pub(super) fn finish(
        &mut self,
        stage: &Stage,
        told: &anyhow::Result<()>,
        left_behind: Vec<String>,
    ) {
        stage.chosen.kind().clone_into(&mut self.orchestrator);
        self.orchestrator_why.clone_from(&stage.chosen.why);
        self.error = told.as_ref().err().map(super::reason);
        self.left_behind = left_behind;
        self.converged = told.is_ok() && self.verified && self.differences.is_empty();
    }

    /// Writes `report.json`; returns where.
    pub(super) fn write(&self, dir: &Path) -> anyhow::Result<PathBuf> {
        let path = dir.join("report.json");
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Fails unless both sites converged and nothing was left for the demo to remove.
    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.converged,
            "the sites did not converge: {}",
            self.differences.join("; ")
        );
        anyhow::ensure!(
            self.left_behind.is_empty(),
            "gnomon left something behind: {}",
            self.left_behind.join(", ")
        );
        Ok(())
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut rows: Vec<(&str, String)> = vec![
            ("converged", if self.converged { "yes" } else { "NO" }.to_owned()),
            ("the app ran as", format!("{} ({})", self.orchestrator, self.orchestrator_why)),
            ("deployed to both sites in", seconds(self.seconds_to_deploy)),
            ("killed service ran again offline in", number(self.offline_repair_ms, "ms")),
            ("desired writes while offline", self.desired_writes_offline.to_string()),
            ("batches they needed", self.batches()),
            ("converged after the link came back in", seconds(self.seconds_to_converge)),
            ("bytes for that", bytes(self.converge_bytes)),
            ("reconnect with nothing to say", bytes(self.no_change_reconnect_bytes)),
        ];
        let totals: Vec<(String, Bytes)> =
            self.bytes.iter().map(|(site, bytes)| (format!("{site} in all"), *bytes)).collect();
        rows.extend(totals.iter().map(|(site, total)| (site.as_str(), total.to_string())));
        rows.push(("the whole story took", seconds(Some(self.seconds_in_all))));
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
        table::render(&["MEASURED", "VALUE"], &rows)
    }

    fn batches(&self) -> String {
        let changes = number(self.changes_for_offline_writes, "changes");
        match self.retries_for_offline_writes {
            Some(0) | None => {
                format!("{} ({changes})", number(self.batches_for_offline_writes, ""))
            }
            Some(retries) => format!(
                "{} ({changes}, {retries} sent again)",
                number(self.batches_for_offline_writes, "")
            ),
        }
    }
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "not reached".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn number(number: Option<u64>, unit: &str) -> String {
    number.map_or_else(
        || "not reached".to_owned(),
        |number| format!("{number} {unit}").trim_end().to_owned(),
    )
}

fn bytes(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(|| "not reached".to_owned(), |bytes| bytes.to_string())
}
