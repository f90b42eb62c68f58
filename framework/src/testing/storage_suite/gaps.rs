//! Messages that come before the ones they follow, or not at all.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use sqlx::Pool;
use uuid::Uuid;

use super::{
    support::{Behaviour, batch, commit, effects, eventually, message, sealer, tail, whole_log},
    way::{consumer, effect, receive, sent},
};
use crate::{
    Consumer, Envelope, OnGap, Storage,
    message::{Batch, Link, Origin, Position},
    transport::{FetchMissing, Outcome},
};

const NUMBERS: [(&str, i64); 6] = [("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5), ("a", 6)];

fn all_effects() -> Vec<(String, i64)> {
    NUMBERS.iter().map(|(key, n)| effect(key, *n)).collect()
}

/// The messages `from..to` as a batch of their own.
pub(super) fn cut(all: &Batch, from: usize, to: usize) -> Batch {
    let messages = all.messages[from..to].to_vec();
    let last = messages.last().map_or(Link::START, |last| last.link());
    Batch { messages, through: last.position, last, ..all.clone() }
}

async fn nothing_ahead<DB: Storage>(pool: &Pool<DB>, consumer: &Consumer<DB>) {
    let gone = async || {
        let ahead = DB::ahead(pool, None).await.expect("ahead");
        (ahead.is_empty() && consumer.gaps().is_empty()).then_some(())
    };
    eventually("nothing waits and no gap is known", gone).await;
}

pub(super) async fn early_messages_are_held_and_applied_in_order<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).hold_early(100, 1 << 20);
    let consumer = consumer.build().expect("a consumer");
    let all = sent(&pool, &lease, &NUMBERS).await;
    // The second and the third of three batches, the third one twice.
    for early in [cut(&all, 4, 6), cut(&all, 2, 4), cut(&all, 4, 6)] {
        let ack = receive(&consumer, &early).await;
        assert_eq!((ack.outcome, ack.watermark), (Outcome::Complete, Position::START));
    }
    let gaps = consumer.gaps();
    assert_eq!((gaps.len(), gaps[0].held, gaps[0].applied), (1, 4, Link::START));
    assert_eq!(gaps[0].origin, *all.origin);
    let ahead = DB::ahead(&pool, Some("c")).await.expect("ahead");
    assert_eq!((ahead[0].waiting, ahead[0].first), (4, all.messages[2].position));
    assert!(DB::ahead(&pool, Some("other")).await.expect("ahead").is_empty());
    let running = consumer.start().await.expect("starts");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(effects(&pool, &lease).await.is_empty(), "nothing is applied before its predecessor");
    receive(&consumer, &cut(&all, 0, 2)).await;
    nothing_ahead(&pool, &consumer).await;
    for again in [cut(&all, 0, 2), cut(&all, 2, 4), all.clone()] {
        let ack = receive(&consumer, &again).await;
        assert_eq!((ack.outcome, ack.last), (Outcome::Complete, all.last));
    }
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, all_effects());
}

pub(super) async fn held_messages_are_applied_up_to_the_next_gap<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).hold_early(100, 1 << 20);
    let consumer = consumer.build().expect("a consumer");
    let all = sent(&pool, &lease, &NUMBERS).await;
    receive(&consumer, &cut(&all, 0, 1)).await;
    // The second and the fourth are missing.
    let mut early = cut(&all, 2, 6);
    early.messages.remove(1);
    let ack = receive(&consumer, &early).await;
    assert_eq!((ack.outcome, ack.last), (Outcome::Complete, all.messages[0].link()));
    let running = consumer.start().await.expect("starts");
    receive(&consumer, &cut(&all, 1, 2)).await;
    let applied = async || {
        let row = DB::inbox(&pool, "c", &all.origin).await.expect("inbox")?;
        (row.last.position >= all.messages[2].position).then_some(())
    };
    eventually("what follows is applied", applied).await;
    assert_eq!(effects(&pool, &lease).await, all_effects()[..3]);
    let next = async || {
        let gaps = consumer.gaps();
        gaps.iter().any(|gap| gap.missing == all.messages[3].link()).then_some(())
    };
    eventually("the next gap is known", next).await;
    receive(&consumer, &cut(&all, 3, 4)).await;
    nothing_ahead(&pool, &consumer).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, all_effects());
}

