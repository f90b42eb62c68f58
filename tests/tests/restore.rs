//! A database restored from an older backup, under what runs: both sides notice, nothing is
//! skipped or applied to the wrong position, and an operator's command lets the stream go on.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Stream, begin, enqueue,
    incarnation::{Agreed, Rebase, Unsealed, lives},
    message::{Batch, Position},
    relay::{RelayOptions, RouteState},
    routes,
    saga::{Outcome, SagaBuilder, SagaHandler, Sagas, SagasHandle, operate, wire},
    transport::{Ack, PublishError, Publisher},
};
use uuid::Uuid;

use syncline_tests::{
    kit::{KEYS, Kit},
    relays::{Direct, eventually, noting, start, write},
    servers::{MARIADB, POSTGRES, mariadb_database, postgres_database, sqlite_database},
};

/// How long nothing may happen that must not.
const QUIET: Duration = Duration::from_millis(1_500);

/// How often a relay that has nothing to send asks where its consumer is.
const ASK: Duration = Duration::from_millis(300);

/// Backup and restore as an operator does them.
#[async_trait(?Send)]
trait Restore: Kit {
    /// Whether services stay up while the backup is restored: connections break, no more.
    const LIVE: bool;

    /// Copies the database at `url`, and names the copy.
    async fn backup(url: &str) -> String;

    /// Puts the copy in the place of the database at `url`.
    async fn restore(url: &str, backup: &str);
}

fn database(url: &str) -> &str {
    let path = url.split('?').next().unwrap_or(url);
    path.rsplit('/').next().expect("a name")
}

async fn postgres_server() -> sqlx::PgConnection {
    let url = std::env::var(POSTGRES).expect("a server");
    sqlx::PgConnection::connect(&url).await.expect("connect")
}

/// Nobody is connected to the database while `work` is done.
async fn alone(server: &mut sqlx::PgConnection, name: &str, work: &str) {
    let connections =
        |allowed: bool| AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"));
    server.execute(connections(false)).await.expect("close it");
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    eventually("nobody is connected", async || {
        let (left,): (i64,) =
            sqlx::query_as(AssertSqlSafe(end.clone())).fetch_one(&mut *server).await.expect("end");
        (left == 0).then_some(())
    })
    .await;
    server.execute(AssertSqlSafe(work.to_owned())).await.expect("do the work");
    server.execute(connections(true)).await.expect("open it");
}

#[async_trait(?Send)]
impl Restore for Postgres {
    const LIVE: bool = true;

    async fn backup(url: &str) -> String {
        let (name, backup) = (database(url), format!("{}_backup", database(url)));
        let mut server = postgres_server().await;
        alone(&mut server, name, &format!("CREATE DATABASE {backup} TEMPLATE {name}")).await;
        backup
    }

    async fn restore(url: &str, backup: &str) {
        let (name, mut server) = (database(url), postgres_server().await);
        let old = format!("{name}_old");
        alone(&mut server, backup, "SELECT 1").await;
        let close = AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
        server.execute(close).await.expect("close it");
        let rename = format!("ALTER DATABASE {name} RENAME TO {old}");
        eventually("the database can be renamed", async || {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            );
            server.execute(AssertSqlSafe(end)).await.expect("end");
            server.execute(AssertSqlSafe(rename.clone())).await.ok().map(drop)
        })
        .await;
        let rename = AssertSqlSafe(format!("ALTER DATABASE {backup} RENAME TO {name}"));
        server.execute(rename).await.expect("rename");
    }
}

/// Copies all tables of one database into another one, with those of the last restore gone.
async fn copy_tables(server: &mut sqlx::MySqlConnection, from: &str, to: &str) {
    let tables = format!(
        "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables \
         WHERE table_schema = '{from}' AND table_type = 'BASE TABLE'"
    );
    let tables: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(tables)).fetch_all(&mut *server).await.expect("tables");
    // Data made anew in the same second would have the same time of making.
    for table in tables {
        for statement in [
            format!("DROP TABLE IF EXISTS {to}.{table}"),
            format!("CREATE TABLE {to}.{table} LIKE {from}.{table}"),
            format!("INSERT INTO {to}.{table} SELECT * FROM {from}.{table}"),
        ] {
            server.execute(AssertSqlSafe(statement)).await.expect("copy a table");
        }
    }
}

