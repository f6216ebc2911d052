//! `gnomon-cloud init`: makes what a cloud needs, once: keys, a configuration file that says
//! everything, and the first token.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use gnomon_cloud::config::Advertise;
use gnomon_cloud::{clock, setup};
use serde_json::json;

/// The flags of `init`.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// The folder that holds everything: configuration, store, keys. Made if it is missing.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// A name or an address under which the cloud is reached; may be given more than once. The
    /// first one is what joining nodes are told.
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// How sites reach the broker from outside, if not under the first name and the broker's port.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<Advertise>,
    /// Where the API listens without TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7780")]
    http: SocketAddr,
    /// Where the API listens with TLS.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:7443")]
    https: SocketAddr,
    /// Where the broker listens.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8883")]
    mqtt: SocketAddr,
}

pub(crate) fn init(args: InitArgs) -> anyhow::Result<()> {
    let wanted = setup::Wanted {
        dir: args.dir,
        names: args.names,
        advertise: args.advertise,
        http: args.http,
        https: args.https,
        mqtt: args.mqtt,
    };
    let made = setup::init(&wanted, clock::since_1970())?;
    let report = json!({
        "config": made.config,
        "ca": made.ca,
        "ca_sha256": made.ca_sha256,
        "token": made.token,
    });
    writeln!(io::stdout(), "{report}").context("cannot write to stdout")?;
    let talk = format!(
        "The token is said this once; keep it. Start the cloud:\n  gnomon-cloud --config {}\n",
        made.config.display()
    );
    // With stderr gone there is nobody left to tell.
    drop(io::stderr().write_all(talk.as_bytes()));
    Ok(())
}
