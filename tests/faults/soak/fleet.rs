//! The simulated sites of a soak: the program that users have, as a child.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use gnomon_tests::process::binary;
use serde_json::Value;

use crate::stage::cloud::Cloud;

/// Sites that start in a second.
const RAMP: u32 = 25;

pub(super) struct Fleet {
    child: Child,
    report: PathBuf,
    log: PathBuf,
}

impl Fleet {
    /// Starts it; it works for so many minutes, and its log and report are in the folder.
    pub(super) fn start(sites: u32, minutes: f64, seed: u64, cloud: &Cloud, out: &Path) -> Self {
        let (report, log) = (out.join("fleet.json"), out.join("fleet.log"));
        let _old = std::fs::remove_file(&report);
        let ramp = f64::from(sites) / f64::from(RAMP);
        let churn = (minutes * 60.0 - ramp).max(10.0);
        let [broker, _] = cloud.addresses();
        let numbers = [
            ("--sites", f64::from(sites)),
            ("--ramp-per-s", f64::from(RAMP)),
            ("--steady", 1.0),
            ("--churn", churn.round()),
            ("--desired-per-s", 5.0),
            ("--reported-per-s", 20.0),
            ("--flaps-per-s", 1.0),
            ("--writes", 0.0),
            ("--storm", 0.0),
            ("--patience", 300.0),
            ("--time", (minutes * 60.0 + 900.0).round()),
            ("--seed", (seed % 1_000_000) as f64),
        ];
        let child = Command::new(binary("gnomon-sim"))
            .args(["fleet", "--server", &cloud.door().url, "--broker", broker])
            .args(numbers.iter().flat_map(|(name, it)| [(*name).to_owned(), it.to_string()]))
            .arg("--out")
            .arg(&report)
            .env("GNOMON_TOKEN", &cloud.door().token)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, report, log }
    }

    /// Waits for its end, which is near; gives back what it says of the phases of its run.
    pub(super) fn end(mut self) -> Result<Value> {
        let status = self.child.wait()?;
        let log = self.log.display();
        ensure!(status.success(), "the fleet was not well ({status}); its log is {log}");
        let text = std::fs::read(&self.report).with_context(|| format!("its log is {log}"))?;
        let mut report: Value = serde_json::from_slice(&text)?;
        Ok(report["phases"].take())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Whatever broke the soak off: the fleet ends with it.
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}
