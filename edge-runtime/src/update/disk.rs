//! The files of updates, in `update/` of the data folder: what was decided, and programs by their
//! digests. Everything is replaced as a whole, and durable before it is relied on.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use gnomon_schemas::hex;
use ring::digest::{Context, SHA256};

use super::state::{Installed, Release, State};

const PROGRAM: &str = "agent-";
const PART: &str = ".part";

/// Why a step of an update did not work here.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed")]
pub(super) struct DiskError {
    doing: String,
    #[source]
    source: io::Error,
}

impl DiskError {
    pub(super) fn new(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source }
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Disk(PathBuf);

impl Disk {
    pub(super) fn new(data: &Path) -> Self {
        Self(data.join("update"))
    }

    /// What was decided; nothing if that cannot be read.
    pub(super) fn load(&self) -> State {
        let text = fs::read(self.0.join("state.json"));
        text.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Makes a decision durable.
    pub(super) fn save(&self, state: &State) -> Result<(), DiskError> {
        let write = || {
            self.make()?;
            let (at, new) = (self.0.join("state.json"), self.0.join("state.new"));
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(state)?)?;
            file.sync_all()?;
            fs::rename(&new, &at)?;
            self.sync()
        };
        write().map_err(DiskError::new("writing what was decided about an update"))
    }

    /// Where a program lies.
    pub(super) fn program(&self, release: &Release) -> PathBuf {
        self.0.join(format!("{PROGRAM}{}", release.sha256))
    }

    /// Where a program lies while it is being fetched.
    pub(super) fn part(&self, release: &Release) -> PathBuf {
        self.0.join(format!("{PROGRAM}{}{PART}", release.sha256))
    }

    pub(super) fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Whether the file of a program is what was signed.
    pub(super) fn is_whole(&self, release: &Release) -> bool {
        digest(&self.program(release)).is_ok_and(|(found, _)| found == release.sha256)
    }

    /// A part that is complete becomes a program.
    pub(super) fn finish(&self, release: &Release) -> Result<(), DiskError> {
        let (part, program) = (self.part(release), self.program(release));
        let finish = || {
            fs::set_permissions(&part, fs::Permissions::from_mode(0o700))?;
            File::open(&part)?.sync_all()?;
            fs::rename(&part, &program)?;
            self.sync()
        };
        finish().map_err(DiskError::new("putting the fetched program in its place"))
    }

    /// Removes the programs that nobody goes back to, and parts but for the one being fetched.
    pub(super) fn clean(&self, state: &State, fetching: Option<&Release>) {
        let kept: Vec<String> = state.kept().map(|digest| format!("{PROGRAM}{digest}")).collect();
        let part = fetching.map(|release| self.part(release));
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.starts_with(PROGRAM) && !kept.contains(&name);
            if is_ours && part.as_deref() != Some(&entry.path()) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// The SHA-256 of a file in hex, and its size.
pub(super) fn digest(at: &Path) -> io::Result<(String, u64)> {
    let (mut file, mut hash, mut size) = (File::open(at)?, Context::new(&SHA256), 0);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        size += u64::try_from(read).unwrap_or_default();
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    Ok((hex::of(hash.finish().as_ref()), size))
}

/// What tells this installed program from another one at the same place.
pub(super) fn installed(at: &Path) -> Installed {
    fs::metadata(at).map_or_else(
        |_| Installed::default(),
        |meta| Installed {
            size: meta.len(),
            changed_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        },
    )
}
