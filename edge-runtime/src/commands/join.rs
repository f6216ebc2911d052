//! `gnomon-edge join`: makes a key here, has the cloud certify it, writes the identity.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use gnomon_edge::enrolment::{
    self, CloudUrl, Enrolled, EnrolmentError, JoinRequest, Pending, Reply,
};
use gnomon_edge::identity::{Identity, NewKey};
use gnomon_edge::link::call::Call;
use gnomon_edge::link::proxy::Proxy;
use gnomon_edge::link::{self, Fingerprint, Trust};
use gnomon_edge::lock::DataLock;
use gnomon_schemas::id::NodeName;

use super::DataArg;

/// A cloud that is asked by many at once says when to come again; this long that is followed.
const CROWD: Duration = Duration::from_mins(10);

/// Joins this machine to a cloud as one of its nodes.
///
/// The cloud is known by the fingerprint in the join token, or by --ca or --ca-sha256. Without a
/// token the node waits until an operator lets it in, where the cloud allows that.
#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// The cloud's URL, for example `https://cloud.example:7443`.
    url: CloudUrl,
    /// The join token that the cloud made.
    #[arg(long, env = "GNOMON_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// What this node is called, if the token is not one of a certain node.
    #[arg(long, env = "GNOMON_JOIN_NODE", value_name = "NAME")]
    node: Option<NodeName>,
    /// The authority that vouches for the cloud, in PEM, if not the one of the join token.
    #[arg(long, env = "GNOMON_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The SHA-256 of the cloud's ca.pem, in hexadecimal, if no join token holds it.
    #[arg(long, value_name = "HEX")]
    ca_sha256: Option<Fingerprint>,
    /// Send the token in the clear, where others can read it and join in this node's place.
    #[arg(long)]
    insecure_http: bool,
    /// The proxy on the way to the cloud: socks5://[USER:PASSWORD@]HOST:PORT or http://...
    #[arg(long, env = "GNOMON_EDGE_PROXY", value_name = "URL", hide_env_values = true)]
    proxy: Option<Proxy>,
    /// How long to wait for an operator, in seconds; for ever if not given.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    #[command(flatten)]
    data: DataArg,
    /// Give up the identity that this machine has.
    #[arg(long)]
    force: bool,
    /// Succeed without doing anything if this machine is joined already.
    #[arg(long, conflicts_with = "force")]
    if_needed: bool,
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
    let key = key(args, data)?;
    let answer = enrol(args, &key.request_pem()?).await?;
    check_authority(args, &answer)?;
    if answer.mqtt.is_empty() {
        bail!("the cloud names no address of its broker; start it with --advertise HOST:PORT");
    }
    let identity = Identity {
        node: answer.node,
        mqtt: answer.mqtt,
        // One that cannot be dialled, such as a bare IPv6 address, is as good as none.
        https: answer.https.and_then(|at| at.parse().ok()),
        server_name: answer.server_name,
        key_pem: key.to_pem(),
        certificate_pem: answer.certificate_pem,
        ca_pem: answer.ca_pem,
    };
    link::client_config(&identity).context("the cloud's answer makes no usable identity")?;
    identity.save(data)?;
    NewKey::forget(data)?;
    let brokers: Vec<String> = identity.mqtt.iter().map(ToString::to_string).collect();
    tracing::info!(node = %identity.node, brokers = %brokers.join(", "), "joined");
    super::print(&format!("{}\n", serde_json::json!({ "node": identity.node, "mqtt": brokers })))
}

/// Who waits for an operator comes again with the same key.
fn key(args: &JoinArgs, data: &Path) -> Result<NewKey> {
    if args.token.is_some() {
        return Ok(NewKey::generate()?);
    }
    if args.node.is_none() {
        bail!("without --token the node has to say its name: --node NAME");
    }
    Ok(NewKey::keep(data)?)
}

