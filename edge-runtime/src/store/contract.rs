//! What every store must do, as cases that each backend runs.

use std::collections::BTreeMap;

use super::{Op, Store};

/// Opens the same store again and again; what was committed must be there each time.
pub(super) type Open = Box<dyn FnMut() -> Box<dyn Store>>;

/// Runs every case; `make` makes a new, empty place for a store.
pub(super) fn check(make: &mut dyn FnMut() -> Open) {
    an_empty_store_has_nothing(make());
    what_was_committed_is_read_back_after_reopening(make());
    the_later_change_of_one_key_wins(make());
    scans_see_their_prefix_in_order(make());
    values_of_any_size_come_back(make());
    a_shrinking_value_leaves_nothing_behind(make());
    keys_that_extend_each_other_stay_apart(make());
    a_long_random_life_matches_a_model(make());
}

fn put(key: &str, value: &str) -> Op {
    (key.into(), Some(value.into()))
}

fn all(store: &mut dyn Store, prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut visit = |k: &[u8], v: &[u8]| {
        found.push((String::from_utf8_lossy(k).into_owned(), v.to_vec()));
    };
    store.scan(prefix.as_bytes(), &mut visit).unwrap();
    found
}

fn an_empty_store_has_nothing(mut open: Open) {
    let mut store = open();
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(all(&mut *store, ""), []);
    store.commit(&[]).unwrap();
    store.commit(&[(b"a".to_vec(), None)]).unwrap();
    assert_eq!(store.get(b"a").unwrap(), None);
}

fn what_was_committed_is_read_back_after_reopening(mut open: Open) {
    open().commit(&[put("a", "1"), put("b", "2")]).unwrap();
    open().commit(&[put("a", "3"), (b"b".to_vec(), None)]).unwrap();
    let mut store = open();
    assert_eq!(store.get(b"a").unwrap().as_deref(), Some(b"3".as_slice()));
    assert_eq!(store.get(b"b").unwrap(), None);
}

fn the_later_change_of_one_key_wins(mut open: Open) {
    open().commit(&[put("a", "1"), put("a", "2"), put("b", "1"), (b"b".to_vec(), None)]).unwrap();
    assert_eq!(all(&mut *open(), ""), [("a".to_owned(), b"2".to_vec())]);
}

fn scans_see_their_prefix_in_order(mut open: Open) {
    let mut store = open();
    store.commit(&[put("d/b", "2"), put("d/a", "1"), put("u/a", "3"), put("d", "0")]).unwrap();
    let keys: Vec<String> = all(&mut *store, "d/").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["d/a", "d/b"]);
    assert_eq!(all(&mut *store, "").len(), 4);
}

fn values_of_any_size_come_back(mut open: Open) {
    let sizes = [0, 1, 4095, 4096, 4097, 8192, 8193, 300_000];
    let value = |size: usize| -> Vec<u8> { (0..=250).cycle().take(size).collect() };
    let ops: Vec<Op> =
        sizes.iter().map(|size| (size.to_string().into(), Some(value(*size)))).collect();
    open().commit(&ops).unwrap();
    let mut store = open();
    for size in sizes {
        assert_eq!(store.get(size.to_string().as_bytes()).unwrap(), Some(value(size)), "{size}");
    }
    assert_eq!(all(&mut *store, "").len(), sizes.len());
}

fn a_shrinking_value_leaves_nothing_behind(mut open: Open) {
    let mut store = open();
    store.commit(&[(b"a".to_vec(), Some(vec![1; 50_000]))]).unwrap();
    store.commit(&[(b"a".to_vec(), Some(vec![2; 10]))]).unwrap();
    drop(store);
    let mut store = open();
    assert_eq!(store.get(b"a").unwrap(), Some(vec![2; 10]));
    store.commit(&[(b"a".to_vec(), None)]).unwrap();
    drop(store);
    assert_eq!(all(&mut *open(), ""), []);
}

fn keys_that_extend_each_other_stay_apart(mut open: Open) {
    let mut store = open();
    let big = vec![7; 9000];
    store.commit(&[(b"k".to_vec(), Some(big.clone())), put("k\0\0\0\u{1}", "x")]).unwrap();
    store.commit(&[put("k\0", "y")]).unwrap();
    assert_eq!(store.get(b"k").unwrap(), Some(big));
    assert_eq!(all(&mut *store, "k").len(), 3);
}

fn a_long_random_life_matches_a_model(mut open: Open) {
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut state: u64 = 0x9e37_79b9;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) % below
    };
    for _ in 0..12 {
        let mut store = open();
        for _ in 0..8 {
            let mut ops: Vec<Op> = Vec::new();
            for _ in 0..next(6) {
                let key = format!("k{}", next(20)).into_bytes();
                let value = (next(4) > 0).then(|| {
                    let byte = u8::try_from(next(256)).unwrap();
                    vec![byte; usize::try_from(next(10_000)).unwrap()]
                });
                match &value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(&key),
                };
                ops.push((key, value));
            }
            store.commit(&ops).unwrap();
        }
        let mut found = BTreeMap::new();
        store.scan(b"", &mut |k, v| drop(found.insert(k.to_vec(), v.to_vec()))).unwrap();
        assert_eq!(found, model);
    }
}
