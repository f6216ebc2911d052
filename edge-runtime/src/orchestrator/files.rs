//! Files that survive a power cut once the call that wrote them has returned.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

/// Makes a directory and those above it that do not exist, all with `mode`.
pub(super) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Writes a new file durably; it must not exist. `mode` holds whatever the umask is.
pub(super) fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Replaces a file by one rename, durably: a reader sees the old content or the new, whole.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".new");
    let fresh = path.with_file_name(name);
    remove_if_there(&fresh)?;
    write_new(&fresh, content, mode)?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Replaces a file by one rename; after a power cut it may be the old one or empty.
pub(super) fn replace_lightly(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".new");
    let fresh = path.with_file_name(name);
    fs::write(&fresh, content)?;
    fs::rename(&fresh, path)
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes every directory of a tree durable.
pub(super) fn sync_dirs(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_dirs(&entry.path())?;
        }
    }
    sync_dir(path)
}

/// Removes a file; that it is gone already is success.
pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

/// Removes a directory with all it holds; symbolic links in it are not followed. That it is gone
/// already is success.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_dir_all(path))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The real path of a bind mount, if it is below one of the permitted directories with every
/// symbolic link followed.
pub(super) fn permitted(path: &Path, prefixes: &[PathBuf]) -> io::Result<Option<PathBuf>> {
    if !prefixes.iter().any(|prefix| path.starts_with(prefix)) {
        return Ok(None);
    }
    let real = path.canonicalize()?;
    let below =
        |prefix: &PathBuf| prefix.canonicalize().is_ok_and(|prefix| real.starts_with(prefix));
    Ok(prefixes.iter().any(below).then_some(real))
}

/// The place of an absolute target below a root. `None` if a part of it could lead elsewhere.
pub(super) fn below(root: &Path, target: &str) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for part in Path::new(target).components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => path.push(name),
            Component::Prefix(_) | Component::CurDir | Component::ParentDir => return None,
        }
    }
    (path != root).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolic_link_does_not_lead_a_bind_mount_out_of_its_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let prefix = dir.path().join("shared");
        fs::create_dir_all(prefix.join("in")).unwrap();
        std::os::unix::fs::symlink("/etc", prefix.join("out")).unwrap();
        let ask = |name: &str| permitted(&prefix.join(name), std::slice::from_ref(&prefix));
        assert!(ask("in").unwrap().is_some());
        assert_eq!(ask("out").unwrap(), None);
        assert!(ask("missing").is_err());
        assert_eq!(permitted(Path::new("/etc"), std::slice::from_ref(&prefix)).unwrap(), None);
        assert_eq!(permitted(Path::new("/etc"), &[]).unwrap(), None);
    }

    #[test]
    fn a_target_stays_below_its_root() {
        let root = Path::new("/r");
        assert_eq!(below(root, "/etc/app.toml").unwrap(), Path::new("/r/etc/app.toml"));
        assert_eq!(below(root, "/../x"), None);
        assert_eq!(below(root, "/"), None);
    }

    #[test]
    fn a_replaced_file_has_the_asked_mode_and_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), 0o400).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
