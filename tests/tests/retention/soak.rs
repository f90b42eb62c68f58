//! Writers and a relay under which the log is trimmed all the time: it stays as large as what is kept.

use super::*;

/// The room that the tables of a database take.
#[async_trait]
pub(crate) trait Sizes: Kit {
    /// Bytes of each, the outbox first.
    async fn sizes(pool: &Pool<Self>) -> Vec<(String, i64)>;

    /// Bytes that its files grow by.
    const GROWS: i64 = 512 << 10;

    /// Rows of the outbox that are there.
    async fn rows(pool: &Pool<Self>) -> i64;

    /// Rows of the outbox that are dead, where there is such a thing.
    async fn dead(_pool: &Pool<Self>) -> i64 {
        0
    }

    /// Lets the first partition end soon, where there are any, and has others made in time.
    async fn begin(_pool: &Pool<Self>) {}
}

#[async_trait]
impl Sizes for Postgres {
    async fn sizes(pool: &Pool<Self>) -> Vec<(String, i64)> {
        let sql = "SELECT name, bytes FROM (
                       SELECT CASE WHEN relname LIKE 'syncline_outbox%' THEN 'outbox'
                                   ELSE substr(relname, 10) END AS name,
                              sum(pg_total_relation_size(oid))::bigint AS bytes
                       FROM pg_class WHERE relname LIKE 'syncline_%' AND relkind = 'r'
                       GROUP BY 1
                   ) AS sizes
                   WHERE bytes > 65536 ORDER BY name <> 'outbox', name";
        sqlx::query_as(sql).fetch_all(pool).await.expect("sizes")
    }

    async fn rows(pool: &Pool<Self>) -> i64 {
        sqlx::query_scalar(ROWS).fetch_one(pool).await.expect("rows")
    }

    async fn dead(pool: &Pool<Self>) -> i64 {
        let sql = "SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables
                   WHERE relname LIKE 'syncline_outbox%'";
        sqlx::query_scalar(sql).fetch_one(pool).await.expect("dead rows")
    }

    async fn begin(pool: &Pool<Self>) {
        pool.execute("SELECT setval('syncline_outbox_seq', 99990)").await.expect("near its end");
        Postgres::extend(pool, i64::from(PARTITION)).await.expect("partitions");
    }
}

#[async_trait]
impl Sizes for MySql {
    const GROWS: i64 = 12 << 20;

    async fn rows(pool: &Pool<Self>) -> i64 {
        sqlx::query_scalar(ROWS).fetch_one(pool).await.expect("rows")
    }