async fn end_connections(server: &mut sqlx::MySqlConnection, name: &str) {
    let of = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}'");
    let ids: Vec<i64> =
        sqlx::query_scalar(AssertSqlSafe(of)).fetch_all(&mut *server).await.expect("connections");
    for id in ids {
        // It may have ended by itself.
        drop(server.execute(AssertSqlSafe(format!("KILL {id}"))).await);
    }
}

async fn mariadb_server() -> sqlx::MySqlConnection {
    let url = std::env::var(MARIADB).expect("a server");
    sqlx::MySqlConnection::connect(&url).await.expect("connect")
}

#[async_trait(?Send)]
impl Restore for MySql {
    const LIVE: bool = true;

    async fn backup(url: &str) -> String {
        let (name, backup) = (database(url), format!("{}_b", database(url)));
        let mut server = mariadb_server().await;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {backup}"))).await.expect("create");
        copy_tables(&mut server, name, &backup).await;
        backup
    }

    async fn restore(url: &str, backup: &str) {
        let (name, mut server) = (database(url), mariadb_server().await);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        // As while a server is down: whoever looks finds nothing of before or of half of it.
        server.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.expect("drop");
        end_connections(&mut server, name).await;
        let (away, mut other) = (format!("{name}_r"), mariadb_server().await);
        other.execute(AssertSqlSafe(format!("CREATE DATABASE {away}"))).await.expect("create");
        copy_tables(&mut other, backup, &away).await;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("create");
        let tables: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables \
             WHERE table_schema = '{away}'"
        )))
        .fetch_all(&mut other)
        .await
        .expect("tables");
        let moves: Vec<_> =
            tables.iter().map(|table| format!("{away}.{table} TO {name}.{table}")).collect();
        end_connections(&mut server, name).await;
        let rename = AssertSqlSafe(format!("RENAME TABLE {}", moves.join(", ")));
        server.execute(rename).await.expect("all tables at once");
        end_connections(&mut server, name).await;
    }
}

fn file(url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite://").expect("an SQLite URL");
    path.split('?').next().expect("a path").into()
}

#[async_trait(?Send)]
impl Restore for Sqlite {
    const LIVE: bool = false;

    async fn backup(url: &str) -> String {
        let backup = format!("{}.backup", file(url).display());
        let pool = Self::connect(url, 1).await.expect("connect");
        sqlx::query("VACUUM INTO $1").bind(&backup).execute(&pool).await.expect("back up");
        pool.close().await;
        backup
    }

    async fn restore(url: &str, backup: &str) {
        let file = file(url);
        for more in ["-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{more}", file.display())));
        }
        // Another file: a connection that closes late writes to the one that it had.
        let copy = format!("{backup}.copy");
        std::fs::copy(backup, &copy).expect("copy the backup");
        std::fs::rename(copy, file).expect("put the backup in place");
    }
}

/// A source whose relay runs, and two consumers.
struct World<DB: Restore> {
    source_url: String,
    target_url: String,
    source: Pool<DB>,
    target: Pool<DB>,
    relay: Option<RelayHandle>,
}

impl<DB: Restore> World<DB> {
    async fn new(source_url: String, target_url: String) -> Self {
        let source = DB::connect(&source_url, 8).await.expect("connect");
        let target = DB::connect(&target_url, 8).await.expect("connect");
        for pool in [&source, &target] {
            syncline::migrate(pool).await.expect("migrate");
            DB::prepare(pool).await.expect("prepare");
        }
        let mut world = Self { source_url, target_url, source, target, relay: None };
        world.start().await;
        world
    }

