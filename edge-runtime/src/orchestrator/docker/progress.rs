//! How much of an image has come, from what the daemon says of its layers. Coarse, since each step
//! is reported over a link that costs money: a layer counts as much as any other. Pure.

use std::collections::BTreeMap;

/// A step of what is told, in percent.
const STEP: u64 = 25;
/// No image has more layers.
const MOST_LAYERS: usize = 256;
/// A whole layer.
const WHOLE: u64 = 1000;

/// The layers of one image.
#[derive(Debug, Default)]
pub(super) struct Progress {
    layers: BTreeMap<String, u64>,
    told: u64,
}

impl Progress {
    /// Takes a piece of news; gives back the percent that are here when that is another step.
    pub(super) fn hear(
        &mut self,
        layer: Option<&str>,
        status: Option<&str>,
        bytes: Option<(i64, i64)>,
    ) -> Option<u8> {
        let (layer, status) = (layer?, status?);
        let come = match status {
            "Pulling fs layer" | "Waiting" => 0,
            "Downloading" => {
                let (current, total) = bytes?;
                let part = current.max(0).saturating_mul(1000) / total.max(1);
                u64::try_from(part).unwrap_or_default().min(WHOLE)
            }
            "Verifying Checksum" | "Download complete" | "Extracting" | "Pull complete"
            | "Already exists" => WHOLE,
            _ => return None,
        };
        if self.layers.len() >= MOST_LAYERS && !self.layers.contains_key(layer) {
            return None;
        }
        let held = self.layers.entry(layer.to_owned()).or_default();
        *held = come.max(*held);
        let whole = WHOLE * u64::try_from(self.layers.len()).unwrap_or(u64::MAX);
        let percent = self.layers.values().sum::<u64>() * 100 / whole / STEP * STEP;
        // Before all layers were named, and when all is here, it says nothing.
        if percent <= self.told || percent >= 100 {
            return None;
        }
        self.told = percent;
        u8::try_from(percent).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_that_come_are_told_in_steps_and_never_back() {
        let mut progress = Progress::default();
        let mut hear = |layer, status, bytes| progress.hear(Some(layer), Some(status), bytes);
        for layer in ["a", "b"] {
            assert_eq!(hear(layer, "Pulling fs layer", None), None);
        }
        assert_eq!(hear("a", "Downloading", Some((10, 100))), None);
        assert_eq!(hear("a", "Downloading", Some((60, 100))), Some(25));
        assert_eq!(hear("a", "Downloading", Some((70, 100))), None);
        assert_eq!(hear("a", "Download complete", None), Some(50));
        assert_eq!(hear("a", "Downloading", Some((0, 0))), None);
        assert_eq!(hear("c", "Pulling fs layer", None), None, "a late layer takes nothing back");
        assert_eq!(hear("b", "Downloading", Some((i64::MAX, 1))), None);
        assert_eq!(hear("c", "Pull complete", None), None, "its end is told otherwise");
        assert_eq!(progress.hear(None, Some("Digest: sha256:0"), None), None);
    }
}
