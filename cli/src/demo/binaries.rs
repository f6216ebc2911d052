//! Finds the programs that the demo drives.

use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Binaries {
    pub(super) cloud: PathBuf,
    pub(super) edge: PathBuf,
    pub(super) sim: PathBuf,
}

impl Binaries {
    /// Looks in the given directory, else beside this program.
    pub(super) fn find(dir: Option<&Path>) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let dir = dir.or_else(|| own.parent()).unwrap_or(Path::new(".")).canonicalize()?;
        let find = |name: &str| {
            let path = dir.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Failure::NotFound(format!(
                "there is no {name} in {}; build it with `cargo build --workspace --bins`, or name \
                 its directory with --bin-dir",
                dir.display()
            )))
        };
        Ok(Self {
            cloud: find("gnomon-cloud")?,
            edge: find("gnomon-edge")?,
            sim: find("gnomon-sim")?,
        })
    }
}
