//! `gnomon-sim link-control`: steers the links of a running `gnomon-sim link`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gnomon_sim::link::Profile;
use gnomon_sim::link::control::{Request, Response, ask};

/// Steer the links of a running `gnomon-sim link`.
///
/// Prints the answer as one line of JSON. Exit code 1 when nobody answers or the order is refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gnomon-sim link-control --control /tmp/links.sock down site-1\n  \
    gnomon-sim link-control --control /tmp/links.sock profile site-1 2g-edge")]
pub(crate) struct LinkControlArgs {
    /// The socket given to `gnomon-sim link --control`
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Take a link down: nothing passes
    Down {
        /// The link's name
        link: String,
    },
    /// Bring a link back
    Up {
        /// The link's name
        link: String,
    },
    /// Change how a link behaves
    Profile {
        /// The link's name
        link: String,
        /// A shipped profile or the path of a TOML file
        profile: String,
    },
    /// Read what a link has counted
    Counters {
        /// The link's name
        link: String,
    },
    /// Tell all about all links
    List,
}

pub(crate) async fn run(args: LinkControlArgs) -> anyhow::Result<()> {
    let request = match args.order {
        Order::Down { link } => Request::Down { link },
        Order::Up { link } => Request::Up { link },
        Order::Profile { link, profile } => {
            // Read here: the path is relative to the one who asks.
            let profile = serde_json::to_value(Profile::load(&profile)?)
                .context("cannot write the profile as JSON")?;
            Request::Profile { link, profile }
        }
        Order::Counters { link } => Request::Counters { link },
        Order::List => Request::List {},
    };
    let response = ask(&args.control, &request).await?;
    if let Response::Error { message, .. } = &response {
        bail!("refused: {message}");
    }
    super::print_line(&response)
}
