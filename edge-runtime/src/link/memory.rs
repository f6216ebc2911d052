//! What the link has learned and keeps across restarts, in one small file: the last good endpoint,
//! the keep-alive that works, the time that is past. Written only when it changed; losing it costs
//! no more than learning it again.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::mqtt::Address;

/// What was learned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// The endpoint that worked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Address>,
    /// The keep-alive that is known to work, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_s: Option<u64>,
    /// The time that is known to be past, in seconds since 1970.
    #[serde(default)]
    pub past_s: u64,
}

/// The file.
#[derive(Debug, Default)]
pub struct Memory {
    at: Option<PathBuf>,
    kept: Learned,
}

impl Memory {
    /// The memory in a data directory. A file that cannot be read counts as none.
    pub fn open(data: &Path) -> Self {
        let at = data.join("link.json");
        let kept = fs::read(&at).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { at: Some(at), kept: kept.unwrap_or_default() }
    }

    /// What is known.
    pub const fn learned(&self) -> &Learned {
        &self.kept
    }

    /// Keeps what is known now.
    pub fn keep(&mut self, learned: Learned) {
        if learned == self.kept {
            return;
        }
        if let Some(at) = &self.at
            && let Err(error) = write(at, &learned)
        {
            tracing::debug!(%error, "what the link learned was not kept");
        }
        self.kept = learned;
    }
}

fn write(at: &Path, learned: &Learned) -> io::Result<()> {
    let new = at.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(learned)?)?;
    file.sync_all()?;
    fs::rename(&new, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_is_known_after_a_restart_and_rubble_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let learned = Learned {
            endpoint: Some("cloud.example:8883".parse().unwrap()),
            keep_alive_s: Some(120),
            past_s: 7,
        };
        Memory::open(dir.path()).keep(learned.clone());
        assert_eq!(Memory::open(dir.path()).learned(), &learned);
        fs::write(dir.path().join("link.json"), "{\"endp").unwrap();
        assert_eq!(Memory::open(dir.path()).learned(), &Learned::default());
    }
}