    async fn start(&mut self) {
        let route = |name: &str| {
            let consumer = noting(name, self.target.clone()).build().expect("a consumer");
            Route::new(name, "counts", Direct::to(consumer))
        };
        let stream = Stream::new("counts").topic("counter.*");
        let routes = vec![route("near"), route("far")];
        let options = |options: &mut RelayOptions| options.ask_every = ASK;
        self.relay = Some(start(&self.source, stream, routes, options).await);
    }

    /// Restores the database of one side from `backup`. Services stay up where they can.
    async fn restore(&mut self, source: bool, backup: &str) {
        let url = if source { self.source_url.clone() } else { self.target_url.clone() };
        if DB::LIVE {
            return DB::restore(&url, backup).await;
        }
        let ran = self.relay.is_some();
        self.stop().await;
        self.source.close().await;
        self.target.close().await;
        DB::restore(&url, backup).await;
        self.source = DB::connect(&self.source_url, 8).await.expect("connect");
        self.target = DB::connect(&self.target_url, 8).await.expect("connect");
        if ran {
            self.start().await;
        }
    }

    async fn stop(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.stop().await;
        }
    }

    fn state(&self, route: &str) -> RouteState {
        let all = self.relay.as_ref().expect("it runs").status();
        all.into_iter().find(|status| status.route == route).expect("a route").state
    }

    /// What `consumer` has applied of each message, in order.
    async fn applied(&self, consumer: &str) -> Vec<(String, i64)> {
        let applied =
            eventually("the target answers", async || DB::applied(&self.target).await.ok());
        let named = |(key, n): (String, i64)| {
            key.strip_prefix(consumer).map(|key| (key.trim_start().to_owned(), n))
        };
        applied.await.into_iter().filter_map(named).collect()
    }

    async fn await_applied(&self, consumer: &str, count: usize) {
        let what = format!("{consumer} has applied {count}");
        eventually(&what, async || (self.applied(consumer).await.len() >= count).then_some(()))
            .await;
        assert_eq!(self.applied(consumer).await.len(), count, "{consumer}");
    }

    async fn write(&self, times: i64) {
        eventually("the source answers", async || begin(&self.source).await.ok()).await;
        write(&self.source, times).await;
    }
}

/// Messages of no stream.
async fn write_other<DB: Kit>(pool: &Pool<DB>, times: usize) {
    for _ in 0..times {
        let mut tx = begin(pool).await.expect("begin");
        let message = Message::new("other", "text/plain", "x");
        enqueue(&mut tx, &message).await.expect("enqueue").committed();
        tx.commit().await.expect("commit");
    }
}

/// Raises counters from what they are now; what it writes is what the consumers must get.
async fn write_and_tell<DB: Restore>(world: &World<DB>, times: i64) -> Vec<(String, i64)> {
    eventually("the source answers", async || DB::counters(&world.source).await.ok()).await;
    let mut counters: Vec<(String, i64)> = DB::counters(&world.source).await.expect("counters");
    let mut told = Vec::new();
    for n in 0..times {
        let key = format!("key {}", n % KEYS);
        let counter = counters.iter_mut().find(|(name, _)| *name == key).expect("a counter");
        counter.1 += 1;
        told.push((key, counter.1));
    }
    world.write(times).await;
    told
}

async fn database_time() -> DateTime<Utc> {
    Utc::now()
}

mod case {
    use super::*;

    /// The source loses messages that one consumer has, goes on writing, and no relay was
    /// stopped: both are told apart, and nothing is skipped.
    pub(super) async fn a_restored_source_is_noticed_and_repaired<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(10).await;
        world.await_applied("far", 10).await;
        assert!(routes::pause(&world.source, "far").await.expect("pause"));
        eventually("it is paused", async || {
            (world.state("far") == RouteState::Paused).then_some(())
        })
        .await;
        world.write(20).await;
        world.await_applied("near", 30).await;
        let backup = DB::backup(&world.source_url).await;
        world.write(20).await;
        world.await_applied("near", 50).await;

