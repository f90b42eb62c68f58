//! Sending, applying and parking, as they are and with a mistake.

use super::*;

/// A relay that dies between its two steps, and the one that comes after it.
pub(crate) async fn relay_that_dies<DB: Kit>(pool: &Pool<DB>, checkpoint_first: bool) -> Vec<i64> {
    let lease = acquire(pool, "seal", LONG).await;
    let route = acquire(pool, "route/r", LONG).await;
    let mut tx = begin(pool).await.expect("begin");
    let _ = enqueue(&mut tx, &raised(1)).await.expect("enqueue");
    tx.commit().await.expect("commit");
    log(pool, &lease).await;
    let mut published = Vec::new();
    for dies in [true, false] {
        let at = open(pool).await;
        let rows = DB::read(pool, at.cursor, PAGE).await.expect("read");
        let Some(last) = rows.last() else { break };
        let last = Link { position: last.cursor.position, id: last.message.id };
        let to = Checkpoint { cursor: rows[rows.len() - 1].cursor, last };
        let mut publish = || published.extend(rows.iter().map(|row| row.message.decode::<i64>()));
        if !checkpoint_first {
            publish();
        }
        if checkpoint_first || !dies {
            assert!(save(pool, &route, to).await);
        }
        if checkpoint_first && !dies {
            publish();
        }
    }
    published.into_iter().map(|n| n.expect("a number")).collect()
}

/// The first messages of the log as a relay sends them.
pub(crate) async fn batch<DB: Kit>(pool: &Pool<DB>, lease: &Lease) -> Batch {
    let mut tx = begin(pool).await.expect("begin");
    DB::raise(&mut tx, "key 0").await.expect("raise");
    let message = raised(1);
    let _ = enqueue(&mut tx, &message).await.expect("enqueue");
    tx.commit().await.expect("commit");
    log(pool, lease).await;
    let origin = std::sync::Arc::new(Origin {
        source: "/mutants".into(),
        incarnation: DB::incarnation(pool).await.expect("incarnation"),
        stream: Stream::new("s").name().into(),
        version: 1,
        shard: 0,
    });
    let last = Link { position: Position(1), id: message.id };
    let envelope = Envelope {
        origin: origin.clone(),
        position: last.position,
        prev: Link::START,
        message: message.into(),
    };
    Batch {
        origin,
        messages: vec![envelope],
        through: last.position,
        last,
        handover: None,
        continues: None,
    }
}

pub(crate) async fn note<DB: Kit>(
    tx: &mut sqlx::Transaction<'_, DB>,
    message: &Envelope,
) -> Result<Verdict, HandlerError> {
    DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
    Ok(Verdict::Done)
}

pub(crate) async fn apply_outside<DB: Kit>(
    pool: Pool<DB>,
    begin_again: impl AsyncFn(&Pool<DB>) -> sqlx::Result<()>,
) {
    DB::prepare(&pool).await.expect("prepare");
    let batch = batch(&pool, &acquire(&pool, "seal", LONG).await).await;
    let counters = [("key 0".to_owned(), 1)];

    // The mutant applies, commits, and dies before it notes the watermark; then it comes again.
    for dies in [true, false] {
        let first = InboxRow {
            incarnation: batch.origin.incarnation,
            watermark: Position::START,
            last: Link::START,
            ended: None,
        };
        let mut tx = begin(&pool).await.expect("begin");
        let row = DB::lock_inbox(&mut tx, "mutant", &batch.origin, first).await.expect("lock");
        if row.watermark < batch.through {
            note(&mut tx, &batch.messages[0]).await.expect("note");
        }
        tx.commit().await.expect("commit");
        if dies {
            continue;
        }
        let mut tx = begin(&pool).await.expect("begin");
        let row = DB::lock_inbox(&mut tx, "mutant", &batch.origin, row).await.expect("lock");
        let done = InboxRow { watermark: batch.through, last: batch.last, ..row };
        DB::save_inbox(&mut tx, "mutant", &batch.origin, done).await.expect("save");
        tx.commit().await.expect("commit");
    }
    let applied = DB::applied(&pool).await.expect("applied");
    check_applied(&counters, &applied).expect_err("the mutant has applied twice");

    begin_again(&pool).await.expect("begin again");
    let consumer = Consumer::builder("real", pool.clone())
        .handler("*", handler_fn(|tx, message| Box::pin(note(tx, message))))
        .build()
        .expect("a consumer");
    for _ in 0..2 {
        consumer.receive(batch.clone()).await.expect("an answer");
    }
    let applied = DB::applied(&pool).await.expect("applied");
    check_applied(&counters, &applied).expect("the consumer applies once");
}

