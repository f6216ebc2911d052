//! What only a store in a file can do wrong.

use super::*;
use crate::store::contract;

#[test]
fn redb_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    contract::keeps_it(&mut || Box::new(RedbStore::open(&path).unwrap()));
}

#[test]
fn a_second_opening_is_refused_as_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let _first = RedbStore::open(&path).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::InUse { .. })));
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_file() {
    let path = Path::new("/nonexistent/store.redb");
    let error = RedbStore::open(path).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("/nonexistent/store.redb"));
}

#[test]
fn a_file_that_is_no_store_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    std::fs::write(&path, b"not a store at all").unwrap();
    let error = RedbStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_truncated_store_is_never_read_as_a_smaller_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let rows: Vec<Op> = (0..500_u32)
        .map(|n| Op::Put { key: n.to_be_bytes().to_vec(), value: vec![7; 2000] })
        .collect();
    RedbStore::open(&path).unwrap().commit(&rows).unwrap();
    let len = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(len / 2).unwrap();
    drop(file);
    let read = RedbStore::open(&path).and_then(|store| store.scan(b""));
    assert!(read.is_err(), "{} rows were read", read.unwrap().len());
}

#[test]
fn a_file_that_was_removed_takes_nothing_more_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let put = |value: u8| [Op::Put { key: b"a".to_vec(), value: vec![value] }];
    store.commit(&put(1)).unwrap();
    let aside = dir.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    assert!(matches!(store.commit(&put(2)), Err(StoreError::Gone { .. })));
    assert_eq!(store.get(b"a").unwrap(), Some(vec![1]));
    std::fs::rename(&aside, &path).unwrap();
    store.commit(&put(3)).unwrap();
    assert_eq!(store.get(b"a").unwrap(), Some(vec![3]));
}