        let restored_at = database_time().await;
        world.restore(true, &backup).await;
        // More than was lost: by its end alone the log looks as if nothing had happened.
        let new = write_and_tell(&world, 40).await;
        eventually("the route has stopped", async || {
            matches!(world.state("near"), RouteState::Diverged { .. }).then_some(())
        })
        .await;
        tokio::time::sleep(QUIET).await;
        assert_eq!(world.applied("near").await.len(), 50, "nothing is applied meanwhile");

        let known = lives(&world.source).await.expect("lives");
        assert_eq!(known.head, Position(70));
        let agreed =
            if DB::LIVE { Agreed::RestoredAt(restored_at) } else { Agreed::At(Position(30)) };
        let begun =
            Rebase::new(agreed).skip_undelivered().run(&world.source).await.expect("rebase");
        assert_eq!(begun.agreed, Position(30));
        assert_ne!(begun.incarnation, known.incarnation);
        world.await_applied("near", 90).await;
        assert_eq!(world.applied("near").await[50..].to_vec().len(), 40);
        in_order(&world.applied("near").await[50..], &new);

        // One that was behind at the time goes on as if nothing had happened.
        assert!(routes::resume(&world.source, "far").await.expect("resume"));
        world.await_applied("far", 70).await;
        in_order(&world.applied("far").await[30..], &new);
        let more = write_and_tell(&world, 12).await;
        world.await_applied("near", 102).await;
        world.await_applied("far", 82).await;
        in_order(&world.applied("near").await[90..], &more);
        world.relay.take().expect("it runs").stop().await;
    }

    /// What the watermark was moved over by progress alone is no longer empty after the restore.
    pub(super) async fn a_watermark_moved_by_progress_hides_no_message<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(5).await;
        world.await_applied("near", 5).await;
        let backup = DB::backup(&world.source_url).await;
        write_other(&world.source, 20).await;
        eventually("the watermark moved by progress", async || {
            let rows = routes::list(&world.source, Some("near")).await.ok()?;
            (rows[0].checkpoint.cursor.position == Position(25)).then_some(())
        })
        .await;
        tokio::time::sleep(QUIET).await;

        world.restore(true, &backup).await;
        let new = write_and_tell(&world, 30).await;
        eventually("the route has stopped", async || {
            matches!(world.state("near"), RouteState::Diverged { .. }).then_some(())
        })
        .await;
        assert_eq!(world.applied("near").await.len(), 5);
        Rebase::new(Agreed::At(Position(5)))
            .skip_undelivered()
            .run(&world.source)
            .await
            .expect("rebase");
        world.await_applied("near", 35).await;
        in_order(&world.applied("near").await[5..], &new);
        world.await_applied("far", 35).await;
        world.relay.take().expect("it runs").stop().await;
    }

    /// A backup taken under load holds committed rows without a position, which were sent after
    /// that: `rebase` names them, and does what it is told.
    pub(super) async fn rows_without_a_position_are_named_and_decided_about<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(10).await;
        world.await_applied("near", 10).await;
        world.await_applied("far", 10).await;
        world.stop().await;
        world.write(3).await;
        let backup = DB::backup(&world.source_url).await;
        world.start().await;
        world.await_applied("near", 13).await;
        world.await_applied("far", 13).await;
        world.stop().await;
        world.restore(true, &backup).await;
        eventually("the source answers", async || begin(&world.source).await.ok()).await;

        let undecided = Rebase::new(Agreed::Head);
        let preview = undecided.preview(&world.source).await.expect("preview");
        if DB::LABEL == "SQLite" {
            // A commit gives the position: the backup knows them, and that they are not delivered.
            assert_eq!((preview.agreed, preview.unsealed), (Position(13), 0));
            let refused = undecided.run(&world.source).await.expect_err("undelivered");
            assert!(refused.to_string().contains("3 of route near"), "{refused}");
            undecided.skip_undelivered().run(&world.source).await.expect("rebase");
        } else {
            assert_eq!((preview.agreed, preview.unsealed), (Position(10), 3));
            let refused = undecided.run(&world.source).await.expect_err("unsealed");
            assert!(refused.to_string().contains("3 committed messages"), "{refused}");
            let decided = undecided.unsealed(Unsealed::Discard);
            assert_eq!(decided.run(&world.source).await.expect("rebase").discarded, 3);
        }
        world.start().await;
        let new = write_and_tell(&world, 5).await;
        for consumer in ["near", "far"] {
            world.await_applied(consumer, 18).await;
            tokio::time::sleep(QUIET).await;
            let applied = world.applied(consumer).await;
            assert_eq!(applied.len(), 18, "each once: {applied:?}");
            in_order(&applied[13..], &new);
        }
        world.stop().await;
    }

    /// The same, and the source has nothing more to send: its relay asks.
    pub(super) async fn a_consumer_restored_under_a_source_that_rests_gets_what_it_lost<
        DB: Restore,
    >(
        mut world: World<DB>,
    ) {
        world.write(20).await;
        world.await_applied("near", 20).await;
        world.await_applied("far", 20).await;
        let backup = DB::backup(&world.target_url).await;
        world.write(20).await;
        world.await_applied("near", 40).await;
        world.await_applied("far", 40).await;
        eventually("it rests", async || (world.state("near") == RouteState::Idle).then_some(()))
            .await;
        world.restore(false, &backup).await;
        world.await_applied("near", 40).await;
        world.await_applied("far", 40).await;
        syncline_tests::relays::check(&world.source, &world.target, &["near", "far"]).await;
        world.stop().await;
    }

    /// A dump of an orchestrator in the midst of a saga is restored after its end. What its
    /// participant has answered comes again, though that one has nothing new to say.
    pub(super) async fn a_saga_restored_to_its_middle_is_completed_and_not_taken_back<
        DB: Restore,
    >(
        mut world: World<DB>,
    ) {
        world.stop().await;
        world.source.close().await;
        let (ours, theirs) = (Address::default(), Address::default());
        let participant = Consumer::builder("stock", world.target.clone());
        let participant = participant.participant("cmd.*", Noted).build().expect("a consumer");
        theirs.is(Some(Direct::to(participant)));
        let orders = Orders::<DB>::start(&world.source_url, &theirs, &ours).await;
        let id = orders.begin().await;
        eventually("the first step is applied", async || {
            (DB::applied(&world.target).await.expect("applied").len() == 1).then_some(())
        })
        .await;
        // Its answer has not been sent.
        orders.stop(&ours).await;
        let backup = DB::backup(&world.source_url).await;
        let orders = Orders::<DB>::start(&world.source_url, &theirs, &ours).await;
        let stock = carry(&world.target, "/stock", wire::REPLY, ours.clone()).await;
        orders.is_over(id).await;
        eventually("the participant rests", async || {
            (stock.status()[0].state == RouteState::Idle).then_some(())
        })
        .await;

        orders.stop(&ours).await;
        DB::restore(&world.source_url, &backup).await;
        let pool = DB::connect(&world.source_url, 2).await.expect("connect");
        let head = Rebase::new(Agreed::Head).skip_undelivered();
        eventually("it is rebased", async || head.run(&pool).await.ok()).await;
        pool.close().await;
        let orders = Orders::<DB>::start(&world.source_url, &theirs, &ours).await;
        orders.is_over(id).await;
        let applied = DB::applied(&world.target).await.expect("applied");
        let once = ["cmd.first", "cmd.second"].map(|topic| (topic.to_owned(), 1));
        assert_eq!(applied, once, "each step once, and none is taken back");
        orders.stop(&ours).await;
        stock.stop().await;
    }

    /// A consumer's database goes back: it gets again what it lost, by itself.
    pub(super) async fn a_restored_consumer_gets_again_what_it_lost<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(20).await;
        world.await_applied("near", 20).await;
        world.await_applied("far", 20).await;
        let backup = DB::backup(&world.target_url).await;
        world.write(20).await;
        world.await_applied("near", 40).await;
        world.await_applied("far", 40).await;
        world.restore(false, &backup).await;
        world.write(5).await;
        world.await_applied("near", 45).await;
        world.await_applied("far", 45).await;
        syncline_tests::relays::check(&world.source, &world.target, &["near", "far"]).await;
        world.relay.take().expect("it runs").stop().await;
    }
}

