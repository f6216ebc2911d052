//! `gnomon-edge diag`: one archive that says everything about this agent and no secret. It works
//! with whatever is left: without an agent it holds what the disk says.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use gnomon_edge::identity::Identity;
use gnomon_edge::local::{self, Request, Response};
use gnomon_schemas::id::AppName;
use serde_json::{Value, json};

use super::DataArg;

/// The most lines of each copy of a service.
const LOG_LINES: usize = 500;
/// The most bytes that are taken of a file of the system.
const FILE_BYTES: usize = 256 * 1024;

/// Makes one support bundle: status, desired and reported state, decisions, logs, sizes, versions.
///
/// Secrets, contents of configs and values of environment variables are taken out; what the apps
/// wrote into their logs is not (`--no-logs`).
#[derive(Debug, clap::Args)]
pub(crate) struct DiagArgs {
    #[command(flatten)]
    data: DataArg,
    /// Where to write the archive; it must not exist.
    #[arg(short, long, default_value = "gnomon-edge-diag.tar.gz", value_name = "FILE")]
    output: PathBuf,
    /// The agent's configuration file, to put it in.
    #[arg(long, env = "GNOMON_EDGE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave out what the apps wrote.
    #[arg(long)]
    no_logs: bool,
}

pub(crate) async fn execute(args: &DiagArgs) -> Result<()> {
    let out = &args.output;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let file = file.with_context(|| format!("cannot make {}", out.display()))?;
    let mut bundle = Bundle::new(file);
    let apps = ask_agent(args, &mut bundle).await?;
    if !args.no_logs {
        for app in &apps {
            add_logs(args, &mut bundle, app).await?;
        }
    }
    add_disk(args, &mut bundle)?;
    bundle.finish().with_context(|| format!("cannot write {}", out.display()))?;
    super::print(&format!("{}\n", out.display()))
}

/// What the agent says; gives back its apps.
async fn ask_agent(args: &DiagArgs, bundle: &mut Bundle<impl Write>) -> Result<Vec<AppName>> {
    let diagnosis = match local::ask(&args.data.data, &Request::Diag).await {
        Ok(Response::Diag(value)) => value,
        Ok(_) => json!({ "error": super::OTHER_VERSION }),
        Err(error) => json!({ "error": gnomon_edge::chain(&error) }),
    };
    let apps = diagnosis.pointer("/status/apps").and_then(Value::as_array);
    let names = apps.into_iter().flatten().filter_map(|app| app.get("app")?.as_str()?.parse().ok());
    let names = names.collect();
    bundle.add_json("agent.json", &diagnosis)?;
    Ok(names)
}

async fn add_logs(args: &DiagArgs, bundle: &mut Bundle<impl Write>, app: &AppName) -> Result<()> {
    let request = Request::Logs { app: app.clone(), service: None, tail: LOG_LINES };
    let Ok(Response::Logs(logs)) = local::ask(&args.data.data, &request).await else {
        return bundle.add(&format!("logs/{app}.missing"), b"the agent could not read it\n");
    };
    for log in logs {
        let name = format!("logs/{app}/{}.{}.log", log.service, log.replica);
        let text = log.text.or(log.error).unwrap_or_default();
        bundle.add(&name, text.as_bytes())?;
    }
    Ok(())
}

/// What the machine says.
fn add_disk(args: &DiagArgs, bundle: &mut Bundle<impl Write>) -> Result<()> {
    let data = &args.data.data;
    let identity = Identity::load(data).map(|identity| {
        json!({ "node": identity.node, "mqtt": identity.mqtt.iter().map(ToString::to_string)
            .collect::<Vec<_>>(), "server_name": identity.server_name })
    });
    let identity = identity.unwrap_or_else(|error| json!({ "error": gnomon_edge::chain(&error) }));
    bundle.add_json("identity.json", &identity)?;
    let mut sizes = Vec::new();
    list(data, data, &mut sizes);
    bundle.add("data-files.txt", sizes.join("\n").as_bytes())?;
    let versions = json!({ "gnomon-edge": env!("CARGO_PKG_VERSION"),
        "os": std::env::consts::OS, "arch": std::env::consts::ARCH });
    bundle.add_json("versions.json", &versions)?;
    let system = [
        "/etc/os-release",
        "/proc/version",
        "/proc/meminfo",
        "/proc/loadavg",
        "/proc/uptime",
        "/proc/mounts",
    ];
    for path in system {
        if let Ok(mut bytes) = fs::read(path) {
            bytes.truncate(FILE_BYTES);
            bundle.add(&format!("system{path}"), &bytes)?;
        }
    }
    if let Some(path) = &args.config {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        bundle.add("config.toml", redacted(&text).as_bytes())?;
    }
    Ok(())
}

/// A configuration without the values of settings that sound secret, and without the users and
/// passwords of addresses.
fn redacted(text: &str) -> String {
    let line = |line: &str| {
        let name = line.split('=').next().unwrap_or_default().to_lowercase();
        let sounds_secret = ["password", "secret", "token", "credential"];
        if line.contains('=') && sounds_secret.iter().any(|word| name.contains(word)) {
            return format!("{}= \"[redacted]\"\n", line.get(..name.len()).unwrap_or_default());
        }
        let Some((before, after)) = line.split_once("://") else { return format!("{line}\n") };
        let host = after.rsplit_once('@').map_or(after, |(_, host)| host);
        let mark = if host.len() < after.len() { "[redacted]@" } else { "" };
        format!("{before}://{mark}{host}\n")
    };
    text.lines().map(line).collect()
}

/// Sizes and paths of files, not their contents; volumes of apps are nobody's business here.
fn list(root: &Path, dir: &Path, lines: &mut Vec<String>) {
    const MOST: usize = 10_000;
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if lines.len() >= MOST {
            return;
        }
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        if meta.is_dir() && !shown.ends_with("volumes") {
            list(root, &path, lines);
        } else {
            lines.push(format!("{:>12} {shown}", meta.len()));
        }
    }
}

/// The archive that is being written.
struct Bundle<W: Write>(tar::Builder<GzEncoder<W>>);

impl<W: Write> Bundle<W> {
    fn new(out: W) -> Self {
        Self(tar::Builder::new(GzEncoder::new(out, Compression::default())))
    }

    fn add_json(&mut self, name: &str, value: &Value) -> Result<()> {
        self.add(name, serde_json::to_string_pretty(value)?.as_bytes())
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len())?);
        header.set_mode(0o600);
        let path = format!("gnomon-edge-diag/{name}");
        self.0.append_data(&mut header, path, bytes).context("cannot write the archive")
    }

    fn finish(self) -> std::io::Result<()> {
        self.0.into_inner()?.finish()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_secret_is_taken_out_of_a_configuration() {
        let text =
            "data = \"/d\"\nproxy_password = \"x\"\nproxy = \"http://me:x@host:1\"\n# a = b\n";
        let clean = redacted(text);
        assert_eq!(
            clean,
            "data = \"/d\"\nproxy_password = \"[redacted]\"\nproxy = \"http://[redacted]@host:1\"\n# a = b\n"
        );
    }
}
