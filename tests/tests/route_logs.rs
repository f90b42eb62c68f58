//! Log lines of a route that stands still, and of one that goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use syncline::{
    Message, Route, Stream, begin, enqueue,
    incarnation::{Agreed, Rebase},
    message::{Batch, Continues, Origin, Position},
    relay::RouteState,
    storage::RouteRow,
    streams,
    transport::{Ack, Outcome, PublishError, Publisher, Receive},
};
use syncline_tests::{
    kit::Kit,
    letters::numbered,
    logged::Logged,
    on_each,
    relays::{Direct, check, eventually, noting, start, write},
    world::World,
};
use tracing_subscriber::filter::LevelFilter;

on_each!(
    an_outage_its_end_a_pause_and_a_gap_that_stays_are_told_once_each,
    a_new_incarnation_is_an_error_only_where_something_is_lost_by_it,
    a_definition_that_is_not_in_force_is_warned_of_at_start_and_while_the_relay_runs,
);

/// A target that can be away.
struct Away(Direct, Arc<AtomicBool>);

#[async_trait]
impl Publisher for Away {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        if self.1.load(Ordering::SeqCst) {
            let (target, reason) = ("the target".to_owned(), "nobody is there".to_owned());
            return Err(PublishError::Unavailable { target, reason, retry_after: None });
        }
        self.0.publish(batch).await
    }
}

/// A name that only the test of this database has: all of them may log in the same process.
fn own<DB: Kit>(name: &str) -> String {
    format!("{name}-{}", DB::LABEL.to_lowercase().replace('/', "-"))
}

mod case {
    use super::*;

    pub(super) async fn an_outage_its_end_a_pause_and_a_gap_that_stays_are_told_once_each<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let log = Logged::shared(LevelFilter::INFO);
        let [c, r, lagging, staying] = ["c", "r", "lags", "stays"].map(own::<DB>);

        // A consumer that lags is no error: its source goes back by itself.
        let consumer = |name: &str| noting(name, world.target.clone()).build().expect("a consumer");
        let all = numbered(5);
        let early = Batch { messages: all.messages[2..].to_vec(), ..all.clone() };
        let lags = consumer(&lagging);
        let ack = lags.receive(early.clone()).await.expect("an answer");
        assert_eq!((ack.outcome, lags.gaps().len()), (Outcome::Gap, 1));
        let ack = lags.receive(all.clone()).await.expect("an answer");
        assert_eq!((ack.outcome, lags.gaps().len()), (Outcome::Complete, 0));
        assert_eq!(log.lines(&["what was missing has come", &lagging]).len(), 1);
        assert_eq!(log.lines(&["messages are missing", &lagging]), [""; 0]);
        // One that stays open is.
        let stays = consumer(&staying);
        let running = stays.start().await.expect("it starts");
        stays.receive(early).await.expect("an answer");
        assert_eq!(log.lines(&["messages are missing", &staying]), [""; 0]);

        let away = Arc::new(AtomicBool::new(true));
        let publisher = Away(Direct::to(consumer(&c)), Arc::clone(&away));
        let stream = Stream::new("s").topic("in");
        let routes = vec![Route::new(&r, "s", publisher)];
        // A sender that lost its lease for a moment would say it again.
        let lease = Duration::from_secs(60);
        let relay = start(&world.source, stream, routes, |options| options.lease = lease).await;
        let commit = async |n: i64| {
            let mut tx = begin(&world.source).await.expect("begin");
            let message = Message::json("in", &n).expect("JSON").key("key 0");
            enqueue(&mut tx, &message).await.expect("enqueue").committed();
            tx.commit().await.expect("commit");
        };
        commit(1).await;
        eventually("it has failed often", async || match relay.status().remove(0).state {
            RouteState::Backoff { failures: 12.., .. } => Some(()),
            _ => None,
        })
        .await;
        let told = log.lines(&["nobody is there", &r]);
        assert_eq!(told.len(), 1, "{told:#?}");
        assert_eq!(log.lines(&["goes on", &r]), [""; 0]);
        away.store(false, Ordering::SeqCst);
        let goes_on = ["the route goes on", &r];
        let told = eventually("it says that it goes on", async || log.lines(&goes_on).pop()).await;
        assert!(["stood_for_seconds", "tries"].iter().all(|part| told.contains(part)), "{told}");
        let of_route = format!("{c} ");
        let by_route = async |n: usize| {
            let applied = DB::applied(&world.target).await.expect("applied");
            let of = applied.iter().filter(|(key, _)| key.starts_with(&of_route));
            (of.count() == n).then_some(())
        };
        for n in 2..=4 {
            commit(n).await;
            eventually("it is applied", async || by_route(n as usize).await).await;
        }
        assert_eq!(log.lines(&goes_on).len(), 1);

        let paused = syncline::routes::pause_because(&world.source, &r, "ada", "it is moved").await;
        assert!(paused.expect("pause"));
        let told = async || log.lines(&["paused by ada", "it is moved", &r]).pop();
        eventually("the pause is told", told).await;
        syncline::routes::resume(&world.source, &r).await.expect("resume");
        eventually("its end is told", async || log.lines(&["not paused any more", &r]).pop()).await;

