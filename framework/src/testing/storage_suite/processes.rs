//! The processes that run on a database.

use std::time::Duration;

use sqlx::Pool;
use uuid::Uuid;

use super::support::{Direct, LEASE, batch, commit, eventually, message, sealer, whole_log};
use crate::{
    Consumer, Relay, Route, Storage, Stream, Verdict, begin, handler_fn,
    processes::{self, Kind, Process},
    saga::{Outcome, SagaBuilder, Sagas},
    storage::{HeldReason, Holding, ProcessReport},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn report(id: u128, kind: &'static str, name: &'static str) -> ProcessReport<'static> {
    ProcessReport {
        id: Uuid::from_u128(id),
        kind,
        name,
        host: "web-1",
        pid: 4_711,
        program: "demo 1.0 \u{e9}\u{1f511}",
        defined: r#"{"topics":["a.*"]}"#,
        problems: "[]",
    }
}

pub(super) async fn a_process_is_known_from_its_report_until_it_is_removed_or_forgotten<
    DB: Storage,
>(
    pool: Pool<DB>,
) {
    for (id, kind, name) in [(3, "relay", "/s"), (2, "consumer", "b"), (1, "consumer", "a")] {
        DB::report_process(&pool, report(id, kind, name)).await.expect("report");
    }
    let listed = async || processes::list(&pool).await.expect("list");
    let ids = |all: &[Process]| all.iter().map(|one| one.id.as_u128()).collect::<Vec<_>>();
    let first = listed().await;
    assert_eq!(ids(&first), [1, 2, 3], "in order of kind and name");
    let one = &first[0];
    assert_eq!((one.kind, one.name.as_str(), one.pid), (Kind::Consumer, "a", 4_711));
    assert_eq!((one.host.as_str(), one.program.as_str()), ("web-1", "demo 1.0 \u{e9}\u{1f511}"));
    assert_eq!(one.defined.topics, ["a.*"]);
    assert!(one.is_alive() && one.problems.is_empty());

    // A later report tells how it is now; who it is stays.
    let problems = r#"["it is \"slow\"\n"]"#;
    let again = ProcessReport { name: "other", problems, ..report(1, "consumer", "a") };
    DB::report_process(&pool, again).await.expect("report");
    let second = listed().await;
    assert_eq!(
        (&second[0].name, &second[0].problems[..]),
        (&one.name, &["it is \"slow\"\n".to_owned()][..])
    );
    assert_eq!(second[0].started_at, one.started_at);
    eventually("each report is a time at which it was seen", async || {
        DB::report_process(&pool, report(1, "consumer", "a")).await.expect("report");
        (listed().await[0].seen_at > one.seen_at).then_some(())
    })
    .await;

    DB::remove_process(&pool, Uuid::from_u128(2)).await.expect("remove");
    DB::remove_process(&pool, Uuid::from_u128(2)).await.expect("a second time changes nothing");
    assert_eq!(DB::forget_processes(&pool, HOUR).await.expect("forget"), 0);
    assert_eq!(ids(&listed().await), [1, 3]);
    let forgotten = async || {
        let gone = DB::forget_processes(&pool, Duration::ZERO).await.expect("forget");
        (gone > 0).then_some(())
    };
    eventually("who was not seen for longer is forgotten", forgotten).await;
    assert!(listed().await.is_empty());
    // One that runs all the same is there again with its next report.
    DB::report_process(&pool, report(3, "relay", "/s")).await.expect("report");
    assert_eq!(ids(&listed().await), [3]);
}

pub(super) async fn leases_are_listed_as_long_as_they_hold<DB: Storage>(pool: Pool<DB>) {
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let lease = DB::acquire(&pool, "route/b", one, LEASE).await.expect("ask").expect("a lease");
    DB::acquire(&pool, "route/a", two, LEASE).await.expect("ask").expect("a lease");
    let listed = async || processes::leases(&pool).await.expect("the leases");
    let all = listed().await;
    let names: Vec<_> = all.iter().map(|lease| (lease.name.as_str(), lease.holder)).collect();
    assert_eq!(names, [("route/a", two), ("route/b", one)]);
    assert!(all.iter().all(|lease| lease.left <= LEASE && lease.left > Duration::ZERO), "{all:?}");
    assert_eq!(all[1].epoch, lease.epoch);
    DB::release(&pool, &lease).await.expect("release");
    assert_eq!(listed().await.len(), 1);
}

