//! The ledger without a core around it.

use gnomon_schemas::document::Document;

use super::*;

fn app() -> AppName {
    "shop".parse().unwrap()
}

fn wanted(image: &str, version: u64) -> DesiredApp {
    let text = format!(r#"{{"services": {{"web": {{"image": "{image}"}}}}}}"#);
    DesiredApp::read(Version(version), &Document::parse(text.as_bytes()).unwrap())
}

fn full() -> Vec<Decision> {
    let images = BTreeMap::from([("web:1".to_owned(), "sha256:1".to_owned())]);
    let revision = wanted("web:2", 2).revision().unwrap();
    let bad = Bad { version: Version(2), revision, reason: "it fell".to_owned() };
    vec![
        Decision::Good(Some(Good { app: wanted("web:1", 1), images, is_local: true })),
        Decision::Bad(Some(bad)),
        Decision::Hold(Some(Held { app: wanted("web:1", 1), is_local: true })),
        Decision::Local(Some(Local { base: Some(Version(2)), app: wanted("web:3", 2) })),
        Decision::Runs([("web".parse().unwrap(), Run { at: 7, begun: false })].into()),
    ]
}

fn entries(ops: Vec<Op>) -> Vec<Entry> {
    ops.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

#[test]
fn a_decision_counts_when_it_is_durable_and_comes_back_from_its_row() {
    let mut ledger = Ledger::default();
    for decision in full() {
        ledger.decide(&app(), decision);
    }
    assert_eq!(ledger.get(&app()), NOTHING);
    let rows = entries(ledger.take());
    assert_eq!(rows.len(), 5);
    assert_eq!(ledger.committed().0, [app()].into());
    let mut other = Ledger::default();
    other.load(&rows);
    assert_eq!(other.get(&app()), ledger.get(&app()));
    assert!(other.get(&app()).gave_up(&wanted("web:2", 2)).is_some());
    assert!(other.get(&app()).gave_up(&wanted("web:2", 3)).is_none());
    assert!(other.take().is_empty());
}

#[test]
fn what_is_decided_already_is_not_written_again() {
    let mut ledger = Ledger::default();
    for _ in 0..2 {
        for decision in full() {
            ledger.decide(&app(), decision);
        }
    }
    assert_eq!(ledger.take().len(), 5);
    for decision in full() {
        ledger.decide(&app(), decision);
    }
    ledger.committed();
    for decision in full() {
        ledger.decide(&app(), decision);
    }
    assert!(ledger.take().is_empty());
    ledger.answer_when_durable(Ticket(1), Response::Logs(Vec::new()));
    assert!(ledger.take().is_empty() && ledger.has_answers());
    assert_eq!(ledger.committed().1.len(), 1);
}

#[test]
fn what_the_store_refuses_was_never_decided() {
    let mut ledger = Ledger::default();
    for decision in full() {
        ledger.decide(&app(), decision);
    }
    ledger.answer_when_durable(Ticket(1), Response::Logs(Vec::new()));
    ledger.take();
    ledger.answer_when_durable(Ticket(2), Response::Logs(Vec::new()));
    assert_eq!(ledger.failed(), [Ticket(1), Ticket(2)]);
    assert_eq!(ledger.get(&app()), NOTHING);
    assert!(ledger.take().is_empty());
}

#[test]
fn a_store_that_lost_its_rows_gets_them_again_and_one_that_has_them_is_right() {
    let mut ledger = Ledger::default();
    for decision in full() {
        ledger.decide(&app(), decision);
    }
    let rows = entries(ledger.take());
    ledger.committed();
    ledger.load(&[]);
    assert_eq!(entries(ledger.take()).len(), 5);
    ledger.committed();
    ledger.load(&rows[..1]);
    assert!(ledger.get(&app()).good.is_some() && ledger.get(&app()).bad.is_none());
    assert!(ledger.take().is_empty());
}

#[test]
fn rows_that_cannot_be_read_are_deleted() {
    let mut ledger = Ledger::default();
    let row = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    ledger.load(&[
        row("site/good/shop", "{"),
        row("site/bad/shop", "{}"),
        row("site/hold/shop", r#"{"version": 1, "spec": {"services": {}}}"#),
        row("site/other/shop", "{}"),
        row("site/good/", "{}"),
        row("up/good/shop", "not ours"),
    ]);
    let ops = ledger.take();
    assert!(ops.len() == 5 && ops.iter().all(|(_, value)| value.is_none()));
    assert_eq!(ledger.get(&app()), NOTHING);
}

#[test]
fn a_deleted_app_is_forgotten_and_its_hold_stays() {
    let mut ledger = Ledger::default();
    for decision in full() {
        ledger.decide(&app(), decision);
    }
    ledger.take();
    ledger.committed();
    ledger.forget(&app());
    ledger.take();
    ledger.committed();
    let hold = Some(Held { app: wanted("web:1", 1), is_local: true });
    assert_eq!(ledger.get(&app()), &Record { hold, ..Record::default() });
}
