//! What every command that talks to the cloud starts from: the client, made when first needed.

use std::path::Path;

use anyhow::Context as _;

use crate::args::CloudArgs;
use crate::client::Client;
use crate::exit::Failure;

/// The user's choice of cloud and token.
pub(crate) struct Session {
    args: CloudArgs,
}

impl Session {
    pub(crate) const fn new(args: CloudArgs) -> Self {
        Self { args }
    }

    /// A client with the user's token.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = match (&self.args.token, &self.args.token_file) {
            (Some(token), None) => Some(token.trim().to_owned()),
            (Some(token), Some(file)) if !file_goes_first(token, file) => {
                Some(token.trim().to_owned())
            }
            (_, Some(file)) => Some(read_token(file)?),
            (None, None) => None,
        };
        let ca = self.args.ca.as_deref().map(read_ca).transpose()?;
        Ok(Client::new(&self.args.server, token, ca.as_deref())?)
    }
}

fn read_ca(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file)
        .with_context(|| format!("cannot read the authority's file {}", file.display()))
}

/// What is on the command line goes before what is in the environment.
fn file_goes_first(token: &str, file: &Path) -> bool {
    let is_set = |name: &str, to: &std::ffi::OsStr| std::env::var_os(name).as_deref() == Some(to);
    is_set("GNOMON_TOKEN", token.as_ref()) && !is_set("GNOMON_TOKEN_FILE", file.as_os_str())
}

/// Reads a token file as the cloud writes it.
pub(crate) fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the token file {}", file.display()))?;
    let token = text.trim();
    if token.is_empty() {
        let text = format!("the token file {} is empty", file.display());
        return Err(Failure::BadInput(text).into());
    }
    Ok(token.to_owned())
}
