//! Log lines of a route that stands still, and of one that goes on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use syncline::{
    Message, Route, Stream, begin, enqueue,
    message::Batch,
    relay::RouteState,
    transport::{Ack, Outcome, PublishError, Publisher, Receive},
};
use syncline_tests::{
    Sqlite,
    kit::Kit,
    letters::numbered,
    logged::Logged,
    relays::{Direct, eventually, noting, start},
    servers::sqlite_database,
    world::World,
};
use tracing_subscriber::filter::LevelFilter;

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

// The only test of its program, since it sets the program's subscriber. What is logged is the same on
// every database.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_its_end_a_pause_and_a_gap_that_stays_are_told_once_each() {
    let log = Logged::start(LevelFilter::INFO);
    let lines = |parts: &[&str]| {
        let text = log.text();
        let has = |line: &&str| parts.iter().all(|part| line.contains(part));
        text.lines().filter(has).map(str::to_owned).collect::<Vec<_>>()
    };
    let ((_one, a), (_two, b)) = (sqlite_database(), sqlite_database());
    let world = World::<Sqlite>::new(a, b).await;

    // A consumer that lags is no error: its source goes back by itself.
    let consumer = |name: &str| noting(name, world.target.clone()).build().expect("a consumer");
    let all = numbered(5);
    let early = Batch { messages: all.messages[2..].to_vec(), ..all.clone() };
    let lags = consumer("lags");
    let ack = lags.receive(early.clone()).await.expect("an answer");
    assert_eq!((ack.outcome, lags.gaps().len()), (Outcome::Gap, 1));
    let ack = lags.receive(all.clone()).await.expect("an answer");
    assert_eq!((ack.outcome, lags.gaps().len()), (Outcome::Complete, 0));
    assert_eq!(lines(&["what was missing has come", "lags"]).len(), 1);
    assert_eq!(lines(&["messages are missing"]), [""; 0]);
    // One that stays open is.
    let stays = consumer("stays");
    let running = stays.start().await.expect("it starts");
    stays.receive(early).await.expect("an answer");
    assert_eq!(lines(&["messages are missing"]), [""; 0]);

    let away = Arc::new(AtomicBool::new(true));
    let publisher = Away(Direct::to(consumer("c")), Arc::clone(&away));
    let stream = Stream::new("s").topic("in");
    let routes = vec![Route::new("r", "s", publisher)];
    let relay = start(&world.source, stream, routes, |_| {}).await;
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
    let told = lines(&["nobody is there"]);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(lines(&["goes on"]), [""; 0]);
    away.store(false, Ordering::SeqCst);
    let told = eventually("it says that it goes on", async || lines(&["the route goes on"]).pop());
    let told = told.await;
    assert!(["stood_for_seconds", "tries"].iter().all(|part| told.contains(part)), "{told}");
    let applied = async || Sqlite::applied(&world.target).await.expect("applied");
    let by_route = async |n: usize| {
        let of = |(key, _): &&(String, i64)| key.starts_with("c ");
        (applied().await.iter().filter(of).count() == n).then_some(())
    };
    for n in 2..=4 {
        commit(n).await;
        eventually("it is applied", async || by_route(n as usize).await).await;
    }
    assert_eq!(lines(&["the route goes on"]).len(), 1);

    syncline::routes::pause_because(&world.source, "r", "ada", "it is moved").await.expect("pause");
    eventually("the pause is told", async || lines(&["paused by ada", "it is moved"]).pop()).await;
    syncline::routes::resume(&world.source, "r").await.expect("resume");
    eventually("its end is told", async || lines(&["not paused any more"]).pop()).await;

    let told = eventually("the gap is told", async || lines(&["messages are missing"]).pop()).await;
    assert!(told.contains("ERROR") && told.contains("stays"), "{told}");
    running.stop().await;
    relay.stop().await;
}
