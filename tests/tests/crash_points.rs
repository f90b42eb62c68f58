//! A process that dies exactly between two steps, and the next one: what is sent, how far the
//! checkpoint is, and that everything has one effect.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::{Pool, Transaction};
use syncline::{
    Consumer, Envelope, Handler, HandlerError, Route, Stream, Verdict,
    message::{Batch, Position},
    relay::RelayOptions,
    storage::ShardKey,
    transport::{Ack, Outcome, PublishError, Publisher, Receive},
};
use syncline_tests::{
    kit::Kit,
    on_each,
    relays::{Direct, LEASE, Process, check, eventually, noting, write},
    world::World,
};
use tokio::sync::watch;

on_each!(
    what_was_committed_before_a_crash_is_published_by_the_next_process,
    what_was_published_before_a_crash_is_sent_again_with_one_effect,
    a_checkpoint_covers_only_what_was_acknowledged_without_a_gap,
    a_consumer_that_dies_in_the_middle_of_a_batch_has_applied_none_of_it,
    an_answer_that_was_overtaken_sends_no_route_back,
);

/// How many messages a batch has.
const BATCH: i64 = 5;

fn small(options: &mut RelayOptions) {
    options.batch_messages = BATCH as u32;
    options.window = 4;
}

fn stream() -> Stream {
    Stream::new("s").topic("counter.*")
}

/// What becomes of a batch at the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It arrives and is answered.
    Answered,
    /// It does not arrive, as if the process died before it was sent.
    Kept,
    /// It arrives, and no answer comes back.
    Unanswered,
    /// It comes before the one before it, which waits for its answer.
    Overtakes,
    /// It waits for the answer to one that overtakes it.
    Overtaken,
}

/// Hands batches to a consumer in order, each as the test says by the position it begins with, and
/// notes what was sent.
#[derive(Clone)]
struct Steps {
    target: Direct,
    fate: fn(i64) -> Fate,
    /// The positions of each batch, in order of sending.
    sent: Arc<Mutex<Vec<Vec<i64>>>>,
    /// Where the last batch ended that has arrived.
    arrived: watch::Sender<Position>,
    overtaken: watch::Sender<Option<Ack>>,
}

impl Steps {
    async fn to<DB: Kit>(url: &str, fate: fn(i64) -> Fate) -> Self {
        let pool = DB::connect(url, 8).await.expect("connect");
        Self::consumer(noting("c", pool).build().expect("a consumer"), fate)
    }

    fn consumer(consumer: impl Receive, fate: fn(i64) -> Fate) -> Self {
        let (sent, target) = (Arc::default(), Direct::to(consumer));
        let (arrived, overtaken) = (watch::Sender::new(Position::START), watch::Sender::new(None));
        Self { target, fate, sent, arrived, overtaken }
    }

    fn sent(&self) -> Vec<Vec<i64>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn routes(&self) -> impl Future<Output = Vec<Route>> + Send + use<> {
        let route = Route::new("r", "s", self.clone());
        async move { vec![route] }
    }

    fn process<DB: Kit>(&self, world: &World<DB>) -> Process {
        Process::start_with::<DB, _>(&world.source_url, stream(), self.routes(), small)
    }
}

#[async_trait]
impl Publisher for Steps {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let Some(first) = batch.messages.first() else { return self.target.publish(batch).await };
        let positions = batch.messages.iter().map(|message| message.position.0).collect();
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(positions);
        let fate = (self.fate)(first.position.0);
        match fate {
            Fate::Kept => std::future::pending().await,
            Fate::Overtakes => {
                let ack = self.target.publish(batch).await?;
                self.overtaken.send_modify(|first| *first = first.or(Some(ack)));
                return Ok(ack);
            }
            Fate::Overtaken => {
                drop(self.overtaken.subscribe().wait_for(Option::is_some).await);
            }
            Fate::Answered | Fate::Unanswered => {
                // One that comes too early is refused by the consumer.
                let mut arrived = self.arrived.subscribe();
                let in_turn = arrived.wait_for(|arrived| *arrived >= first.prev.position);
                drop(tokio::time::timeout(Duration::from_secs(2), in_turn).await);
            }
        }
        let ack = self.target.publish(batch).await?;
        self.arrived.send_replace(ack.watermark);
        match fate {
            Fate::Unanswered => std::future::pending().await,
            _ => Ok(ack),
        }
    }
}

async fn checkpoint<DB: Kit>(world: &World<DB>) -> i64 {
    let row = DB::shard(&world.source, &ShardKey::new("r", 1, 0)).await.expect("read");
    row.map_or(0, |row| row.checkpoint.cursor.position.0)
}

async fn applied<DB: Kit>(pool: &Pool<DB>) -> usize {
    DB::applied(pool).await.expect("applied").len()
}

/// The next process sends what the first one left, beginning after its checkpoint, and everything
/// has one effect.
async fn next_process<DB: Kit>(world: &World<DB>, written: i64) -> Vec<Vec<i64>> {
    let from = checkpoint(world).await;
    let next = Steps::to::<DB>(&world.target_url, |_| Fate::Answered).await;
    next.arrived.send_replace(Position(from));
    let process = next.process(world);
    check(&world.source, &world.target, &["c"]).await;
    eventually("the checkpoint follows", async || {
        (checkpoint(world).await == written).then_some(())
    })
    .await;
    let mut sent = next.sent();
    sent.sort_unstable();
    let expected: Vec<i64> = (from + 1..=written).collect();
    assert_eq!(sent.concat(), expected, "all after the checkpoint, once");
    process.kill();
    sent
}

