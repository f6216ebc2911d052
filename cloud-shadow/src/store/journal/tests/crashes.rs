//! A store that is cut short at any step, and a journal that is cut at any byte.

use super::*;
use crate::store::MemoryStore;

/// What was acknowledged, and what is under way.
#[derive(Default)]
struct Model {
    acknowledged: String,
    with_the_next: String,
    steps: Vec<Step>,
}

/// Opens a copy of a folder, which is what a `kill -9` leaves, and says what is in it.
fn after_crash(folder: &Path) -> String {
    let copied = tempfile::tempdir().unwrap();
    copy(folder, copied.path());
    let path = copied.path().join("store.redb");
    let store = JournaledStore::open(&path).unwrap();
    let found = rows(&store);
    store.commit(&[put("after", "1")]).unwrap();
    drop(store);
    let again = rows(&JournaledStore::open(&path).unwrap());
    assert_eq!(again.replace("after=1", "").trim(), found, "it does not go on");
    found
}

#[test]
fn a_kill_at_any_step_leaves_what_was_acknowledged_and_no_half_of_a_commit() {
    let disk = Disk::new();
    let model = Arc::new(Mutex::new(Model::default()));
    let (folder, known) = (disk.dir.path().to_owned(), Arc::clone(&model));
    let watch: Watch = Arc::new(move |step| {
        let mut model = known.lock().unwrap();
        model.steps.push(step);
        let found = after_crash(&folder);
        let is_one = found == model.acknowledged || found == model.with_the_next;
        assert!(is_one, "{step:?}: {found:?} and not {:?}", model.acknowledged);
        Ok(())
    });
    let shared = open::open(&disk.path(), TINY, watch, RedbStore::open).unwrap();
    let store = JournaledStore { shared: Arc::new(shared), flusher: None };
    let truth = MemoryStore::new();
    for n in 0..12 {
        let (key, value) = (format!("k{}", n % 5), format!("{n:060}"));
        let trim = Op::Trim { prefix: b"h/".to_vec(), keep: 2 };
        let ops = [put(&key, &value), put(&format!("h/{n:03}"), "v"), trim];
        truth.commit(&ops).unwrap();
        model.lock().unwrap().with_the_next = rows(&truth);
        store.commit(&ops).unwrap();
        model.lock().unwrap().acknowledged = rows(&truth);
        assert_eq!(after_crash(disk.dir.path()), rows(&truth));
        if n % 5 == 4 {
            store.settle().unwrap();
        }
    }
    let steps = &model.lock().unwrap().steps;
    for step in [Step::Create, Step::Named, Step::Grow, Step::Append, Step::Sync, Step::Synced] {
        assert!(steps.contains(&step), "{step:?} never came");
    }
    for step in [Step::Flush, Step::Part, Step::Flushed, Step::Mark] {
        assert!(steps.contains(&step), "{step:?} never came");
    }
}

#[test]
fn a_journal_that_is_cut_at_any_byte_ends_with_the_last_whole_commit() {
    let disk = Disk::new();
    let store = disk.open_alone(BOUNDS);
    let mut states = Vec::new();
    for n in 0..4 {
        store.commit(&[put(&format!("k{n}"), "value"), put("same", &n.to_string())]).unwrap();
        states.push((store.shared.writer().current.as_ref().unwrap().used(), rows(&store)));
    }
    drop(store);
    let copied = tempfile::tempdir().unwrap();
    copy(disk.dir.path(), copied.path());
    let path = copied.path().join("store.redb");
    let (journal, bytes) = files(&JournaledStore::journal_of(&path)).pop().unwrap();
    let (from, to) = (states[1].0, states[3].0);
    for cut in from..=to {
        let at = usize::try_from(cut).unwrap();
        let mut zeroed = bytes.clone();
        zeroed[at..].fill(0);
        for left in [&bytes[..at], &zeroed[..]] {
            std::fs::write(&journal, left).unwrap();
            let found = rows(&JournaledStore::verify(&path).unwrap());
            let least = states.iter().filter(|(end, _)| *end <= cut).count() - 1;
            // Behind a frame there may be up to seven bytes that mean nothing.
            let most = states.iter().filter(|(end, _)| *end < cut + 8).count() - 1;
            assert!(states[least..=most].iter().any(|(_, rows)| *rows == found), "{cut}: {found}");
        }
    }
}

#[test]
fn a_journal_that_is_changed_at_any_byte_before_its_last_frame_is_damaged_and_stays() {
    let disk = Disk::new();
    let store = disk.open_alone(BOUNDS);
    let mut ends = Vec::new();
    for n in 0..3 {
        store.commit(&[put(&format!("k{n}"), "value")]).unwrap();
        ends.push(store.shared.writer().current.as_ref().unwrap().used());
    }
    let all = rows(&store);
    drop(store);
    let (journal, bytes) = files(&JournaledStore::journal_of(&disk.path())).pop().unwrap();
    for at in 0..usize::try_from(ends[1]).unwrap() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        std::fs::write(&journal, &changed).unwrap();
        match JournaledStore::verify(&disk.path()) {
            Ok(store) => assert_eq!(rows(&store), all, "{at} is one that means nothing"),
            Err(error @ StoreError::Damaged { .. }) => {
                let said = error.to_string();
                assert!(said.contains("store.journal") && said.contains("restore"), "{said}");
            }
            Err(other) => panic!("{at}: {other}"),
        }
        assert_eq!(std::fs::read(&journal).unwrap(), changed);
    }
}
