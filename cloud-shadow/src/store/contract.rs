//! What every store must do; each backend runs the same cases.

use super::{Op, Store};

type Case = fn(&mut dyn FnMut() -> Box<dyn Store>);

/// Runs every case. `open` opens the same store again: what an earlier handle was told is durable
/// must be there.
pub(super) fn keeps_it(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let cases: [(&str, Case); 9] = [
        ("an empty store has nothing", empty),
        ("a commit is read back, also by a later handle", read_back),
        ("changes happen in their order", order),
        ("a prefix takes exactly its rows", prefix),
        ("the highest prefix has no end", highest_prefix),
        ("an empty commit is fine", nothing),
        ("a trim leaves the last rows of its prefix", trim),
        ("a copy shows one moment, all of it or as much as is wanted", copy),
        ("pages follow on each other without gap or overlap", pages),
    ];
    for (name, case) in cases {
        open().commit(&[Op::DeletePrefix { prefix: Vec::new() }]).expect(name);
        case(open);
    }
}

fn empty(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    assert_eq!(store.get(b"a").unwrap(), None);
    assert_eq!(store.scan(b"").unwrap(), vec![]);
    store.commit(&[delete("a"), Op::DeletePrefix { prefix: b"a".to_vec() }]).unwrap();
}

fn read_back(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    store.commit(&[put("b", "2"), put("a", "1"), put("empty", "")]).unwrap();
    let rows = [("a", "1"), ("b", "2"), ("empty", "")].map(pair);
    assert_eq!(store.scan(b"").unwrap(), rows);
    drop(store);
    let store = open();
    assert_eq!(store.scan(b"").unwrap(), rows);
    assert_eq!(store.get(b"empty").unwrap(), Some(Vec::new()));
    store.commit(&[delete("a")]).unwrap();
    drop(store);
    assert_eq!(open().get(b"a").unwrap(), None);
}

fn order(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    let prefix = || Op::DeletePrefix { prefix: b"x/".to_vec() };
    store.commit(&[put("x/1", "old"), prefix(), put("x/2", "new"), put("k", "1")]).unwrap();
    store.commit(&[delete("k"), put("k", "2"), put("k", "3")]).unwrap();
    assert_eq!(store.scan(b"").unwrap(), [("k", "3"), ("x/2", "new")].map(pair));
}

fn prefix(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    store
        .commit(&["n/a", "n/a/", "n/a/1", "n/a/2", "n/a0", "n/b/1"].map(|key| put(key, "")))
        .unwrap();
    assert_eq!(store.scan(b"n/a/").unwrap(), ["n/a/", "n/a/1", "n/a/2"].map(|key| pair((key, ""))));
    store.commit(&[Op::DeletePrefix { prefix: b"n/a/".to_vec() }]).unwrap();
    assert_eq!(store.scan(b"").unwrap(), ["n/a", "n/a0", "n/b/1"].map(|key| pair((key, ""))));
}

fn highest_prefix(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    let key = vec![0xff, 0xff, 1];
    store.commit(&[Op::Put { key: key.clone(), value: vec![0] }, put("a", "")]).unwrap();
    assert_eq!(store.scan(&[0xff]).unwrap(), vec![(key, vec![0])]);
    store.commit(&[Op::DeletePrefix { prefix: vec![0xff] }]).unwrap();
    assert_eq!(store.scan(b"").unwrap(), vec![pair(("a", ""))]);
}

fn nothing(open: &mut dyn FnMut() -> Box<dyn Store>) {
    open().commit(&[]).unwrap();
    assert_eq!(open().scan(b"").unwrap(), vec![]);
}

fn copy(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    let mut rows = Vec::new();
    store.export(&mut |_, _| panic!("an empty store has rows")).unwrap();
    store.commit(&["a", "b", "c"].map(|key| put(key, "1"))).unwrap();
    let mut first = true;
    store
        .export(&mut |key, value| {
            if std::mem::take(&mut first) {
                store.commit(&[put("b", "2"), put("d", "2"), delete("c")]).unwrap();
            }
            rows.push((key.to_vec(), value.to_vec()));
            true
        })
        .unwrap();
    assert_eq!(rows, ["a", "b", "c"].map(|key| pair((key, "1"))));
    let mut seen = 0;
    store
        .export(&mut |_, _| {
            seen += 1;
            seen < 2
        })
        .unwrap();
    assert_eq!(seen, 2);
}

fn trim(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    store.commit(&["a", "t/1", "t/2", "t/3", "u"].map(|key| put(key, ""))).unwrap();
    let trim = |keep| Op::Trim { prefix: b"t/".to_vec(), keep };
    store.commit(&[put("t/4", ""), trim(2)]).unwrap();
    assert_eq!(store.scan(b"").unwrap(), ["a", "t/3", "t/4", "u"].map(|key| pair((key, ""))));
    store.commit(&[trim(2)]).unwrap();
    assert_eq!(store.scan(b"t/").unwrap().len(), 2);
    store.commit(&[trim(0)]).unwrap();
    assert_eq!(store.scan(b"").unwrap(), ["a", "u"].map(|key| pair((key, ""))));
}

fn pages(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    store.commit(&["a", "p/1", "p/2", "p/3", "q"].map(|key| put(key, ""))).unwrap();
    let page = |after: Option<&str>, limit| {
        let rows = store.page(b"p/", after.map(str::as_bytes), limit).unwrap();
        rows.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2), ["p/1", "p/2"]);
    assert_eq!(page(Some("p/2"), 2), ["p/3"]);
    assert_eq!(page(Some("p/25"), 2), ["p/3"]);
    assert_eq!(page(Some("a"), 9), ["p/1", "p/2", "p/3"]);
    for end in ["p/3", "p0", "q", "z"] {
        assert_eq!(page(Some(end), 2), [""; 0], "after {end}");
    }
    assert_eq!(page(None, 0), [""; 0]);
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}

fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

fn pair((key, value): (&str, &str)) -> (Vec<u8>, Vec<u8>) {
    (key.into(), value.into())
}