        let missing = ["messages are missing", &staying];
        let told = eventually("the gap is told", async || log.lines(&missing).pop()).await;
        assert!(told.contains("ERROR"), "{told}");
        running.stop().await;
        relay.stop().await;
    }

    /// An older version of a stream is told of the new incarnation when it is sent again: at each
    /// rewind, long after.
    pub(super) async fn a_new_incarnation_is_an_error_only_where_something_is_lost_by_it<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let log = Logged::shared(LevelFilter::INFO);
        let [whole, loses] = ["whole", "loses"].map(own::<DB>);
        let (source, target) = (&world.source, &world.target);
        let relay = async |stream: Stream| {
            let consumer = noting(&whole, target.clone()).build().expect("a consumer");
            let routes = vec![Route::new(&whole, "s", Direct::to(consumer))];
            start(source, stream, routes, |_| {}).await
        };
        // All is acknowledged, and only the newer version is open.
        let settled = async |version: i32| {
            eventually("all is acknowledged", async || {
                let head = DB::head(source).await.expect("the head");
                let rows = DB::shards(source).await.expect("shards");
                let open = rows.iter().filter(|row| !row.closed);
                let at_head = |row: &RouteRow| {
                    row.key.version == version && row.checkpoint.cursor.position == head
                };
                (open.count() == 1 && rows.iter().any(at_head)).then_some(())
            })
            .await;
        };
        let older = || Stream::new("s").topic("counter.*");
        let newer = || older().topic("more.*");
        for (version, stream) in [(1, older()), (2, newer())] {
            let relay = relay(stream).await;
            write(source, 12).await;
            check(source, target, &[&whole]).await;
            settled(version).await;
            relay.stop().await;
        }
        Rebase::new(Agreed::Head).run(source).await.expect("a new incarnation");
        let relay = relay(newer()).await;
        write(source, 12).await;
        check(source, target, &[&whole]).await;
        for _ in 0..2 {
            settled(2).await;
            let back = syncline::routes::rewind(source, &whole, Position::START).await;
            assert!(back.expect("a rewind"));
        }
        settled(2).await;
        let told = log.lines(&["it has all that was applied here", &whole, "version=1 "]);
        assert_eq!(told.len(), 1, "the older version follows once: {told:#?}");
        let wrong = log.lines(&["ERROR", &whole]);
        assert!(wrong.is_empty(), "{wrong:#?}");
        relay.stop().await;

        // One that has applied what the source lost says so.
        let consumer = noting(&loses, target.clone()).build().expect("a consumer");
        let all = numbered(5);
        consumer.receive(all.clone()).await.expect("an answer");
        let (former, last) = (all.origin.incarnation, all.messages[2].link());
        let origin = Arc::new(Origin {
            incarnation: uuid::Uuid::from_u128(8),
            ..Origin::clone(&all.origin)
        });
        let agreed = last.position;
        let continues = Some(Arc::new(Continues { former, agreed, last }));
        let new = Batch { origin, messages: Vec::new(), through: agreed, last, continues, ..all };
        let ack = consumer.receive(new).await.expect("an answer");
        assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, agreed));
        let told = log.lines(&["ERROR", &loses, "lost=2"]);
        assert_eq!(told.len(), 1, "{told:#?}");
    }

    pub(super) async fn a_definition_that_is_not_in_force_is_warned_of_at_start_and_while_the_relay_runs<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let log = Logged::shared(LevelFilter::INFO);
        let [route, stream] = ["via", "defined"].map(own::<DB>);
        let (source, target) = (&world.source, &world.target);
        let relay = async |stream: Stream| {
            let consumer = noting(&route, target.clone()).build().expect("a consumer");
            let routes = vec![Route::new(&route, stream.name(), Direct::to(consumer))];
            start(source, stream, routes, |_| {}).await
        };
        let older = || Stream::new(&stream).topic("counter.*");
        let newer = || older().topic("more.*");
        let at_start =
            |why: &str| log.lines(&["WARN", "not carried as it is declared", &stream, why]);
        let running = async |what: &str| {
            let lines = || log.lines(&["WARN", what, &route]);
            eventually(what, async || (!lines().is_empty()).then_some(())).await;
            assert_eq!(lines().len(), 1, "{:#?}", lines());
        };

        let first = relay(older()).await;
        write(source, 4).await;
        check(source, target, &[&route]).await;
        assert!(at_start("").is_empty(), "it is in force");
        relay(newer()).await.stop().await;
        running("the route is not carried here: version 2").await;
        first.stop().await;
        let late = relay(older()).await;
        assert_eq!(at_start("version 2 of it is in force").len(), 1);
        late.stop().await;

        let in_force = relay(newer()).await;
        write(source, 4).await;
        check(source, target, &[&route]).await;
        assert_eq!(at_start("").len(), 1, "this one is in force");
        let closed = streams::close(source, &stream).await.expect("close").expect("a stream");
        running(&format!("the stream was closed at position {}", closed.position)).await;
        in_force.stop().await;
        relay(newer()).await.stop().await;
        assert_eq!(at_start("it was closed at position").len(), 1);
    }
}