pub(super) async fn who_runs_tells_of_itself_and_is_gone_when_it_has_stopped<DB: Storage>(
    pool: Pool<DB>,
) {
    let target = Consumer::builder("c", pool.clone())
        .handler("b.*", handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) })))
        .ignore("a")
        .build()
        .expect("a consumer");
    let consuming = target.start().await.expect("start");
    let relay = Relay::builder("/suite", pool.clone())
        .stream(Stream::new("s").topic("b.*"))
        .route(Route::new("r", "s", Direct(target.clone())))
        .start()
        .await
        .expect("start");
    let mut saga = SagaBuilder::<DB, i64>::new("order", 1);
    let pay = saga.local::<_, i64, _>("pay", (), |_, _| Box::pin(async { Ok(Outcome::Done(1)) }));
    pay.pivot().add();
    let saga = saga.build().expect("a sound definition");
    let sagas = Sagas::builder("/suite", pool.clone()).saga(saga).build().expect("an engine");
    let engine = sagas.run().await.expect("run");

    let all = eventually("all three are seen", async || {
        let all = processes::list(&pool).await.expect("list");
        (all.len() == 3).then_some(all)
    })
    .await;
    let kinds: Vec<_> = all.iter().map(|one| (one.kind, one.name.as_str())).collect();
    let expected = [(Kind::Consumer, "c"), (Kind::Engine, "/suite"), (Kind::Relay, "/suite")];
    assert_eq!(kinds, expected);
    assert!(all.iter().all(|one| one.is_alive() && one.pid == i64::from(std::process::id())));
    assert_eq!(all[0].defined.topics, ["a (ignored)", "b.*"]);
    assert_eq!(all[1].defined.sagas, ["order/1"]);
    let stream = &all[2].defined.streams[0];
    assert_eq!((stream.name.as_str(), stream.version, stream.in_force), ("s", 1, 1));
    assert!(!stream.is_outdated());
    assert_eq!(all[2].defined.routes, ["r"]);
    eventually("the relay's leases are under its id", async || {
        let leases = processes::leases(&pool).await.expect("the leases");
        leases.iter().any(|l| l.name == "route/r" && l.holder == all[2].id).then_some(())
    })
    .await;

    relay.stop().await;
    consuming.stop().await;
    engine.stop().await;
    let left = processes::list(&pool).await.expect("list");
    assert!(left.is_empty(), "who has stopped in order is gone at once: {left:?}");
}

pub(super) async fn consumers_of_one_name_with_other_topics_are_found<DB: Storage>(pool: Pool<DB>) {
    let build = |topic: &str| {
        let nothing = handler_fn(|_, _| Box::pin(async { Ok(Verdict::Done) }));
        Consumer::builder("c", pool.clone()).handler(topic, nothing).build().expect("a consumer")
    };
    let (one, other, same) = (build("a"), build("b"), build("a"));
    let mut running = Vec::new();
    for consumer in [one, other, same] {
        running.push(consumer.start().await.expect("start"));
    }
    let found = eventually("all are seen", async || {
        let all = processes::list(&pool).await.expect("list");
        (all.len() == 3).then(|| processes::differing(&all))
    })
    .await;
    assert_eq!(found.len(), 1, "of three that run two differ in their topics: {found:?}");
    let (mut topics, text) = (found[0].topics.clone(), found[0].to_string());
    if topics.0 == ["b"] {
        std::mem::swap(&mut topics.0, &mut topics.1);
    }
    assert_eq!(topics, (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert!(!found[0].lasts(), "it has only just begun: {text}");
    let pid = format!("pid {}", std::process::id());
    assert_eq!(text.matches(&pid).count(), 2, "it names both: {text}");
    for consumer in running {
        assert_eq!(consumer.problems(), Vec::<String>::new(), "no alarm yet");
        consumer.stop().await;
    }
}

pub(super) async fn what_is_held_is_counted_for_each_consumer<DB: Storage>(pool: Pool<DB>) {
    assert!(DB::held_counts(&pool).await.expect("count").is_empty());
    let lease = sealer(&pool).await;
    commit(&pool, &[message("in", "k", 1), message("in", "l", 2), message("in", "m", 3)]).await;
    let rows = whole_log(&pool, &lease).await;
    let all = batch(rows, Uuid::from_u128(7));
    let ways = [
        ("a", HeldReason::Failed, true),
        ("a", HeldReason::Behind, false),
        ("b", HeldReason::Unknown, false),
    ];
    let mut tx = begin(&pool).await.expect("begin");
    for ((consumer, reason, dead), message) in ways.into_iter().zip(&all.messages) {
        let holding = Holding { reason, error: None, dead };
        let key = message.key.clone().expect("a key");
        DB::park(&mut tx, consumer, "/suite", &key, None).await.expect("park");
        DB::hold(&mut tx, consumer, &key, message, holding).await.expect("hold");
    }
    tx.commit().await.expect("commit");
    let counts = DB::held_counts(&pool).await.expect("count");
    let counts: Vec<_> =
        counts.iter().map(|one| (one.consumer.as_str(), one.held, one.dead, one.unknown)).collect();
    assert_eq!(counts, [("a", 2, 1, 0), ("b", 1, 0, 1)]);
}
