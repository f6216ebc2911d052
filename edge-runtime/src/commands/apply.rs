//! `gnomon-edge apply`: runs an app from a Compose file, or Kubernetes manifests, at this site, without
//! the cloud.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use gnomon_edge::local::Request;
use gnomon_schemas::compose::{self, kubernetes};
use gnomon_schemas::id::AppName;

use super::DataArg;

/// Runs an app, or another revision of one, from a Compose file or, on k3s, Kubernetes manifests, with or
/// without a link.
///
/// It goes over what the cloud desires until the cloud's next version of that app; the cloud sees
/// that it is local. Health, settling and rollback are as for any revision.
#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    data: DataArg,
    /// The Compose file or the Kubernetes manifests.
    #[arg(required_unless_present = "discard")]
    file: Option<PathBuf>,
    /// The app's name, if not the one in the file.
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// Take back what was applied here.
    #[arg(long, value_name = "APP", conflicts_with_all = ["file", "app"])]
    discard: Option<AppName>,
}

pub(crate) async fn execute(args: &ApplyArgs) -> Result<()> {
    let request = match (&args.discard, &args.file) {
        (Some(app), _) => Request::Discard { app: app.clone() },
        (None, Some(file)) => read(file, args.app.as_ref())?,
        (None, None) => bail!("name a Compose file"),
    };
    super::order(&args.data, &request).await
}

fn read(file: &Path, name: Option<&AppName>) -> Result<Request> {
    let shown = file.display().to_string();
    let text = read_text(file).with_context(|| format!("cannot read {shown}"))?;
    if kubernetes::is_meant(&text) {
        let app =
            kubernetes::read(&text).map_err(|errors| anyhow!("{}", errors.in_file(&shown)))?;
        let name = name.cloned();
        let name =
            name.with_context(|| format!("{shown} does not name its app: give --app NAME"))?;
        return Ok(Request::Apply { app: name, spec: app.to_value() });
    }
    let folder = file.parent().filter(|it| *it != Path::new("")).unwrap_or(Path::new("."));
    let environment = |variable: &str| std::env::var(variable).ok();
    let files = |path: &str| read_below(folder, path);
    let read = compose::read_named(&text, &environment, &files)
        .map_err(|errors| anyhow!("{}", errors.in_file(&shown)))?;
    let app = name.cloned().or(read.name).with_context(|| {
        format!("{shown} does not name its app: write `name:` into it or give --app NAME")
    })?;
    Ok(Request::Apply { app, spec: read.app.to_value() })
}

/// A file that the Compose file names; a link must not lead out of the Compose file's folder.
fn read_below(folder: &Path, path: &str) -> io::Result<String> {
    let folder = folder.canonicalize()?;
    let file = folder.join(path).canonicalize()?;
    if !file.starts_with(&folder) {
        return Err(io::Error::other("it leads out of the folder of the Compose file"));
    }
    read_text(&file)
}

fn read_text(path: &Path) -> io::Result<String> {
    let limit = u64::try_from(compose::TEXT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    io::read_to_string(File::open(path)?.take(limit))
}