pub(super) async fn where_the_logs_differ_nothing_is_held<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).hold_early(100, 1 << 20);
    let consumer = consumer.build().expect("a consumer");
    let all = sent(&pool, &lease, &NUMBERS[..4]).await;
    receive(&consumer, &cut(&all, 0, 2)).await;
    let here = all.messages[1].link();
    // Another message stood where ours is, or somewhere before it.
    for position in [here.position, all.messages[0].position] {
        let mut differs = cut(&all, 2, 4);
        differs.messages[0].prev = Link { position, id: Uuid::max() };
        let ack = receive(&consumer, &differs).await;
        assert_eq!((ack.outcome, ack.last), (Outcome::Gap, here), "{position}");
        assert!(DB::ahead(&pool, None).await.expect("ahead").is_empty());
        assert!(consumer.gaps().is_empty());
    }
    assert_eq!(receive(&consumer, &cut(&all, 2, 4)).await.last, all.last);
    assert_eq!(effects(&pool, &lease).await, all_effects()[..4]);
}

pub(super) async fn held_early_messages_outlive_the_process<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let build =
        || consumer(&pool, |_| Behaviour::Done).hold_early(100, 1 << 20).build().expect("valid");
    let all = sent(&pool, &lease, &NUMBERS).await;
    receive(&build(), &cut(&all, 3, 6)).await;
    let (other, successor) = (build(), build());
    // Another process gets what was missing, and a third one finds what is held.
    receive(&other, &cut(&all, 0, 3)).await;
    let running = successor.start().await.expect("starts");
    nothing_ahead(&pool, &successor).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, all_effects());
}

pub(super) async fn what_is_held_early_is_bounded<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &NUMBERS).await;
    let build = |messages, bytes| {
        consumer(&pool, |_| Behaviour::Done).hold_early(messages, bytes).on_gap(OnGap::Stop)
    };
    for bounded in [build(2, 1 << 20), build(100, 100)] {
        let bounded = bounded.build().expect("a consumer");
        let ack = receive(&bounded, &cut(&all, 1, 4)).await;
        assert!(matches!(ack.outcome, Outcome::Paused { .. }), "{ack:?}");
        assert!(DB::ahead(&pool, None).await.expect("ahead").is_empty());
        assert_eq!(bounded.gaps().len(), 1);
    }
    let asks = consumer(&pool, |_| Behaviour::Done).build().expect("a consumer");
    assert_eq!(receive(&asks, &tail(&all, 1)).await.outcome, Outcome::Gap);
    assert_eq!(asks.gaps().len(), 1);
    receive(&asks, &all).await;
    assert!(asks.gaps().is_empty());
    assert_eq!(effects(&pool, &lease).await, all_effects());
}

/// A feed of one batch.
struct Feed(Batch);

#[async_trait]
impl FetchMissing for Feed {
    async fn fetch(
        &self,
        origin: &Origin,
        _watermark: Position,
        last: Link,
    ) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(*origin, *self.0.origin);
        let next = self.0.messages.iter().position(|message| message.prev == last);
        let next = next.ok_or("there is nothing after it")?;
        // Two at a time: it takes several pages.
        Ok(cut(&self.0, next, (next + 2).min(self.0.messages.len())))
    }
}

pub(super) async fn what_is_missing_is_fetched_from_the_feed<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &NUMBERS).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).repair_from("/suite", Feed(all.clone()));
    let consumer = consumer.build().expect("a consumer");
    let running = consumer.start().await.expect("starts");
    // The transport has lost the first five.
    receive(&consumer, &tail(&all, 5)).await;
    nothing_ahead(&pool, &consumer).await;
    assert_eq!(effects(&pool, &lease).await, all_effects());
    running.stop().await;
}

/// A feed that answers with one page, whatever it is asked for, and what it has answered with.
#[derive(Clone)]
struct Page(Arc<Mutex<(Batch, Vec<Origin>)>>);

impl Page {
    fn set(&self, page: &Batch) {
        self.0.lock().expect("no panic").0 = page.clone();
    }

    fn was_given(&self, page: &Batch) -> bool {
        self.0.lock().expect("no panic").1.contains(&page.origin)
    }
}

#[async_trait]
impl FetchMissing for Page {
    async fn fetch(
        &self,
        _origin: &Origin,
        _watermark: Position,
        _last: Link,
    ) -> Result<Batch, Box<dyn std::error::Error + Send + Sync>> {
        let mut state = self.0.lock().expect("no panic");
        let page = state.0.clone();
        state.1.push(Origin::clone(&page.origin));
        Ok(page)
    }
}

