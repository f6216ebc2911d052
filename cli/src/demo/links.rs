//! The link emulator: one link per site, steered over its control socket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::bytes::Bytes;
use super::cast::Cast;

const PROFILE: &str = "4g-bad";
/// After a cut, both ends see their connection end when the modem gives the session up. Left to
/// itself, each would wait for its keep-alive, longer than anyone watches a demo.
const HANG_MS: u64 = 1_500;
const ANSWER: Duration = Duration::from_secs(10);

/// The running links.
#[derive(Debug, Clone)]
pub(super) struct Links {
    control: PathBuf,
    addresses: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Ready {
    links: Vec<ReadyLink>,
}

#[derive(Deserialize)]
struct ReadyLink {
    link: String,
    addr: String,
}

#[derive(Deserialize)]
struct Counters {
    bytes_up: u64,
    bytes_down: u64,
}

impl Links {
    /// Starts a link for each label, from a port of its own to the broker.
    pub(super) async fn start(
        sim: &Path,
        cast: &mut Cast,
        dir: &Path,
        labels: &[&str],
        broker: &str,
    ) -> anyhow::Result<Self> {
        let control = dir.join("links.sock");
        let mut command = Command::new(sim);
        command.args(["link", "--profile", PROFILE]).arg("--control").arg(&control);
        for label in labels {
            command.args(["--link", &format!("{label}=127.0.0.1:0,{broker}")]);
        }
        let ready = cast.start("links", command).await?;
        let ready: Ready = serde_json::from_value(ready)
            .context("the ready line of gnomon-sim is not understood")?;
        let addresses = ready.links.into_iter().map(|link| (link.link, link.addr)).collect();
        let links = Self { control, addresses };
        links.limit_hang().await?;
        Ok(links)
    }

    /// What the links are like, for people.
    pub(super) fn describe() -> String {
        format!(
            "{PROFILE} (90-210 ms each way, stalls, 64 kB/s up, 250 kB/s down); a cut link resets \
             its connections after {HANG_MS} ms"
        )
    }

    /// Where the site connects.
    pub(super) fn address(&self, label: &str) -> anyhow::Result<&str> {
        self.addresses.get(label).map(String::as_str).with_context(|| format!("no link {label}"))
    }

    /// What a link has carried.
    pub(super) async fn bytes(&self, label: &str) -> anyhow::Result<Bytes> {
        let answer = self.ask(&json!({"do": "counters", "link": label})).await?;
        let counters = answer.get("counters").cloned().unwrap_or_default();
        let counters: Counters =
            serde_json::from_value(counters).context("the link's counters are not understood")?;
        Ok(Bytes { up: counters.bytes_up, down: counters.bytes_down })
    }

    /// Takes a link down.
    pub(super) async fn cut(&self, label: &str) -> anyhow::Result<()> {
        self.ask(&json!({"do": "down", "link": label})).await.map(drop)
    }

    /// Brings a link back.
    pub(super) async fn restore(&self, label: &str) -> anyhow::Result<()> {
        self.ask(&json!({"do": "up", "link": label})).await.map(drop)
    }

    async fn limit_hang(&self) -> anyhow::Result<()> {
        let answer = self.ask(&json!({"do": "list"})).await?;
        let links = answer.get("links").and_then(Value::as_array).cloned().unwrap_or_default();
        for link in links {
            let mut profile = link.get("profile").cloned().unwrap_or_default();
            let fields = profile.as_object_mut().context("a link has no profile")?;
            fields.insert("outage_hang_ms".to_owned(), HANG_MS.into());
            let name = link.get("link").context("a link has no name")?;
            self.ask(&json!({"do": "profile", "link": name, "profile": profile})).await?;
        }
        Ok(())
    }

    async fn ask(&self, request: &Value) -> anyhow::Result<Value> {
        let answer = timeout(ANSWER, self.exchange(request))
            .await
            .context("the link emulator did not answer")?
            .context("the link emulator cannot be asked")?;
        let answer: Value =
            serde_json::from_str(&answer).context("the link emulator's answer is no JSON")?;
        if answer.get("result").and_then(Value::as_str) == Some("error") {
            let message = answer.get("message").and_then(Value::as_str).unwrap_or_default();
            anyhow::bail!("the link emulator refused {request}: {message}");
        }
        Ok(answer)
    }

    async fn exchange(&self, request: &Value) -> std::io::Result<String> {
        let mut socket = UnixStream::connect(&self.control).await?;
        socket.write_all(format!("{request}\n").as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).await?;
        Ok(line)
    }
}
