//! Reads a Compose file, with the files that it names, or Kubernetes manifests into an app.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gnomon_schemas::compose::{self, kubernetes};
use gnomon_schemas::id::AppName;
use serde_json::Value;

use crate::exit::Failure;

/// An app and the name to give it.
pub(crate) struct Source {
    /// The app's name.
    pub(crate) name: AppName,
    /// The app, as the desired half of its shadow holds it.
    pub(crate) spec: Value,
}

/// Reads the file, or stdin for `-`. `name` goes before the file's own `name:`.
pub(crate) fn read(file: &Path, name: Option<&AppName>) -> anyhow::Result<Source> {
    let (text, shown, folder) = if file == Path::new("-") {
        (
            io::read_to_string(io::stdin().lock().take(limit()))?,
            "stdin".to_owned(),
            PathBuf::from("."),
        )
    } else if file.is_dir() {
        let shown = file.display();
        let hint = if file.join("Chart.yaml").exists() {
            format!(
                "it is a Helm chart: render it first, `helm template --no-hooks NAME {shown} | gnomon apply -f - --app NAME ...`"
            )
        } else {
            "give one file; `cat FOLDER/*.yaml | gnomon apply -f -` needs `---` between manifests"
                .to_owned()
        };
        return Err(Failure::BadInput(format!("{shown} is a folder; {hint}")).into());
    } else {
        let opened = std::fs::File::open(file).and_then(|f| io::read_to_string(f.take(limit())));
        let text = opened.with_context(|| format!("cannot read {}", file.display()))?;
        let folder = file.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."));
        (text, file.display().to_string(), folder.to_owned())
    };
    if kubernetes::is_meant(&text) {
        let app = kubernetes::read(&text)
            .map_err(|errors| Failure::BadInput(errors.in_file(&shown).to_string()))?;
        let name = name.cloned().ok_or_else(|| {
            Failure::Usage(format!(
                "{shown} holds Kubernetes manifests, which do not name an app: give --app NAME"
            ))
        })?;
        return Ok(Source { name, spec: app.to_value() });
    }
    let environment = |variable: &str| std::env::var(variable).ok();
    let files = |path: &str| read_below(&folder, path);
    let read = compose::read_named(&text, &environment, &files)
        .map_err(|errors| Failure::BadInput(errors.in_file(&shown).to_string()))?;
    let name = name.cloned().or(read.name).ok_or_else(|| {
        let text =
            format!("{shown} does not name its app: write `name:` into it or give --app NAME");
        Failure::Usage(text)
    })?;
    Ok(Source { name, spec: read.app.to_value() })
}

/// One byte more than the reader takes, so that it says what is wrong.
fn limit() -> u64 {
    u64::try_from(compose::TEXT_BYTES).unwrap_or(u64::MAX).saturating_add(1)
}

/// A file that the Compose file names; a link must not lead out of the Compose file's folder.
fn read_below(folder: &Path, path: &str) -> io::Result<String> {
    let folder = folder.canonicalize()?;
    let file = folder.join(path).canonicalize()?;
    if !file.starts_with(&folder) {
        return Err(io::Error::other("it leads out of the folder of the Compose file"));
    }
    io::read_to_string(std::fs::File::open(file)?.take(limit()))
}
