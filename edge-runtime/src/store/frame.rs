//! How a value lies on disk: `[schema u8][commit u64][crc u32][payload]`, big endian, with the CRC
//! over key, schema, commit and payload, so that a value that moved or rotted is noticed. Pure.

use sha2::{Digest as _, Sha256};

/// The layout that this build writes and reads.
pub const SCHEMA: u8 = 1;

const HEADER: usize = 1 + 8 + 4;

/// A frame that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The commit that wrote it.
    pub commit: u64,
    /// What was stored.
    pub payload: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There are too few bytes for a header.
    #[error("it has {0} bytes, fewer than a header")]
    Short(usize),
    /// Another build wrote it.
    #[error("it has layout {0}, this build knows layout {SCHEMA}")]
    Schema(u8),
    /// The CRC does not match.
    #[error("its checksum does not match")]
    Checksum,
}

/// Frames `payload` for storage under `key`.
pub fn seal(key: &[u8], commit: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(SCHEMA);
    bytes.extend_from_slice(&commit.to_be_bytes());
    bytes.extend_from_slice(&checksum(key, commit, payload).to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Checks and opens what [`seal`] made.
pub fn open<'a>(key: &[u8], bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
    let short = FrameError::Short(bytes.len());
    let (schema, rest) = bytes.split_first().ok_or(short)?;
    if *schema != SCHEMA {
        return Err(FrameError::Schema(*schema));
    }
    let (commit, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
    let (crc, payload) = rest.split_first_chunk::<4>().ok_or(short)?;
    let commit = u64::from_be_bytes(*commit);
    if u32::from_be_bytes(*crc) != checksum(key, commit, payload) {
        return Err(FrameError::Checksum);
    }
    Ok(Frame { commit, payload })
}

/// What a record adds to the set-hash of its store: 128 bits of its key and its header. Sums of
/// these are equal exactly when the sets of records are, whatever the order of the commits.
pub fn fingerprint(key: &[u8], sealed: &[u8]) -> u128 {
    let header = sealed.get(..HEADER).unwrap_or(sealed);
    let hash = Sha256::new().chain_update(header).chain_update(key).finalize();
    hash.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

fn checksum(key: &[u8], commit: u64, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[SCHEMA]);
    crc.update(&commit.to_be_bytes());
    crc.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    crc.update(key);
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens(key: Vec<u8>, commit: u64, payload: Vec<u8>) {
            let sealed = seal(&key, commit, &payload);
            prop_assert_eq!(open(&key, &sealed), Ok(Frame { commit, payload: &payload }));
        }

        #[test]
        fn one_flipped_bit_is_noticed(payload: Vec<u8>, at: prop::sample::Index, bit in 0..8u8) {
            let mut sealed = seal(b"key", 7, &payload);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open(b"key", &sealed).is_err());
        }

        #[test]
        fn a_value_under_another_key_is_noticed(key: Vec<u8>, other: Vec<u8>) {
            prop_assume!(key != other);
            let sealed = seal(&key, 1, b"v");
            prop_assert_eq!(open(&other, &sealed), Err(FrameError::Checksum));
        }

        #[test]
        fn a_truncated_frame_is_noticed(payload: Vec<u8>, len: prop::sample::Index) {
            let sealed = seal(b"key", 7, &payload);
            let len = len.index(sealed.len());
            prop_assert!(open(b"key", &sealed[..len]).is_err());
        }
    }

    #[test]
    fn the_fingerprint_tells_records_apart_by_key_commit_and_content() {
        let prints = [
            fingerprint(b"a", &seal(b"a", 1, b"x")),
            fingerprint(b"b", &seal(b"b", 1, b"x")),
            fingerprint(b"a", &seal(b"a", 2, b"x")),
            fingerprint(b"a", &seal(b"a", 1, b"y")),
        ];
        for (index, print) in prints.iter().enumerate() {
            assert!(!prints[index + 1..].contains(print));
        }
    }
}
