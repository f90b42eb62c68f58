//! SQLite, bundled.

#[cfg(any(test, feature = "testing"))]
pub(crate) mod explored;
mod inspect;
mod log;
mod migrate;
mod outbox;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    AssertSqlSafe, Connection, Executor, Pool, Row, Sqlite, SqlitePool, Transaction,
    pool::PoolConnection, sqlite::SqlitePoolOptions,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::shared::{
    Bound, DELAYED, InboxColumns, KnownColumns, ListedInbox, PulseRow, SagaColumns, TERMS, TIMER,
    ahead_store, barrier_store, beat_apart, delay_store, ended, found, from_millis, headers_text,
    held_store, hex, idempotency_store, in_order, inbox_row, incarnation_store, inserted, json,
    json_parts, lease_store, leases, listed_inbox, millis, move_due, operation_store,
    process_store, pulse_store, reapply_store, retention_store, route_stores, routes_taken_over,
    saga_apart, saga_inspect, saga_steps, saga_store, saga_summary, saga_watch, save_rows,
    savepoint_sql, shared_reads, shared_stores, split_subject, sql, step, timer_subject,
};
use super::{
    Aged, Ahead, AheadRow, AheadStore, Anchor, Appended, AppliedMigration, Awaited, BarrierKey,
    BarrierRecord, BarrierRow, BarrierStep, BarrierStore, Base, Beat, Beating, Checkpoint, Cursor,
    DelayStore, Delayed, DelayedMessage, DueKey, Edited, Former, Found, FoundProblem, HeldMessage,
    HeldReason, HeldStore, Holding, IdempotencyStore, Inbox, InboxRow, InboxStore,
    IncarnationStore, Kept, Known, Lease, LeaseStore, LogStore, Mark, MemberStore, Met, NewPause,
    NewSaga, NewShard, NewVersion, Opening, OverdueKeys, PageLimit, Patience, Pending, PulseStore,
    ReapplyStore, RetentionStore, RouteLag, RoutePause, RouteProblem, RouteRow, RouteStore,
    SagaChanges, SagaEvent, SagaFilter, SagaInspect, SagaLock, SagaLogRow, SagaRow, SagaSteps,
    SagaStore, SagaSummary, SagaTimer, SagaWatch, Save, Savepoint, Server, SetAside, ShardKey,
    SourceRole, Steps, StreamStore, StreamVersion, Swept, Term,
    begin::{FORGETTING, reading, with_secret},
    pool::trusting,
    saga_owner,
};
use crate::{
    Error, Result, begin,
    message::{Due, Envelope, Link, Message, Origin, Position, encode_envelope},
};

/// A connection's thread that has panicked has ended after this.
const ENDING: Duration = Duration::from_millis(250);

lease_store!(Sqlite, "sqlite");
shared_stores!(Sqlite, "sqlite");
shared_reads!(Sqlite, "sqlite");
route_stores!(Sqlite, "sqlite");
idempotency_store!(Sqlite, "sqlite");
move_due!(Sqlite, "sqlite");
delay_store!(Sqlite, "sqlite", micros, unix_millis, move_due);
held_store!(Sqlite, "sqlite");
ahead_store!(Sqlite, "sqlite");
reapply_store!(Sqlite, "sqlite");
process_store!(Sqlite, "sqlite");
operation_store!(Sqlite, "sqlite");
saga_inspect!(Sqlite, "sqlite");
saga_watch!(Sqlite, "sqlite");
saga_apart!(Sqlite, "sqlite");
saga_store!(Sqlite, "sqlite", create_saga, save_sagas);
beat_apart!(Sqlite, "sqlite");
pulse_store!(Sqlite, "sqlite", beat, log consumers sagas within);
barrier_store!(Sqlite, "sqlite");
incarnation_store!(Sqlite, "sqlite");
retention_store!(
    Sqlite,
    "sqlite",
    async fn trim_to(_pool: &SqlitePool, from: Cursor, goal: Position) -> Result<Option<Cursor>> {
        Ok(step(from, goal))
    },
    async fn sweep(pool: &SqlitePool, most: i64) -> Result<Swept> {
        let gone = sqlx::query(include_str!("sqlite/sql/sweep_rows.sql"))
            .bind(most)
            .execute(pool)
            .await
            .map_err(Error::database("remove what is no longer kept"))?;
        let rows = gone.rows_affected();
        Ok(Swept { rows, more: rows >= most.unsigned_abs(), ..Swept::default() })
    }
);