pub(crate) async fn wake_late<DB: Kit>(
    pool: &Pool<DB>,
    mutant: impl AsyncFn(&Pool<DB>) -> sqlx::Result<()>,
) {
    let old = acquire(pool, "route/r", Duration::from_millis(100)).await;
    open(pool).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let new = acquire(pool, "route/r", LONG).await;
    let at = |position| Checkpoint {
        cursor: Cursor { position: Position(position), seal: position, seq: position },
        last: Link { position: Position(position), id: Uuid::now_v7() },
    };
    assert!(save(pool, &new, at(9)).await);
    // The paused relay wakes up late.
    assert!(!save(pool, &old, at(3)).await);
    let position = async || open(pool).await.cursor.position;
    assert_eq!(position().await, Position(9));
    mutant(pool).await.expect("the mutant's update");
    assert_eq!(position().await, Position(3), "the mutant's checkpoint went back");
}

/// One process takes a message past the watermark while another one applies it and moves the
/// watermark over it: how often the message took effect.
pub(crate) async fn ahead_beside_another<DB: Kit>(pool: &Pool<DB>, watermark_first: bool) -> usize {
    DB::prepare(pool).await.expect("prepare");
    let batch = batch(pool, &acquire(pool, "seal", LONG).await).await;
    let message = &batch.messages[0];
    let noted = handler_fn(|tx, message: &Envelope| {
        Box::pin(async move {
            DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
            Ok(Verdict::Done)
        })
    });
    let other = Consumer::builder("c", pool.clone()).handler("*", noted).unordered();
    let other = other.build().expect("a consumer");
    let mut tx = begin(pool).await.expect("begin");
    let origin = &batch.origin;
    let too_early = DB::peek_inbox(&mut tx, "c", origin).await.expect("peek");
    let ack = other.receive(batch.clone()).await.expect("an answer");
    assert_eq!(ack.watermark, batch.through, "the other one has moved the watermark");
    let new = DB::add_ahead(&mut tx, "c", message, false).await.expect("add");
    let row = match watermark_first {
        true => too_early,
        false => DB::peek_inbox(&mut tx, "c", origin).await.expect("peek"),
    };
    if new && row.is_none_or(|row| message.position > row.watermark) {
        let n = message.decode().expect("a number");
        DB::note(&mut tx, message.key.as_deref().unwrap_or_default(), n).await.expect("note");
    }
    tx.commit().await.expect("commit");
    DB::applied(pool).await.expect("applied").len()
}

/// A key is emptied while its next message comes in: how many messages took effect, and how many
/// are held under a key that nobody will look at.
pub(crate) async fn empty_a_key<DB: Kit>(pool: &Pool<DB>, locked: bool) -> (usize, usize) {
    DB::prepare(pool).await.expect("prepare");
    let lease = acquire(pool, "seal", LONG).await;
    let first = batch(pool, &lease).await;
    let message = raised(2);
    let last = Link { position: Position(2), id: message.id };
    let origin = first.origin.clone();
    let next =
        Envelope { origin, position: last.position, prev: first.last, message: message.into() };
    let next = Batch { messages: vec![next], through: last.position, last, ..first.clone() };
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = broken.clone();
    let noted = handler_fn(move |tx, message: &Envelope| {
        let broken = switch.load(std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move {
            DB::note(tx, message.key.as_deref().unwrap_or_default(), message.decode()?).await?;
            if broken { Err("broken".into()) } else { Ok(Verdict::Done) }
        })
    });
    let consumer = Consumer::builder("c", pool.clone()).handler("*", noted);
    let consumer =
        consumer.retry(syncline::RetryPolicy { base: Duration::ZERO, ..Default::default() });
    let consumer = consumer.build().expect("a consumer");
    consumer.receive(first.clone()).await.expect("parked");
    broken.store(false, std::sync::atomic::Ordering::SeqCst);

    // The step that retries, in its order; the mutant leaves the lock out.
    let (source, key) = (first.origin.source.as_str(), "key 0");
    let mut tx = begin(pool).await.expect("begin");
    if locked {
        assert!(DB::take_due(&mut tx, "c", source, key, LONG).await.expect("take"));
    }
    let held = DB::held_of_key(&mut tx, "c", source, key, true, 2).await.expect("held");
    assert_eq!(held.len(), 1);
    let receiving = tokio::spawn({
        let (consumer, next) = (consumer.clone(), next.clone());
        async move { consumer.receive(next).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receiving.is_finished(), !locked, "only the lock makes the other one wait");
    DB::note(&mut tx, key, 1).await.expect("note");
    DB::unhold(&mut tx, held[0].id).await.expect("unhold");
    DB::unpark(&mut tx, "c", source, key).await.expect("unpark");
    tx.commit().await.expect("commit");
    let ack = receiving.await.expect("no panic").expect("an answer");
    assert_eq!(ack.watermark, next.through);

    let running = consumer.start().await.expect("retries");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    running.stop().await;
    let stranded = DB::held(pool, true, 0, 9).await.expect("held").len();
    (DB::applied(pool).await.expect("applied").len(), stranded)
}