/// Where a service can be reached, while it runs.
#[derive(Clone, Default)]
struct Address(Arc<Mutex<Option<Direct>>>);

impl Address {
    fn is(&self, service: Option<Direct>) {
        *self.0.lock().expect("no panic") = service;
    }
}

#[async_trait]
impl Publisher for Address {
    async fn publish(&self, batch: &Batch) -> Result<Ack, PublishError> {
        let service = self.0.lock().expect("no panic").clone();
        let Some(service) = service else {
            let (target, reason) = ("a service".to_owned(), "it does not run".to_owned());
            return Err(PublishError::Unavailable { target, reason, retry_after: None });
        };
        service.publish(batch).await
    }
}

/// Notes (topic, 1) for what it applies and (topic, -1) for what it takes back.
struct Noted;

#[async_trait]
impl<DB: Kit> SagaHandler<DB> for Noted {
    async fn apply(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
    ) -> Result<Outcome<Value>, HandlerError> {
        DB::note(tx, &command.topic, 1).await?;
        Ok(Outcome::Done(Value::Null))
    }

    async fn compensate(
        &self,
        tx: &mut Transaction<'_, DB>,
        command: &Envelope,
        _applied: &Value,
    ) -> Result<(), HandlerError> {
        DB::note(tx, &command.topic, -1).await?;
        Ok(())
    }
}