/// Nothing keeps rows from being removed.
async fn held_back(_pool: &SqlitePool, _longer: Duration) -> Result<Vec<(String, Duration)>> {
    Ok(Vec::new())
}

/// What SQLite says where a savepoint is not set, or no transaction is open.
const NO_SAVEPOINT: &str = "no such savepoint";

/// As messages have their times.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// As all other tables have theirs.
fn unix_millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A text as it is sent.
fn text(text: &str) -> &str {
    text
}

#[async_trait]
impl Base for Sqlite {
    const LABEL: &'static str = "SQLite";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::SQLITE;

    async fn check_server(pool: &SqlitePool) -> Result<()> {
        inspect::check_server(pool).await
    }

    async fn write_nothing(tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        tx.execute(include_str!("sqlite/sql/write_nothing.sql")).await.map(drop)
    }

    fn begin_sql(_how: Opening) -> AssertSqlSafe<String> {
        with_secret(include_str!("sqlite/sql/begin.sql"))
    }

    async fn connection(pool: &SqlitePool) -> sqlx::Result<PoolConnection<Self>> {
        loop {
            let connection = pool.acquire().await?;
            // sqlx does not learn that SQLite has ended a transaction by itself, as when the disk
            // was full: such a connection would refuse to begin another one for ever.
            if !connection.is_in_transaction() {
                return Ok(connection);
            }
            drop(connection.close().await);
        }
    }

    fn goes_with_connections(pool: &SqlitePool) -> bool {
        let file = pool.connect_options().get_filename().to_string_lossy().into_owned();
        file.is_empty() || file.contains(":memory:") || file.contains("mode=memory")
    }

    async fn still_open(tx: &mut Transaction<'_, Self>, _mark: &Mark) -> Result<()> {
        Self::after_user_code(tx)
            .await
            .map_err(Error::database("look whether the transaction is open"))?;
        let still_open = with_secret(include_str!("sqlite/sql/still_open.sql"));
        match tx.execute(sqlx::raw_sql(still_open)).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) if error.message().contains(NO_SAVEPOINT) => {
                Err(Error::TransactionLost)
            }
            Err(error) => Err(Error::database("look whether the transaction is open")(error)),
        }
    }

    async fn after_user_code(tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        // A connection's thread that has panicked never answers to what it was sent before it had
        // ended (sqlx 0.9.0); what is sent later fails.
        timeout(ENDING, tx.ping()).await.unwrap_or(Ok(()))
    }

    async fn savepoint(tx: &mut Transaction<'_, Self>, what: Savepoint) -> sqlx::Result<()> {
        Self::after_user_code(tx).await?;
        tx.execute(sqlx::raw_sql(savepoint_sql!(what, "sqlite"))).await.map(drop)
    }

    fn relay_pool(pool: &SqlitePool, connections: u32, met: Met) -> SqlitePool {
        let file = pool.connect_options().get_filename().to_owned();
        trusting(SqlitePoolOptions::new())
            .max_connections(connections)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .after_connect(move |_, _| {
                met(Server { name: identity(&file), started: 0 });
                Box::pin(async { Ok(()) })
            })
            .connect_lazy_with((*pool.connect_options()).clone())
    }

    async fn check_encoding(pool: &SqlitePool) -> Result<()> {
        let found: String = sqlx::query_scalar(include_str!("sqlite/sql/encoding.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("read the database's encoding"))?;
        match found.as_str() {
            "UTF-8" => Ok(()),
            _ => Err(Error::Unfit {
                setting: "PRAGMA encoding",
                found,
                remedy: "messages are UTF-8: make a new database file, and move the data there",
            }),
        }
    }

    async fn run_migrations(pool: &SqlitePool, steps: Steps) -> Result<Vec<i64>> {
        migrate::run(pool, steps).await
    }

    async fn applied_migrations(pool: &SqlitePool) -> Result<Vec<AppliedMigration>> {
        applied_migrations(pool).await
    }

    async fn lost_with(
        connection: &mut Self::Connection,
        version: i64,
        first: bool,
    ) -> Result<i64> {
        migrate::lost_with(connection, version, first).await
    }
}

/// Tells a file from another one that was put in its place.
#[cfg(unix)]
fn identity(file: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(file).map(|found| format!("{}:{}", found.dev(), found.ino()));
    found.unwrap_or_default()
}

#[cfg(not(unix))]
fn identity(_file: &std::path::Path) -> String {
    String::new()
}
