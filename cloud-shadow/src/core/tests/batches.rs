//! Many commands at once: each is answered for itself, and all share what becomes of the commit.

use super::*;

fn unknown() -> Command {
    Command { node: "nobody".parse().unwrap(), ..command(put("{}")) }
}

/// The versions of `desired`, or the codes of the refusals.
fn told(results: Vec<Result<Answer, Refusal>>) -> Vec<String> {
    let one = |result| match result {
        Ok(Answer::Shadow(view, _)) => view.desired_version().to_string(),
        Ok(other) => format!("{other:?}"),
        Err(refusal) => Refusal::code(&refusal).to_owned(),
    };
    results.into_iter().map(one).collect()
}

#[tokio::test]
async fn each_command_of_many_is_answered_in_its_place_whoever_else_asks() {
    let bench = Bench::with_node().await;
    let handle = bench.core.handle();
    let many = |n: usize| {
        let texts = [format!("{{\"n\":{n}}}"), format!("{{\"n\":{n},\"again\":true}}")];
        let mut commands: Vec<_> = texts.iter().map(|text| command(put(text))).collect();
        commands.insert(1, unknown());
        commands
    };
    let (first, second, alone) = tokio::join!(
        handle.execute_all(many(1)),
        handle.execute_all(many(2)),
        bench.put("{\"alone\":1}"),
    );
    assert_eq!(told(first.unwrap()), ["1", "unknown_node", "2"]);
    assert_eq!(told(second.unwrap()), ["3", "unknown_node", "4"]);
    assert_eq!(alone.unwrap(), Version(5));
    assert_eq!(handle.execute_all(Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn more_than_a_round_takes_are_answered_one_round_after_the_other() {
    let bench = Bench::with_node().await;
    let handle = bench.core.handle();
    let many = |from: usize| {
        let each = |n| command(put(&format!("{{\"n\":{n}}}")));
        (from..from + ROUND - 1).map(each).collect::<Vec<_>>()
    };
    let (first, second) =
        tokio::join!(handle.execute_all(many(0)), handle.execute_all(many(ROUND)));
    let expected =
        |from: usize| (from..from + ROUND - 1).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(told(first.unwrap()), expected(1));
    assert_eq!(told(second.unwrap()), expected(ROUND));
}

#[tokio::test]
async fn a_commit_that_fails_refuses_all_of_many_that_it_was_to_bring() {
    let bench = Bench::with_node().await;
    let handle = bench.core.handle();
    bench.put("{\"a\":1}").await.unwrap();
    bench.store.fail(Some(ErrorKind::StorageFull));
    let commands = vec![command(put("{\"a\":2}")), unknown(), command(put("{\"a\":3}"))];
    let refused = handle.execute_all(commands).await.unwrap();
    assert_eq!(told(refused), ["store_full", "unknown_node", "store_full"]);
    assert_eq!(bench.desired().await.unwrap(), "{\"a\":1}");
    bench.store.fail_reads(true);
    let refused = handle.execute_all(vec![command(put("{\"a\":2}"))]).await.unwrap();
    assert_eq!(told(refused), ["store_full"]);
    let refused = handle.execute_all(vec![command(put("{\"a\":2}")), unknown()]).await.unwrap();
    assert_eq!(told(refused), ["store_failed", "store_failed"]);
    bench.store.fail_reads(false);
    bench.store.fail(None);
    assert_eq!(bench.put("{\"a\":4}").await.unwrap(), Version(2));
    bench.core.stop().await;
    assert_eq!(handle.execute_all(vec![unknown()]).await, Err(Refusal::Stopping));
}
