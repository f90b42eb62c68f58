//! A great many messages wait: memory and the work for each message are those of a few. 200,000
//! against 10,000; with `SYNCLINE_TEST_FULL=1` ten million on PostgreSQL, a million elsewhere.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use syncline::{
    Relay, Route, Stream,
    message::Batch,
    storage::ShardKey,
    transport::{Ack, Outcome, PublishError, Publisher},
};
use syncline_tests::{kit::Kit, on_each, world::World};

on_each!(a_great_many_waiting_messages_cost_no_more_each_than_a_few);

/// What a backlog may hold more in memory than a short one: the cache of pages (16 MiB), a window
/// of batches and what the allocator keeps.
const ROOM: u64 = 64 << 20;

/// Takes everything, and looks how much memory this process has meanwhile.
#[derive(Clone, Default)]
struct Sink {
    batches: Arc<AtomicU64>,
    messages: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
}

#[async_trait]
impl Publisher for Sink {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        self.messages.fetch_add(batch.messages.len() as u64, Ordering::Relaxed);
        if self.batches.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
            self.most.fetch_max(resident(), Ordering::Relaxed);
        }
        Ok(Ack { watermark: batch.through, last: batch.last, outcome: Outcome::Complete })
    }
}

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

mod case {
    use super::*;

    /// Sends what waits by a new relay; returns pages, batches and the most memory.
    async fn send<DB: Kit>(world: &World<DB>, rows: i64, limit: Duration) -> (u64, u64, u64) {
        let sink = Sink::default();
        let head = DB::head(&world.source).await.expect("head").0;
        let began = Instant::now();
        DB::fill(&world.source, rows).await.expect("fill");
        let filled = began.elapsed();
        let began = Instant::now();
        let relay = Relay::builder("/tests", world.source.clone())
            .stream(Stream::new("s").topic("counter.*"))
            .route(Route::new("r", "s", sink.clone()))
            .start()
            .await
            .expect("the relay starts");
        while sink.messages.load(Ordering::Relaxed) < rows as u64 {
            assert!(began.elapsed() < limit, "{} of {rows}", sink.messages.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = began.elapsed();
        let pages = relay.pages_read();
        relay.stop().await;
        let row = DB::shard(&world.source, &ShardKey::new("r", 1, 0)).await.expect("read");
        let at = row.expect("it is there").checkpoint.cursor.position.0;
        assert_eq!(at, head + rows, "all is acknowledged");
        assert_eq!(sink.messages.load(Ordering::Relaxed), rows as u64, "and sent once");
        let (batches, most) =
            (sink.batches.load(Ordering::Relaxed), sink.most.load(Ordering::Relaxed));
        println!(
            "{}: {rows} messages: {pages} pages read, {batches} batches, at most {} MiB; filled in \
             {filled:?}, sent in {took:?}",
            DB::LABEL,
            most >> 20
        );
        (pages, batches, most)
    }

    pub(super) async fn a_great_many_waiting_messages_cost_no_more_each_than_a_few<DB: Kit>(
        world: World<DB>,
    ) {
        let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
        let many = match (full, DB::LABEL) {
            (false, _) => 200_000,
            (true, "PostgreSQL") => 10_000_000,
            (true, _) => 1_000_000,
        };
        let few = 10_000;
        let (pages, batches, memory) = send(&world, few, Duration::from_secs(120)).await;
        let (more_pages, more_batches, more_memory) =
            send(&world, many, Duration::from_secs(3_600)).await;
        // A page and a batch may be cut short where a seal ends or the log ended for a moment.
        let times = (many / few) as u64;
        assert!(more_pages <= (pages + 1) * times, "{more_pages} pages, and {pages} for {few}");
        assert!(more_batches <= (batches + 1) * times, "{more_batches} batches, {batches}");
        assert!(more_memory <= memory + ROOM, "{more_memory} bytes, and {memory} for {few}");
    }
}