/// Carries `topic` of `source`.
async fn carry<DB: Kit>(pool: &Pool<DB>, source: &str, topic: &str, to: Address) -> RelayHandle {
    Relay::builder(source, pool.clone())
        .stream(Stream::new("sagas").topic(topic))
        .route(Route::new("there", "sagas", to))
        .options(|options| {
            options.lease = Duration::from_millis(900);
            options.max_backoff = Duration::from_millis(100);
            options.ask_every = ASK;
        })
        .start()
        .await
        .expect("the relay starts")
}

/// A service that runs sagas.
struct Orders<DB: Kit> {
    pool: Pool<DB>,
    sagas: Sagas<DB>,
    engine: SagasHandle,
    relay: RelayHandle,
}

impl<DB: Kit> Orders<DB> {
    async fn start(url: &str, theirs: &Address, ours: &Address) -> Self {
        let pool = DB::connect(url, 12).await.expect("connect");
        let mut saga = SagaBuilder::<DB, i64>::new("order", 1);
        for (step, topic) in [("first", "cmd.first"), ("second", "cmd.second")] {
            // Not for its own asking again: that is for what was lost on the way.
            let (deadline, silence) = (Duration::from_secs(45), Duration::from_secs(3_600));
            saga.remote::<_, Value>(step, (), move |call| Ok(Message::json(topic, &call.input)?))
                .compensated()
                .deadline(deadline)
                .silence(silence)
                .add();
        }
        let sagas = Sagas::builder("/orders", pool.clone())
            .poll(Duration::from_millis(100))
            .saga(saga.build().expect("a sound definition"))
            .build()
            .expect("an engine");
        let engine = sagas.run().await.expect("it runs");
        let replies = Consumer::builder("orders", pool.clone());
        let replies = replies.batch_handler(wire::REPLY, sagas.replies());
        ours.is(Some(Direct::to(replies.build().expect("a consumer"))));
        let relay = carry(&pool, "/orders", "cmd.*", theirs.clone()).await;
        Self { pool, sagas, engine, relay }
    }

    async fn begin(&self) -> Uuid {
        let mut tx = begin(&self.pool).await.expect("begin");
        let started = self.sagas.start(&mut tx, "order", "1", &1).await.expect("start");
        tx.commit().await.expect("commit");
        started.clone().committed();
        started.id
    }

