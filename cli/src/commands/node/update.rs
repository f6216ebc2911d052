//! `gnomon node update` and `gnomon node update-key`: name and sign the agent's program that nodes
//! are to run.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gnomon_schemas::hex;
use gnomon_schemas::id::NodeName;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use crate::client::{Client, Precondition, WriteMode};
use crate::names;
use crate::output;

/// Have nodes run another version of the agent; each goes back by itself if that one does not
/// reach the cloud.
#[derive(Debug, clap::Args)]
#[command(
    disable_version_flag = true,
    after_help = "\
Examples:
  gnomon node update-key release.key          (once; nodes have what it prints as `update_key`)
  gnomon node update site-1 site-2 --version 1.4.0 --file gnomon-edge --key release.key \\
      --url http://files.example/gnomon-edge-1.4.0
  gnomon get node site-1 -o json              (reported: agent.update)"
)]
pub(crate) struct Args {
    /// The nodes.
    #[arg(required = true, value_parser = names::node)]
    nodes: Vec<NodeName>,
    /// What the version is called.
    #[arg(long)]
    version: String,
    /// The program, as the nodes will fetch it.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Where the nodes fetch it.
    #[arg(long, value_name = "URL")]
    url: String,
    /// The key that signs it, made by `gnomon node update-key`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The platform that the program is for.
    #[arg(long, default_value = "linux-x86_64", value_name = "OS-ARCH")]
    platform: String,
}

/// Make a key that signs updates of the agent, and print what nodes must have as `update_key`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyArgs {
    /// Where to put the key; it must not exist.
    file: PathBuf,
}

/// Makes a key.
pub(super) fn make_key(args: &KeyArgs) -> anyhow::Result<()> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let document = document.map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    let pair = read_key(document.as_ref())?;
    let mut options = OpenOptions::new();
    let file = options.create_new(true).write(true).mode(0o600).open(&args.file);
    let mut file = file.with_context(|| format!("making {}", args.file.display()))?;
    writeln!(file, "{}", STANDARD.encode(document.as_ref()))?;
    file.sync_all()?;
    output::talk("keep the key off the cloud; put this into the configuration of your nodes:");
    let public = STANDARD.encode(pair.public_key().as_ref());
    output::data(&format!("update_key = \"{public}\""))?;
    Ok(())
}

/// Signs a program and names it in the desired state of the nodes.
pub(super) async fn run(client: &Client, args: &Args) -> anyhow::Result<()> {
    if !args.url.starts_with("http://") {
        bail!("the url must begin with http://; what it brings is signed");
    }
    let text = std::fs::read_to_string(&args.key);
    let text = text.with_context(|| format!("reading the key {}", args.key.display()))?;
    let bytes = STANDARD.decode(text.trim()).context("the key file holds no key of ours")?;
    let pair = read_key(&bytes)?;
    let (sha256, size) = digest(&args.file)?;
    // The agent verifies the same text (edge-runtime/src/update/order.rs).
    let Args { version, platform, url, .. } = args;
    let signed = format!(
        "gnomon-edge update\nversion {version}\nsha256 {sha256}\nsize {size}\nplatform {platform}\n"
    );
    let signature = STANDARD.encode(pair.sign(signed.as_bytes()));
    let agent = json!({
        "version": version, "url": url, "sha256": sha256, "size": size, "signature": signature,
    });
    for node in &args.nodes {
        let body = json!({ "agent": agent });
        let written =
            client.write_shadow(node.as_str(), "node", &body, WriteMode::Merge, Precondition::None);
        let (shadow, _) = written.await.with_context(|| format!("telling {node}"))?;
        output::data(&format!("node/{node}: desired v{}", shadow.desired_version()))?;
    }
    Ok(())
}

fn read_key(bytes: &[u8]) -> anyhow::Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
        .map_err(|error| anyhow::anyhow!("this is no Ed25519 key: {error}"))
}

fn digest(at: &Path) -> anyhow::Result<(String, u64)> {
    let mut bytes = Vec::new();
    let read = File::open(at).and_then(|mut file| file.read_to_end(&mut bytes));
    let size = read.with_context(|| format!("reading {}", at.display()))?;
    let sum = ring::digest::digest(&ring::digest::SHA256, &bytes);
    Ok((hex::of(sum.as_ref()), u64::try_from(size)?))
}
