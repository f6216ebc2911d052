//! What holds for every journal file, whatever is cut off or changed in it.

use proptest::prelude::*;

use super::*;

fn head() -> Head {
    Head { id: [7; 16], generation: 3, first: 41 }
}

fn commits() -> impl Strategy<Value = Vec<Rows>> {
    // No zeros: those at the end of a frame are as good as those behind it.
    let bytes = |most| prop::collection::vec(1..=u8::MAX, 0..most);
    let rows = prop::collection::btree_map(bytes(9), prop::option::of(bytes(40)), 0..6);
    prop::collection::vec(rows, 0..5)
}

/// A file with these commits, and where each frame begins, and the last one ends.
fn file(head: &Head, commits: &[Rows]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut frame) = (head.encode(), Vec::new());
    let mut starts = vec![bytes.len()];
    for (number, rows) in (head.first..).zip(commits) {
        assert!(encode(head, number, rows, &mut frame));
        bytes.extend(&frame);
        starts.push(bytes.len());
    }
    (bytes, starts)
}

fn read_all(bytes: &[u8], head: &Head, until: u64) -> (Vec<Rows>, End) {
    let mut found = Vec::new();
    let end = read(bytes, head, until, &mut |number, rows| {
        assert_eq!(number, head.first + found.len() as u64);
        found.push(rows);
    });
    (found, end)
}

proptest! {
    #[test]
    fn what_was_written_is_read_whatever_zeros_follow(commits in commits(), zeros in 0..100_usize) {
        let (mut bytes, starts) = file(&head(), &commits);
        bytes.resize(bytes.len() + zeros, 0);
        let (found, end) = read_all(&bytes, &head(), u64::MAX);
        let at = starts[commits.len()];
        prop_assert_eq!(end, End { at, next: 41 + commits.len() as u64, is_damaged: false });
        prop_assert_eq!(found, commits);
    }

    #[test]
    fn a_file_that_is_cut_ends_with_the_last_whole_frame(
        commits in commits(), cut in any::<prop::sample::Index>(), is_zeroed: bool
    ) {
        let (mut bytes, starts) = file(&head(), &commits);
        let cut = HEAD + cut.index(bytes.len() - HEAD + 1);
        let len = bytes.len();
        bytes.truncate(cut);
        if is_zeroed {
            bytes.resize(len, 0);
        }
        let (found, end) = read_all(&bytes, &head(), u64::MAX);
        prop_assert!(!end.is_damaged);
        // A frame may end with some zeros, and is filled up with others, which mean nothing.
        let most = starts.iter().skip(1).filter(|end| **end < cut + 2 * ALIGN).count();
        prop_assert!(found.len() <= most, "{} of {most}", found.len());
        prop_assert!(starts.iter().skip(1).filter(|end| **end <= cut).count() <= found.len());
        prop_assert_eq!(&found[..], &commits[..found.len()]);
    }

    #[test]
    fn a_changed_byte_is_damage_if_a_frame_follows_and_the_end_if_not(
        commits in commits(), at in any::<prop::sample::Index>(), change in 1..=u8::MAX
    ) {
        prop_assume!(!commits.is_empty());
        let (mut bytes, starts) = file(&head(), &commits);
        let at = HEAD + at.index(bytes.len() - HEAD);
        bytes[at] ^= change;
        let (found, end) = read_all(&bytes, &head(), u64::MAX);
        let hit = starts.iter().filter(|start| **start <= at).count() - 1;
        if found.len() == commits.len() {
            // It was one of those that fill the frame up.
            prop_assert_eq!(found, commits);
        } else {
            prop_assert_eq!(found.len(), hit);
            prop_assert_eq!(&found[..], &commits[..hit]);
            prop_assert_eq!(end.is_damaged, hit + 1 < commits.len());
        }
    }

    #[test]
    fn frames_of_another_life_of_the_file_are_nothing(commits in commits(), at in 0..3_usize) {
        let (old, starts) = file(&head(), &commits);
        let now = [
            Head { generation: 4, ..head() },
            Head { id: [8; 16], ..head() },
            Head { generation: 4, first: 42, ..head() },
        ][at];
        let mut bytes = now.encode();
        bytes.extend(&old[HEAD..]);
        let (found, end) = read_all(&bytes, &now, u64::MAX);
        prop_assert!(found.is_empty() && !end.is_damaged && end.at == HEAD);
        let (found, _) = read_all(&old, &head(), 42);
        prop_assert_eq!(found.len(), commits.len().min(1));
        prop_assert_eq!(has_frame(&old, &head(), 41), starts.len() > 1);
    }

    #[test]
    fn rubbish_is_no_frame_and_no_head(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(Head::decode(&bytes), None);
        let (found, _) = read_all(&[head().encode(), bytes.clone()].concat(), &head(), u64::MAX);
        prop_assert!(found.is_empty());
        // It may be rows, but never makes more of them than there are bytes.
        prop_assert!(rows(&bytes).is_none_or(|rows| rows.len() <= bytes.len()));
    }
}

#[test]
fn a_head_is_read_back_and_a_changed_one_is_none() {
    let bytes = head().encode();
    assert_eq!(Head::decode(&bytes), Some(head()));
    for at in 0..52 {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(Head::decode(&changed), None, "{at}");
    }
}
