//! A small disk in a file: it can lose its power with all that was not synced, and it can be full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gnomon_tests::eventually;
use nix::sys::statvfs::statvfs;

/// Tells a file system that its power is gone: nothing more is written, and what was not synced
/// is not there any more.
const LOSE_POWER: &str = "
import fcntl, os, struct, sys
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), EXT4_IOC_SHUTDOWN, struct.pack('I', NO_LOG_FLUSH))
";

pub(crate) struct Disk {
    folder: PathBuf,
    at: PathBuf,
    /// How often its power went.
    cuts: u32,
}

impl Disk {
    /// Makes it, and mounts it below the folder.
    pub(crate) fn make(folder: &Path, mib: u64) -> Self {
        let disk = Self { folder: folder.to_path_buf(), at: folder.join("disk"), cuts: 0 };
        fs::create_dir_all(&disk.at).unwrap();
        File::create(disk.file()).unwrap().set_len(mib << 20).unwrap();
        succeeds(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(disk.file()));
        disk.mount();
        disk
    }

    fn file(&self) -> PathBuf {
        self.folder.join(format!("disk-{}.ext4", self.cuts))
    }

    /// Where it is mounted.
    pub(crate) fn at(&self) -> &Path {
        &self.at
    }

    fn mount(&self) {
        succeeds(Command::new("mount").args(["-o", "loop"]).args([&self.file(), &self.at]));
    }

    /// Its power goes and comes back. Nobody may have files open on it.
    pub(crate) fn cut_power(&mut self) {
        succeeds(Command::new("python3").args(["-c", LOSE_POWER]).arg(&self.at));
        eventually("the disk to be free", Duration::from_mins(1), || {
            let output = Command::new("umount").arg(&self.at).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(errors) }
        });
        // Another box that was made meanwhile has the dead file system in its namespace, and mounted
        // from the same file this would be the dead one again.
        let dead = self.file();
        self.cuts += 1;
        succeeds(Command::new("cp").arg("--sparse=always").args([&dead, &self.file()]));
        fs::remove_file(dead).unwrap();
        self.mount();
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        let mut step = 16 << 20;
        let mut size = 0;
        while step >= 4096 {
            let at = self.filler();
            let free = statvfs(&self.at).map_or(0, |it| it.blocks_available() * it.fragment_size());
            let wanted = (size + step.min(free.max(4096))).to_string();
            let made = Command::new("fallocate").args(["-l", &wanted]).arg(&at).output().unwrap();
            if made.status.success() {
                size = fs::metadata(&at).unwrap().len();
            } else {
                step /= 2;
            }
        }
        // What no extent fits any more.
        while filler.write_all(&[0; 512]).is_ok()
            && fs::metadata(self.filler()).unwrap().len() > size
        {
            size += 512;
        }
    }

    /// Ends what [`Self::fill`] has begun.
    pub(crate) fn free(&self) {
        let _gone = fs::remove_file(self.filler());
        // Or the next power cut brings it back.
        succeeds(Command::new("sync").arg("-f").arg(&self.at));
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// Runs a command that must succeed.
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