    async fn sizes(pool: &Pool<Self>) -> Vec<(String, i64)> {
        let sql = "SELECT CONVERT(SUBSTRING_INDEX(name, 'syncline_', -1) USING utf8mb4),
                          CAST(file_size AS SIGNED)
                   FROM information_schema.innodb_sys_tablespaces
                   WHERE name LIKE CONCAT(DATABASE(), '/syncline\\_%') AND file_size > 131072
                   ORDER BY name NOT LIKE '%outbox', name";
        let rows = sqlx::query(sql).fetch_all(pool).await.expect("sizes");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

#[async_trait]
impl Sizes for Sqlite {
    async fn rows(pool: &Pool<Self>) -> i64 {
        sqlx::query_scalar(ROWS).fetch_one(pool).await.expect("rows")
    }

    async fn sizes(pool: &Pool<Self>) -> Vec<(String, i64)> {
        let sql = "SELECT 'outbox', page_count * page_size
                   FROM pragma_page_count, pragma_page_size";
        sqlx::query_as(sql).fetch_all(pool).await.expect("sizes")
    }
}

/// One look at a database under load.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) at: Duration,
    pub(crate) written: i64,
    pub(crate) kept: i64,
    pub(crate) rows: i64,
    pub(crate) dead: i64,
    pub(crate) sizes: Vec<(String, i64)>,
}

impl Sample {
    pub(crate) fn outbox(&self) -> i64 {
        self.sizes.first().map_or(0, |(_, bytes)| *bytes)
    }
}

pub(crate) fn retention() -> Retention {
    let mut retention = Retention::default();
    retention.keep_for = Duration::from_secs(1);
    retention.every = Duration::from_millis(100);
    retention.partition_messages = PARTITION;
    retention
}

/// The work of the writers.
pub(crate) const WRITE: u8 = 0;

pub(crate) const PAUSE: u8 = 1;

pub(crate) const STOP: u8 = 2;

pub(crate) async fn writer<DB: Kit>(pool: Pool<DB>, writer: i64, order: Arc<AtomicU8>) {
    let pad = "x".repeat(PAD);
    for n in 0.. {
        while order.load(Ordering::Relaxed) == PAUSE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if order.load(Ordering::Relaxed) == STOP {
            break;
        }
        // Keys of its own: the writers do not wait for each other.
        let key = format!("key {}", writer + WRITERS * (n % (KEYS / WRITERS)));
        let mut tx = begin(&pool).await.expect("begin");
        let count = DB::raise(&mut tx, &key).await.expect("raise");
        let message = Message::json("counter.raised", &count).expect("JSON").key(key);
        let receipt = enqueue(&mut tx, &message.header("pad", pad.as_str())).await;
        let receipt = receipt.expect("enqueue");
        tx.commit().await.expect("commit");
        receipt.committed();
    }
}

/// Writes, sends, applies and trims for a while, and looks at the sizes meanwhile.
pub(crate) async fn soak<DB: Sizes>(what: &str, source: &str, target: &str, retention: Retention) {
    let full = std::env::var("SYNCLINE_TEST_FULL").is_ok_and(|full| full == "1");
    let time = Duration::from_secs(if full { 600 } else { 16 });
    // The bound of what may wait; six times as many are written at least.
    let waiting = if full { 5_000 } else { 500 };
    let (source, target) = (DB::connect(source, 12).await, DB::connect(target, 8).await);
    let (source, target) = (source.expect("connect"), target.expect("connect"));
    for pool in [&source, &target] {
        syncline::migrate(pool).await.expect("migrate");
        DB::prepare(pool).await.expect("prepare");
    }
    DB::begin(&source).await;
    let consumer = noting("c", target.clone()).build().expect("a consumer");
    let relay = Relay::builder("/tests", source.clone())
        .stream(Stream::new("counts").topic("counter.*").shards(4))
        .route(Route::new("c", "counts", Direct::to(consumer)))
        .options(|options| options.retention = retention)
        .start()
        .await
        .expect("the relay starts");
    let order = Arc::new(AtomicU8::new(WRITE));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(writer(source.clone(), number, Arc::clone(&order))))
        .collect();
    let began = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    let enough = |samples: &[Sample]| samples.last().is_some_and(|last| last.written > 6 * waiting);
    println!("{what}: seconds, written, kept, rows, dead rows, bytes");
    while began.elapsed() < time || !enough(&samples) {
        assert!(began.elapsed() < time + PATIENCE, "{what}: the relay does not get on");
        tokio::time::sleep(time / 32).await;
        let (head, trimmed) = (DB::head(&source).await, DB::trimmed(&source).await);
        let (head, trimmed) = (head.expect("head").0, trimmed.expect("trimmed").position.0);
        let (dead, sizes) = (DB::dead(&source).await, DB::sizes(&source).await);
        let at = began.elapsed();
        let (rows, kept) = (DB::rows(&source).await, head - trimmed);
        let sample = Sample { at, written: head, kept, rows, dead, sizes };
        let sizes: Vec<_> = sample
            .sizes
            .iter()
            .map(|(name, bytes)| format!("{name} {} KiB", bytes / 1024))
            .collect();
        println!(
            "{what}: {:>4} s, {:>8}, {:>6}, {:>6}, {:>4}, {}",
            sample.at.as_secs(),
            sample.written,
            sample.kept,
            sample.rows,
            sample.dead,
            sizes.join(", ")
        );
        // On a busy machine the relay falls behind its writers: that is not what is looked at.
        let waits = sample.kept.max(sample.rows) > waiting;
        order.store(if waits { PAUSE } else { WRITE }, Ordering::Relaxed);
        samples.push(sample);
    }
    order.store(STOP, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("the writer");
    }
    check(&source, &target, &["c"]).await;
    relay.stop().await;
    flat::<DB>(what, &samples, full).unwrap_or_else(|problem| panic!("{what}: {problem}"));
}

pub(crate) fn median(mut numbers: Vec<i64>) -> i64 {
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

/// The log keeps a small part of what was written, and the outbox takes no more than what is kept
/// does; over a long time it does not grow.
pub(crate) fn flat<DB: Sizes>(what: &str, samples: &[Sample], long: bool) -> Result<(), String> {
    let quarter = samples.len() / 4;
    let of = |part: &[Sample], value: fn(&Sample) -> i64| median(part.iter().map(value).collect());
    let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..]);
    let (before, after) = (of(early, Sample::outbox), of(late, Sample::outbox));
    let (kept, written) = (of(late, |sample| sample.kept), of(late, |sample| sample.written));
    let most = samples.iter().map(|sample| sample.kept).max().unwrap_or(0);
    let dead = samples.iter().map(|sample| sample.dead).max().unwrap_or(0);
    println!(
        "{what}: of {written} messages {kept} are kept; the outbox took {before} bytes and then \
         {after}; at most {dead} dead rows"
    );
    if kept > written / 3 {
        return Err(format!("{kept} of {written} messages are kept"));
    }
    let rows = of(late, |sample| sample.rows);
    if rows > most + 3 * i64::from(PARTITION) {
        return Err(format!("{rows} rows are there, and {most} at most were kept"));
    }
    // A part for what is kept, one that is being emptied, one in use, one that is not yet.
    let room = (most + 3 * i64::from(PARTITION)) * 3 / 2 * PAD as i64 + DB::GROWS;
    if after > room {
        return Err(format!("the outbox takes {after} bytes, and what is kept not {room}"));
    }
    if long && after > before + before / 4 + DB::GROWS {
        return Err(format!("the outbox grew from {before} to {after} bytes"));
    }
    if dead > 20 {
        return Err(format!("{dead} dead rows in the outbox"));
    }
    Ok(())
}
