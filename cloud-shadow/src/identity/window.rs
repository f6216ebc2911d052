//! Certificates that a restored store does not know: those that the own authority gave between a
//! backup and its restore. Pure. It says when one was given and whether that counts; whose it is,
//! and that the authority has signed it, others have seen to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: Duration = Duration::from_hours(24);

/// The most windows that are remembered: nobody puts back that many backups within the life of a
/// certificate.
const MOST: usize = 32;

/// How long before the moment of its making a certificate counts as valid, for two clouds whose
/// clocks differ.
pub(super) fn head_start(life: Duration) -> Duration {
    DAY.min(life / 10)
}

/// When a certificate of the own authority was made, in seconds since 1970, by the first and the
/// last second of its validity.
pub(super) fn issued_s(not_before_s: u64, not_after_s: u64) -> u64 {
    let span = not_after_s.saturating_sub(not_before_s);
    // The span is the life and the head start: a tenth of the life, at most a day.
    not_before_s.saturating_add(span.div_ceil(11).min(DAY.as_secs()))
}

/// From the making of a backup to its restore, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The first second.
    pub from_s: u64,
    /// The last second.
    pub until_s: u64,
}

/// The times in which certificates were given that the store cannot know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Windows(Vec<Window>);

impl Windows {
    /// Whether there is any.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more restore.
    pub fn add(&mut self, window: Window) {
        self.0.push(window);
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// Whether a certificate that was made then is good although the store does not know it, for a
    /// node whose certificates up to `void_s` are void.
    pub fn admit(&self, issued_s: u64, void_s: u64) -> bool {
        let is_within = |window: &Window| (window.from_s..=window.until_s).contains(&issued_s);
        issued_s > void_s && self.0.iter().any(is_within)
    }

    /// Up to when certificates of a node are void of which something was decided now: none that
    /// the store does not know is good for it any more. `None`: there is nothing to bar.
    pub fn bar(&self, now_s: u64) -> Option<u64> {
        let last = self.0.iter().map(|window| window.until_s).max()?;
        Some(last.max(now_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_certificate_was_made_follows_from_its_validity() {
        for life_s in [10, 17, 360, 86_400, 9 * 86_400, 10 * 86_400, 90 * 86_400, 36_500 * 86_400] {
            let (made, life) = (1_800_000_000, Duration::from_secs(life_s));
            let begins = made - head_start(life).as_secs();
            let found = issued_s(begins, made + life_s);
            assert!(found.abs_diff(made) <= 1, "{life_s}: {found}");
        }
        assert_eq!(issued_s(1_800_000_000 - 86_400, 1_800_000_000 + 90 * 86_400), 1_800_000_000);
    }

    #[test]
    fn only_what_was_made_between_a_backup_and_its_restore_is_good() {
        let mut windows = Windows::default();
        assert!(!windows.admit(5, 0) && windows.bar(5).is_none());
        windows.add(Window { from_s: 100, until_s: 200 });
        windows.add(Window { from_s: 300, until_s: 400 });
        for (issued, is_good) in
            [(99, false), (100, true), (200, true), (201, false), (299, false), (400, true)]
        {
            assert_eq!(windows.admit(issued, 0), is_good, "{issued}");
        }
        assert!(!windows.admit(150, 150) && windows.admit(151, 150));
        assert_eq!((windows.bar(350), windows.bar(500)), (Some(400), Some(500)));
        assert!(!windows.admit(400, windows.bar(350).unwrap()), "also when the clock goes back");
    }

    #[test]
    fn the_latest_windows_are_kept() {
        let mut windows = Windows::default();
        for n in 0..100 {
            windows.add(Window { from_s: n * 10, until_s: n * 10 + 5 });
        }
        assert!(!windows.admit(670, 0) && windows.admit(680, 0) && windows.admit(990, 0));
    }
}