mod case {
    use super::*;

    pub(super) async fn what_was_committed_before_a_crash_is_published_by_the_next_process<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        write(&world.source, 3 * BATCH).await;
        let first = Steps::to::<DB>(&world.target_url, |_| Fate::Kept).await;
        let process = first.process(&world);
        eventually("it is about to publish", async || (!first.sent().is_empty()).then_some(()))
            .await;
        process.kill();
        assert_eq!(applied(&world.target).await, 0, "nothing has arrived");
        assert_eq!(checkpoint(&world).await, 0);
        next_process(&world, 3 * BATCH).await;
    }

    pub(super) async fn what_was_published_before_a_crash_is_sent_again_with_one_effect<DB: Kit>(
        world: World<DB>,
    ) {
        write(&world.source, 3 * BATCH).await;
        let first = Steps::to::<DB>(&world.target_url, |_| Fate::Unanswered).await;
        let process = first.process(&world);
        eventually("the first batch is applied", async || {
            (applied(&world.target).await >= BATCH as usize).then_some(())
        })
        .await;
        // Time for a checkpoint that must not be saved.
        tokio::time::sleep(Duration::from_millis(300)).await;
        process.kill();
        assert_eq!(checkpoint(&world).await, 0, "nothing was acknowledged");
        let sent = next_process(&world, 3 * BATCH).await;
        assert_eq!(sent[0], first.sent()[0], "the same batch again");
    }

    pub(super) async fn a_checkpoint_covers_only_what_was_acknowledged_without_a_gap<DB: Kit>(
        world: World<DB>,
    ) {
        write(&world.source, 6 * BATCH).await;
        // All of the window has arrived; of its four batches the first one is not answered.
        let fate = |first| match first {
            6 => Fate::Unanswered,
            _ => Fate::Answered,
        };
        let first = Steps::to::<DB>(&world.target_url, fate).await;
        let process = first.process(&world);
        eventually("the window has arrived", async || {
            (applied(&world.target).await == 5 * BATCH as usize).then_some(())
        })
        .await;
        eventually("what was acknowledged is saved", async || {
            (checkpoint(&world).await == BATCH).then_some(())
        })
        .await;
        // Time for a checkpoint that must not be saved.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(checkpoint(&world).await, BATCH);
        process.kill();
        assert_eq!(first.sent().len(), 5, "the window holds four");
        assert_eq!(checkpoint(&world).await, BATCH, "only the prefix");
        next_process(&world, 6 * BATCH).await;
    }

    /// Notes what it handles, and stops in the middle of a batch.
    struct Stops(watch::Sender<bool>);

    #[async_trait]
    impl<DB: Kit> Handler<DB> for Stops {
        async fn handle(
            &self,
            tx: &mut Transaction<'_, DB>,
            message: &Envelope,
        ) -> Result<Verdict, HandlerError> {
            let key = format!("c {}", message.key.clone().unwrap_or_default());
            DB::note(tx, &key, message.decode()?).await?;
            if message.position.0 == BATCH - 2 {
                self.0.send_replace(true);
                std::future::pending::<()>().await;
            }
            Ok(Verdict::Done)
        }
    }

    pub(super) async fn a_consumer_that_dies_in_the_middle_of_a_batch_has_applied_none_of_it<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        write(&world.source, 2 * BATCH).await;
        let (stopped, url) = (watch::Sender::new(false), world.target_url.clone());
        let mut stops = stopped.subscribe();
        let routes = async move {
            let pool = DB::connect(&url, 8).await.expect("connect");
            let consumer = Consumer::builder("c", pool).handler("*", Stops(stopped));
            let consumer = consumer.build().expect("a consumer");
            vec![Route::new("r", "s", Steps::consumer(consumer, |_| Fate::Answered))]
        };
        let process = Process::start_with::<DB, _>(&world.source_url, stream(), routes, small);
        stops.wait_for(|stopped| *stopped).await.expect("it gets there");
        process.kill();
        assert_eq!(applied(&world.target).await, 0, "nothing is committed");
        assert_eq!(checkpoint(&world).await, 0);
        next_process(&world, 2 * BATCH).await;
    }

    pub(super) async fn an_answer_that_was_overtaken_sends_no_route_back<DB: Kit>(
        world: World<DB>,
    ) {
        write(&world.source, 4 * BATCH).await;
        // 11.. comes to the consumer before 6.. does, and is told to wait for it.
        let fate = |first| match first {
            6 => Fate::Overtaken,
            11 => Fate::Overtakes,
            _ => Fate::Answered,
        };
        let steps = Steps::to::<DB>(&world.target_url, fate).await;
        let process = steps.process(&world);
        check(&world.source, &world.target, &["c"]).await;
        let ack = (*steps.overtaken.borrow()).expect("one came too early");
        assert_eq!((ack.outcome, ack.watermark), (Outcome::Gap, Position(BATCH)));
        eventually("the checkpoint follows", async || {
            (checkpoint(&world).await == 4 * BATCH).then_some(())
        })
        .await;
        tokio::time::sleep(LEASE / 3).await;
        let sent = steps.sent();
        let times = |position| sent.iter().filter(|batch| batch.contains(&position)).count();
        assert_eq!(times(6), 1, "it was acknowledged, and is not sent again: {sent:?}");
        assert_eq!(times(11), 2, "it was refused once: {sent:?}");
        process.kill();
    }
}
