//! The end of a text that comes in pieces, within a bound of lines and bytes.

use std::collections::VecDeque;

const MOST_BYTES: usize = 1024 * 1024;

/// Keeps the last lines of what is pushed into it.
#[derive(Debug)]
pub(super) struct Tail {
    lines: usize,
    bytes: VecDeque<u8>,
}

impl Tail {
    pub(super) const fn new(lines: usize) -> Self {
        Self { lines, bytes: VecDeque::new() }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend(piece);
        let excess = self.bytes.len().saturating_sub(MOST_BYTES);
        self.bytes.drain(..excess);
    }

    /// The kept lines; bytes that are not UTF-8 are replaced.
    pub(super) fn into_text(self) -> String {
        let bytes = Vec::from(self.bytes);
        if self.lines == 0 {
            return String::new();
        }
        let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let mut breaks = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        let start = breaks.nth(self.lines - 1).map_or(0, |(at, _)| at + 1);
        String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(lines: usize, pieces: &[&str]) -> String {
        let mut tail = Tail::new(lines);
        for piece in pieces {
            tail.push(piece.as_bytes());
        }
        tail.into_text()
    }

    #[test]
    fn the_last_lines_are_kept_whole() {
        assert_eq!(tail(2, &["a\nb", "b\nc\n"]), "bb\nc\n");
        assert_eq!(tail(2, &["a\nb\nc"]), "b\nc");
        assert_eq!(tail(9, &["a\n", "b\n"]), "a\nb\n");
        assert_eq!(tail(0, &["a\n"]), "");
        assert_eq!(tail(3, &[]), "");
    }

    #[test]
    fn memory_is_bounded_however_much_is_pushed() {
        let mut tail = Tail::new(usize::MAX);
        let piece = vec![b'x'; 100_000];
        for _ in 0..40 {
            tail.push(&piece);
        }
        assert_eq!(tail.into_text().len(), MOST_BYTES);
    }
}
