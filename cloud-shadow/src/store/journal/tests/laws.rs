//! Whatever happens to a store with a journal, it holds what a store in memory holds.

use proptest::prelude::*;

use super::*;
use crate::store::MemoryStore;

#[derive(Debug, Clone)]
enum Event {
    Commit(Vec<Op>),
    Flush,
    Settle,
    Reopen,
    /// The power goes while a frame is written: some of it is there, and rubbish behind it.
    Torn(Vec<Op>, prop::sample::Index, Vec<u8>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', b'b', 0xff]), 0..4)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let value = prop::collection::vec(any::<u8>(), 0..60);
    let op = prop_oneof![
        6 => (key(), value).prop_map(|(key, value)| Op::Put { key, value }),
        2 => key().prop_map(|key| Op::Delete { key }),
        1 => key().prop_map(|prefix| Op::DeletePrefix { prefix }),
        2 => (key(), 0..4_usize).prop_map(|(prefix, keep)| Op::Trim { prefix, keep }),
    ];
    prop::collection::vec(op, 0..5)
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let rubbish = prop::collection::vec(any::<u8>(), 0..80);
    let event = prop_oneof![
        8 => ops().prop_map(Event::Commit),
        1 => Just(Event::Flush),
        1 => Just(Event::Settle),
        2 => Just(Event::Reopen),
        2 => (ops(), any::<prop::sample::Index>(), rubbish)
            .prop_map(|(ops, cut, rubbish)| Event::Torn(ops, cut, rubbish)),
    ];
    prop::collection::vec(event, 0..14)
}

/// Commits, and takes back all but a part of the frame.
fn tear(disk: &Disk, store: JournaledStore, ops: &[Op], cut: prop::sample::Index, junk: &[u8]) {
    let place = |store: &JournaledStore| {
        let writer = store.shared.writer();
        writer.current.as_ref().map(|current| (current.path.clone(), current.used()))
    };
    let (before, last) = (place(&store), store.shared.writer().last);
    store.commit(ops).unwrap();
    let after = place(&store);
    let is_appended = store.shared.writer().last > last;
    drop(store);
    let (Some((path, from)), Some((now, to))) = (before, after) else { return };
    if path != now || !is_appended {
        return;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
    // Less than what the shortest frame holds besides what fills it up.
    let kept = from + cut.index(to - from - 8);
    bytes[kept..].fill(0);
    for (to, from) in bytes[kept..].iter_mut().zip(junk) {
        *to = *from;
    }
    std::fs::write(&path, bytes).unwrap();
    let _ = disk;
}

fn check(store: &dyn Store, model: &MemoryStore) -> Result<(), TestCaseError> {
    let expected = model.scan(b"").unwrap();
    prop_assert_eq!(&store.scan(b"").unwrap(), &expected);
    let mut shown = Vec::new();
    store
        .export(&mut |key, value| {
            shown.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
    prop_assert_eq!(shown, expected);
    for prefix in [b"a".as_slice(), b"b", b"ab", &[0xff]] {
        for after in [None, Some(b"a".as_slice()), Some(b"ab"), Some(&[0xff])] {
            for limit in [0, 1, 3] {
                let own = store.page(prefix, after, limit).unwrap();
                prop_assert_eq!(own, model.page(prefix, after, limit).unwrap());
            }
        }
        prop_assert_eq!(store.get(prefix).unwrap(), model.get(prefix).unwrap());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_holds_what_a_store_in_memory_holds(events in events(), is_tiny: bool) {
        let bounds = if is_tiny { TINY } else { BOUNDS };
        let (disk, model) = (Disk::new(), MemoryStore::new());
        let mut store = Some(disk.open_alone(bounds));
        for event in events {
            let open = store.take().unwrap();
            let open = match event {
                Event::Commit(ops) => {
                    open.commit(&ops).unwrap();
                    model.commit(&ops).unwrap();
                    open
                }
                Event::Flush => {
                    open.shared.flush().unwrap();
                    open
                }
                Event::Settle => {
                    open.settle().unwrap();
                    open
                }
                Event::Reopen => {
                    drop(open);
                    disk.open_alone(bounds)
                }
                Event::Torn(ops, cut, junk) => {
                    // Only what is appended can be torn: something that changes a row for sure.
                    let row = Op::Put { key: b"a".to_vec(), value: vec![1; 9] };
                    let ops = [vec![row], ops].concat();
                    open.commit(&[put("first", "1")]).unwrap();
                    model.commit(&[put("first", "1")]).unwrap();
                    let place = open.shared.writer().last;
                    tear(&disk, open, &ops, cut, &junk);
                    let again = disk.open_alone(bounds);
                    if again.shared.writer().last > place {
                        model.commit(&ops).unwrap();
                    }
                    again
                }
            };
            check(&open, &model)?;
            store = Some(open);
        }
    }
}
