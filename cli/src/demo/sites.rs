//! The two sites: their names, directories and processes.

use std::path::{Path, PathBuf};

use super::reality::Marks;

/// A site of the demo.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// What the story calls it; also the name of its link.
    pub(super) label: &'static str,
    /// The node's name: unique to the demo's directory, as its Docker labels are.
    pub(super) node: String,
    /// Where the agent keeps its state.
    pub(super) data: PathBuf,
}

impl Site {
    /// Both of them.
    pub(super) fn both(state: &Path) -> [Self; 2] {
        let suffix = fingerprint(&state.display().to_string());
        ["site-1", "site-2"].map(|label| Self {
            label,
            node: format!("demo-{label}-{suffix:04x}"),
            data: state.join(label),
        })
    }

    /// How what it runs is recognised.
    pub(super) fn marks(&self) -> Marks<'_> {
        Marks { node: &self.node, data: &self.data }
    }
}

/// FNV-1a, folded to 16 bits.
fn fingerprint(text: &str) -> u16 {
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    u16::from_be_bytes([a ^ c, b ^ d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_of_different_directories_have_different_names() {
        let [one, two] = Site::both(Path::new("/a/demo/state"));
        let [other, _] = Site::both(Path::new("/b/demo/state"));
        assert_ne!(one.node, two.node);
        assert_ne!(one.node, other.node);
        assert!(one.node.parse::<gnomon_schemas::id::NodeName>().is_ok());
    }
}
