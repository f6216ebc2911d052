//! The ladder with scripted attempts instead of an engine.

use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path().join("store"));
    fs::create_dir_all(place.engine()).unwrap();
    fs::write(place.engine().join("db"), "old").unwrap();
    (dir, place)
}

fn is_old(engine: &Path) -> bool {
    engine.join("db").exists()
}

fn aside(place: &Place) -> usize {
    entries(place.root(), "bad-").unwrap().len()
}

#[test]
fn a_torn_snapshot_is_removed_before_the_first_attempt() {
    let (_dir, place) = place();
    fs::write(place.engine().join("snap.0001.generating"), "x").unwrap();
    fs::write(place.engine().join("snap.0001"), "x").unwrap();
    open(&place, |engine| {
        assert!(!engine.join("snap.0001.generating").exists());
        assert!(engine.join("snap.0001").exists());
        Ok(())
    })
    .unwrap();
    assert!(!place.opening().exists());
    assert_eq!(aside(&place), 0);
}

#[test]
fn corruption_is_tried_once_more_without_snapshots_and_then_quarantined() {
    let (_dir, place) = place();
    fs::write(place.engine().join("snap.0001"), "x").unwrap();
    let mut seen = Vec::new();
    open(&place, |engine| {
        seen.push((is_old(engine), engine.join("snap.0001").exists()));
        if is_old(engine) { Err(Attempt::Corrupt("bad".to_owned())) } else { Ok(()) }
    })
    .unwrap();
    assert_eq!(seen, [(true, true), (true, false), (false, false)]);
    assert_eq!(aside(&place), 1);
}

#[test]
fn damage_is_never_opened_twice() {
    let (_dir, place) = place();
    let mut old = 0;
    open(&place, |engine| {
        old += usize::from(is_old(engine));
        if is_old(engine) { Err(Attempt::Damaged("panic".to_owned())) } else { Ok(()) }
    })
    .unwrap();
    assert_eq!((old, aside(&place)), (1, 1));
    assert!(!place.poisoned().exists());
}

#[test]
fn a_start_after_a_marker_goes_straight_to_a_fresh_store() {
    let (_dir, place) = place();
    touch(&place.poisoned()).unwrap();
    open(&place, |engine| if is_old(engine) { Err(Attempt::Full) } else { Ok(()) }).unwrap();
    assert_eq!(aside(&place), 1);
    assert!(!place.poisoned().exists());
}

#[test]
fn three_starts_that_died_while_opening_are_enough() {
    let (_dir, place) = place();
    for _ in 0..OPENINGS {
        mark_opening(&place).unwrap();
    }
    open(&place, |engine| if is_old(engine) { Err(Attempt::Full) } else { Ok(()) }).unwrap();
    assert_eq!(aside(&place), 1);
}

#[test]
fn a_full_disk_costs_the_ballast_first_and_never_the_store() {
    let (_dir, place) = place();
    write_ballast(&place.ballast(), 10).unwrap();
    let mut attempts = 0;
    let result = open(&place, |_| -> Result<(), Attempt> {
        attempts += 1;
        Err(Attempt::Full)
    });
    assert!(result.unwrap_err().is_full());
    assert_eq!((attempts, aside(&place)), (2, 0));
    assert!(!place.ballast().exists());
    assert!(!place.opening().exists(), "a full disk must not count as a death while opening");
}

#[test]
fn a_refusal_of_the_system_never_costs_the_store() {
    let (_dir, place) = place();
    for _ in 0..5 {
        let denied = || Attempt::Io(io::Error::from(io::ErrorKind::PermissionDenied));
        let result = open(&place, |_| -> Result<(), Attempt> { Err(denied()) });
        assert!(matches!(result, Err(StoreError::Io { .. })));
    }
    assert_eq!(aside(&place), 0);
}

#[test]
fn only_the_newest_quarantined_store_is_kept() {
    let (_dir, place) = place();
    fs::create_dir_all(place.root().join("bad-1")).unwrap();
    quarantine(&place, "test").unwrap();
    assert_eq!(aside(&place), 1);
    assert!(!place.root().join("bad-1").exists());
}

#[test]
fn the_ballast_comes_back_only_when_there_is_ample_space() {
    let (_dir, place) = place();
    place.refill_ballast(1000, 2500, 1000);
    assert!(!place.ballast().exists());
    place.refill_ballast(100_000, 300_000, 1000);
    assert_eq!(fs::metadata(place.ballast()).unwrap().len(), 100_000);
}
