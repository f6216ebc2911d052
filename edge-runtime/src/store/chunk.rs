//! How a value of any size becomes records of at most [`CHUNK`] bytes: the engine spills larger
//! ones into files that it does not sync. Pure.
//!
//! The first record lies under `v/<key>` and says how many there are; the others lie under
//! `c/<len of key><key><index>`.

/// The most payload bytes of one record, without the head's own count.
pub const CHUNK: usize = 4096;

/// What the keys of all first records start with.
pub const FIRST: &[u8] = b"v/";

const REST: &[u8] = b"c/";

/// Why the records of a value do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The first record has no count.
    #[error("its first record is too short")]
    NoCount,
    /// A record that the first one promises is missing or older.
    #[error("its record {0} is missing or of another commit")]
    Torn(u32),
}

/// The key of the first record of the value of `key`.
pub fn first_key(key: &[u8]) -> Vec<u8> {
    [FIRST, key].concat()
}

/// The key of the record `index` (from 1) of the value of `key`.
pub fn rest_key(key: &[u8], index: u32) -> Vec<u8> {
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    [REST, &len.to_be_bytes(), key, &index.to_be_bytes()].concat()
}

/// The records of a value: their keys and payloads.
pub fn split(key: &[u8], value: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (first, rest) = value.split_at(value.len().min(CHUNK));
    let rest: Vec<&[u8]> = rest.chunks(CHUNK).collect();
    let more = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    let head = (first_key(key), [&more.to_be_bytes(), first].concat());
    let rest = (1..).zip(rest).map(|(index, part)| (rest_key(key, index), part.to_vec()));
    std::iter::once(head).chain(rest).collect()
}

/// How many records follow a first record with this payload, and its part of the value.
pub fn read_first(payload: &[u8]) -> Result<(u32, &[u8]), ChunkError> {
    let (more, first) = payload.split_first_chunk::<4>().ok_or(ChunkError::NoCount)?;
    Ok((u32::from_be_bytes(*more), first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_parts_make_up_the_value(size in 0..CHUNK * 5) {
            let value: Vec<u8> = (0..=250).cycle().take(size).collect();
            let records = split(b"key", &value);
            let (more, first) = read_first(&records[0].1).unwrap();
            prop_assert_eq!(more as usize, records.len() - 1);
            let mut whole = first.to_vec();
            for (index, (key, part)) in (1..).zip(&records[1..]) {
                prop_assert_eq!(key, &rest_key(b"key", index));
                prop_assert!(part.len() <= CHUNK);
                whole.extend_from_slice(part);
            }
            prop_assert_eq!(whole, value);
        }

        #[test]
        fn records_of_different_keys_never_meet(
            a: Vec<u8>, b: Vec<u8>, i in 0..9u32, j in 0..9u32
        ) {
            prop_assume!(a != b);
            prop_assert_ne!(rest_key(&a, i), rest_key(&b, j));
        }
    }
}
