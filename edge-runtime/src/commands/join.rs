//! `gnomon-edge join`: makes a key here, has the cloud certify it, writes the identity.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use gnomon_edge::identity::{Identity, NewKey};
use gnomon_edge::link;
use gnomon_edge::link::mqtt::Address;
use gnomon_edge::lock::DataLock;
use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};

use super::DataArg;

const PATIENCE: Duration = Duration::from_secs(30);

/// Joins this machine to a cloud as one of its nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// The cloud's URL, for example `http://cloud.example:7780`.
    url: String,
    /// The join token that the cloud made for this node; works once.
    #[arg(long, env = "GNOMON_JOIN_TOKEN", hide_env_values = true)]
    token: String,
    #[command(flatten)]
    data: DataArg,
    /// Give up the identity that this machine has.
    #[arg(long)]
    force: bool,
    /// Succeed without doing anything if this machine is joined already.
    #[arg(long, conflicts_with = "force")]
    if_needed: bool,
}

#[derive(Serialize)]
struct EnrolRequest<'a> {
    token: &'a str,
    csr_pem: &'a str,
}

#[derive(Deserialize)]
struct EnrolAnswer {
    node: NodeName,
    certificate_pem: String,
    ca_pem: String,
    mqtt: Vec<Address>,
    server_name: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: String,
    message: String,
}

pub(crate) async fn execute(args: &JoinArgs) -> Result<()> {
    let data = &args.data.data;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("creating the data directory {}", data.display()))?;
    let _lock = DataLock::take(data)?;
    if Identity::exists(data) && args.if_needed {
        tracing::info!(data = %data.display(), "joined already");
        return Ok(());
    }
    if Identity::exists(data) && !args.force {
        bail!(
            "{} already belongs to a joined node; `--force` gives that identity up",
            data.display()
        );
    }
    let key = NewKey::generate()?;
    let answer = enrol(&args.url, &args.token, &key.request_pem()?).await?;
    if answer.mqtt.is_empty() {
        bail!("the cloud names no address of its broker; start it with --advertise HOST:PORT");
    }
    let identity = Identity {
        node: answer.node,
        mqtt: answer.mqtt,
        server_name: answer.server_name,
        key_pem: key.to_pem(),
        certificate_pem: answer.certificate_pem,
        ca_pem: answer.ca_pem,
    };
    link::client_config(&identity).context("the cloud's answer makes no usable identity")?;
    identity.save(data)?;
    let brokers: Vec<String> = identity.mqtt.iter().map(ToString::to_string).collect();
    tracing::info!(node = %identity.node, brokers = %brokers.join(", "), "joined");
    super::print(&format!("{}\n", serde_json::json!({ "node": identity.node, "mqtt": brokers })))
}

async fn enrol(url: &str, token: &str, csr_pem: &str) -> Result<EnrolAnswer> {
    if !url.starts_with("http://") {
        bail!(
            "{url:?} is not an http:// URL; this version cannot enrol over https, so reach the \
             cloud's API through a private network or a tunnel"
        );
    }
    let url = format!("{}/v1/enroll", url.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let request = client.post(&url).json(&EnrolRequest { token, csr_pem });
    let response = request.send().await.with_context(|| format!("asking {url}"))?;
    let status = response.status();
    let body = response.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
    if !status.is_success() {
        match serde_json::from_slice(&body) {
            Ok(Refusal { error }) => bail!("the cloud refuses: {} ({})", error.message, error.code),
            Err(_) => bail!("{url} answers {status}; is it a Gnomon cloud?"),
        }
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} answers something else"))
}
