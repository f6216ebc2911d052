//! `gnomon shadow set`: change the desired half of a shadow.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::json;
use gnomon_schemas::key::ShadowKey;
use serde_json::Value;

use super::value;
use crate::client::{Client, Precondition, WriteMode};
use crate::exit::{self, Failure};
use crate::names;
use crate::output::{self, Format};

/// Change the desired half of a shadow: by fields, by a merge patch, or from a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  gnomon shadow set site-1 device/pump-1 limits.max=80 mode=auto tags='[\"a\"]'
  gnomon shadow set site-1 device/pump-1 limits.max=null           (removes it)
  gnomon shadow set site-1 device/pump-1 -p '{\"limits\":{\"max\":80}}' --if-version 7
  gnomon shadow set site-1 device/pump-1 -f desired.json --replace")]
pub(crate) struct Args {
    /// The node.
    #[arg(value_parser = names::node)]
    node: NodeName,
    /// The key: node, app/NAME or device/ID[/SHADOW].
    #[arg(value_parser = names::key)]
    key: ShadowKey,
    /// Fields to set. The value is read as JSON, and as text where it is none; null removes.
    #[arg(value_name = "FIELD.PATH=VALUE")]
    fields: Vec<String>,
    /// A JSON merge patch (RFC 7396).
    #[arg(long, short, value_name = "JSON", conflicts_with_all = ["fields", "file"])]
    patch: Option<String>,
    /// A file with the same; `-` is stdin.
    #[arg(long, short, value_name = "FILE", conflicts_with = "fields")]
    file: Option<PathBuf>,
    /// Make the desired half exactly this, where otherwise it is merged in.
    #[arg(long)]
    replace: bool,
    /// Only while the desired half has this version; 0: only while there is none.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    /// Print the shadow afterwards.
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
}

/// Runs the command.
pub(super) async fn run(client: &Client, args: Args) -> anyhow::Result<()> {
    let body = body(&args)?;
    let mode = if args.replace { WriteMode::Replace } else { WriteMode::Merge };
    let precondition = args.if_version.map_or(Precondition::None, Precondition::Version);
    let (node, key) = (args.node.as_str(), args.key.to_string());
    let (shadow, created) = client.write_shadow(node, &key, &body, mode, precondition).await?;
    if let Some(format) = args.output {
        return output::value(&shadow, format);
    }
    let verb = if created { "created" } else { "desired" };
    Ok(output::data(&format!("{key} on {node}: {verb} v{}", shadow.desired_version()))?)
}

fn body(args: &Args) -> anyhow::Result<Value> {
    if let Some(patch) = &args.patch {
        return parse(patch.as_bytes(), "the patch");
    }
    if let Some(file) = &args.file {
        return parse(&read(file)?, &file.display().to_string());
    }
    if args.fields.is_empty() {
        let text = "say what to set: FIELD.PATH=VALUE, --patch JSON or --file FILE";
        return Err(Failure::Usage(text.to_owned()).into());
    }
    value::from_fields(&args.fields).map_err(|text| Failure::Usage(text).into())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut text = Vec::new();
        let limit = u64::try_from(gnomon_schemas::limits::JSON_BYTES)? + 1;
        std::io::stdin().lock().take(limit).read_to_end(&mut text).context("cannot read stdin")?;
        return Ok(text);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn parse(text: &[u8], what: &str) -> anyhow::Result<Value> {
    let value = json::parse(text).map_err(|error| {
        let cause = exit::describe(&error.into());
        Failure::BadInput(format!("{what} is not the JSON that is needed: {cause}"))
    })?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Failure::BadInput(format!("{what} must be a JSON object")).into())
}