/// How the cloud is known over TLS.
fn trust(args: &JoinArgs) -> Result<Trust> {
    if let Some(fingerprint) = args.ca_sha256 {
        return Ok(Trust::Fingerprint(fingerprint));
    }
    if let Some(file) = &args.ca {
        let pem = std::fs::read_to_string(file);
        return Ok(Trust::Authorities(pem.with_context(|| format!("reading {}", file.display()))?));
    }
    match fingerprint(args) {
        Some(fingerprint) => Ok(Trust::Fingerprint(fingerprint)),
        None => bail!(
            "nothing says by which authority the cloud is known: take a join token of this cloud, \
             or give its ca.pem with --ca FILE, or the SHA-256 of that with --ca-sha256 HEX \
             (`gnomon-cloud init` prints it)"
        ),
    }
}

fn fingerprint(args: &JoinArgs) -> Option<Fingerprint> {
    let in_token = || args.token.as_deref().and_then(Fingerprint::in_token);
    args.ca_sha256.or_else(in_token)
}

/// The node will trust the authority in the answer from now on; in the clear anybody could have
/// put in another one.
fn check_authority(args: &JoinArgs, answer: &Enrolled) -> Result<()> {
    let Some(wanted) = fingerprint(args) else { return Ok(()) };
    if Fingerprint::of_pem(&answer.ca_pem) == Some(wanted) {
        return Ok(());
    }
    bail!(
        "what answers at {} is not the cloud that made the join token: its authority is another \
         one. Nothing was written; make a new token, this one is spent",
        args.url
    )
}

async fn enrol(args: &JoinArgs, csr_pem: &str) -> Result<Enrolled> {
    if !args.url.is_tls && !args.url.is_here() && !args.insecure_http {
        bail!(
            "{} would carry the join token in the clear: use https:// (`gnomon-cloud --https`), or \
             allow it with --insecure-http on a network that is private",
            args.url
        );
    }
    let host = args.url.at.host.clone();
    let tls = if args.url.is_tls {
        let trust = trust(args)?;
        Some((link::joining_config(&trust, &host)?, trust.asks_for(&host)?))
    } else {
        None
    };
    let token = args.token.as_deref().map(str::trim);
    let request = JoinRequest { token, node: args.node.as_ref(), csr_pem };
    let (began, mut told) = (Instant::now(), None);
    loop {
        let call = Call {
            to: &args.url.at,
            host: host.clone(),
            path: format!("{}/v1/enroll", args.url.prefix),
            proxy: args.proxy.as_ref(),
            tls: tls.clone(),
        };
        let pause = match enrolment::ask(call, &request).await {
            Ok(Reply::Enrolled(answer)) => return Ok(*answer),
            Ok(Reply::Waiting(pending)) => {
                let pause = Duration::from_secs(pending.retry_after_s);
                if told.as_ref() != Some(&pending) {
                    say_waiting(&pending);
                    told = Some(pending);
                }
                let left =
                    args.wait.map(|most| Duration::from_secs(most).checked_sub(began.elapsed()));
                match left {
                    None => pause,
                    Some(Some(left)) if !left.is_zero() => pause.min(left),
                    Some(_) => {
                        bail!("nobody has let this node in yet; the same command goes on waiting")
                    }
                }
            }
            Err(EnrolmentError::Refused { retry_after: Some(wait), message, .. })
                if began.elapsed() + wait < CROWD =>
            {
                tracing::info!(%message, ?wait, "asking again");
                wait
            }
            Err(error) => return Err(error).with_context(|| format!("asking {}", args.url)),
        };
        tokio::time::sleep(pause.max(Duration::from_millis(100))).await;
    }
}

fn say_waiting(pending: &Pending) {
    let Pending { id, key_sha256, .. } = pending;
    super::talk(&format!(
        "waiting for an operator: gnomon node approve {id}\nthis node's key has the SHA-256 {key_sha256}\n"
    ));
}