pub(super) async fn a_page_of_another_stream_is_refused<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &NUMBERS).await;
    let changes: [fn(&mut Origin); 5] = [
        |origin| origin.source = "/other".into(),
        |origin| origin.stream = "t".into(),
        |origin| origin.version = 2,
        |origin| origin.shard = 1,
        |origin| origin.incarnation = Uuid::max(),
    ];
    let foreign = changes.map(|change| {
        let mut origin = Origin::clone(&all.origin);
        change(&mut origin);
        let origin = Arc::new(origin);
        let of = |message: &Envelope| Envelope { origin: Arc::clone(&origin), ..message.clone() };
        let messages = all.messages.iter().map(of).collect();
        Batch { origin: Arc::clone(&origin), messages, ..all.clone() }
    });
    let feed = Page(Arc::new(Mutex::new((all.clone(), Vec::new()))));
    let consumer = consumer(&pool, |_| Behaviour::Done).repair_from("/suite", feed.clone());
    let consumer = consumer.build().expect("a consumer");
    // The transport has lost the first five.
    receive(&consumer, &tail(&all, 5)).await;
    let before = DB::inboxes(&pool, None).await.expect("inboxes");
    for page in &foreign {
        feed.set(page);
        // A start asks for a page, and a stop waits for what becomes of it.
        let running = consumer.start().await.expect("starts");
        let given = async || feed.was_given(page).then_some(());
        eventually("the page is fetched", given).await;
        running.stop().await;
        assert!(effects(&pool, &lease).await.is_empty(), "{:?}", page.origin);
        let now = DB::inboxes(&pool, None).await.expect("inboxes");
        assert_eq!(now, before, "{:?}", page.origin);
        assert_eq!(consumer.gaps().len(), 1);
    }
    feed.set(&all);
    let running = consumer.start().await.expect("starts");
    nothing_ahead(&pool, &consumer).await;
    running.stop().await;
    assert_eq!(effects(&pool, &lease).await, all_effects());
}

pub(super) async fn a_loss_that_only_progress_shows_is_fetched<DB: Storage>(pool: Pool<DB>) {
    let lease = sealer(&pool).await;
    let all = sent(&pool, &lease, &NUMBERS).await;
    let consumer = consumer(&pool, |_| Behaviour::Done).repair_from("/suite", Feed(all.clone()));
    let consumer = consumer.build().expect("a consumer");
    let running = consumer.start().await.expect("starts");
    receive(&consumer, &cut(&all, 0, 3)).await;
    let progress = Batch { messages: Vec::new(), ..all.clone() };
    receive(&consumer, &progress).await;
    nothing_ahead(&pool, &consumer).await;
    assert_eq!(effects(&pool, &lease).await, all_effects());
    running.stop().await;
}

pub(super) async fn two_processes_of_one_consumer_apply_once_and_in_order<DB: Storage>(
    pool: Pool<DB>,
) {
    let lease = sealer(&pool).await;
    let numbers: Vec<_> =
        (0..120).map(|n| message("in", ["a", "b", "c"][n % 3], n as i64)).collect();
    commit(&pool, &numbers).await;
    let incarnation = DB::incarnation(&pool).await.expect("incarnation");
    let all = batch(whole_log(&pool, &lease).await, incarnation);
    let processes = [0, 1].map(|_| consumer(&pool, |_| Behaviour::Done).build().expect("valid"));
    // One process by itself shows how fast this server is.
    let started = std::time::Instant::now();
    for n in 0..20 {
        receive(&processes[0], &cut(&all, n * 3, n * 3 + 3)).await;
    }
    let alone = started.elapsed();
    let started = std::time::Instant::now();
    for n in 20..40 {
        let part = cut(&all, n * 3, n * 3 + 3);
        // Each batch to one of them; every third one to both at once; every fourth one again.
        let receives = match n % 3 {
            0 => vec![&processes[0], &processes[1]],
            n => vec![&processes[n % 2]],
        };
        let answers = receives.iter().map(|process| receive(process, &part));
        for ack in futures::future::join_all(answers).await {
            assert_eq!((ack.outcome, ack.last), (Outcome::Complete, part.last));
        }
        if n % 4 == 0 {
            receive(&processes[1], &part).await;
        }
    }
    let took = started.elapsed();
    let most = Duration::from_secs(3) + 3 * alone;
    assert!(took < most, "a process does not wait for what is there: {took:?}, alone {alone:?}");
    let expected: Vec<_> =
        (0..120).map(|n: i64| effect(["a", "b", "c"][n as usize % 3], n)).collect();
    assert_eq!(effects(&pool, &lease).await, expected);
}