    async fn is_over(&self, id: Uuid) {
        let status = eventually("it is over", async || {
            let shown = operate::show(&self.pool, id).await.expect("show").expect("there");
            let status = shown.summary.status;
            let goes_on = ["new", "running", "compensating"].contains(&status.as_str());
            (!goes_on).then_some(status)
        })
        .await;
        assert_eq!(status, "completed");
    }

    async fn stop(self, ours: &Address) {
        ours.is(None);
        self.relay.stop().await;
        self.engine.stop().await;
        self.pool.close().await;
    }
}

/// The messages of each key are those that were written, in their order.
fn in_order(applied: &[(String, i64)], written: &[(String, i64)]) {
    for key in (0..KEYS).map(|key| format!("key {key}")) {
        let of = |all: &[(String, i64)]| -> Vec<i64> {
            all.iter().filter(|(k, _)| *k == key).map(|(_, n)| *n).collect()
        };
        assert_eq!(of(applied), of(written), "{key}");
    }
    assert_eq!(applied.len(), written.len());
}

macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
                    super::case::$case::<Postgres>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) {
                    super::case::$case::<MySql>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let ((_a, source), (_b, target)) = (sqlite_database(), sqlite_database());
                super::case::$case::<Sqlite>(World::new(source, target).await).await;
            }
        }
    )*};
}

on_each!(
    a_restored_source_is_noticed_and_repaired,
    a_watermark_moved_by_progress_hides_no_message,
    a_restored_consumer_gets_again_what_it_lost,
    a_consumer_restored_under_a_source_that_rests_gets_what_it_lost,
    a_saga_restored_to_its_middle_is_completed_and_not_taken_back,
    rows_without_a_position_are_named_and_decided_about,
);

/// A dump is restored where transaction ids are lower than where it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_under_lower_transaction_ids_is_sealed_after_a_rebase() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    let mut world = World::<Postgres>::new(source, target).await;
    world.write(24).await;
    world.await_applied("near", 24).await;
    world.await_applied("far", 24).await;
    world.relay.take().expect("it runs").stop().await;
    world.write(12).await;
    // What a dump from such a server holds.
    let far_ahead = "
        -- A dump restores a rule that is not validated after the rows.
        ALTER TABLE syncline_outbox DROP CONSTRAINT syncline_outbox_given;
        UPDATE syncline_outbox SET xid = (xid::text::bigint + 1000000)::text::xid8;
        UPDATE syncline_seal SET lows = '{}', snapshot = format('%s:%s:',
            pg_snapshot_xmin(snapshot)::text::bigint + 1000000,
            pg_snapshot_xmax(snapshot)::text::bigint + 1000000)::pg_snapshot;
        ALTER TABLE syncline_outbox ADD CONSTRAINT syncline_outbox_given CHECK (
            xid = pg_current_xact_id() AND seq = currval('syncline_outbox_seq')) NOT VALID";
    sqlx::raw_sql(far_ahead).execute(&world.source).await.expect("as in a dump");
    world.start().await;
    world.write(12).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(world.applied("near").await.len(), 24, "nothing is sealed");

    let undecided = Rebase::new(Agreed::Head);
    let refused = undecided.run(&world.source).await.expect_err("24 messages may come twice");
    assert!(refused.to_string().contains("24 committed messages have no position"), "{refused}");
    let preview = undecided.preview(&world.source).await.expect("preview");
    assert_eq!((preview.agreed, preview.unsealed), (Position(24), 24));
    assert_eq!(preview.first_unsealed.len(), 20);

    let begun = undecided.unsealed(Unsealed::Send).run(&world.source).await.expect("rebase");
    assert_eq!((begun.agreed, begun.rewritten), (Position(24), 24));
    world.write(12).await;
    syncline_tests::relays::check(&world.source, &world.target, &["near", "far"]).await;
    world.relay.take().expect("it runs").stop().await;
}
