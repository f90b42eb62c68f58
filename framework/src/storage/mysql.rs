//! MariaDB 10.6 or MySQL 8.0.16, or newer.

mod blocking;
mod inspect;
mod lease;
mod log;
mod migrate;
mod outbox;
mod session;
mod settings;
mod version;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use sqlx::{
    AssertSqlSafe, Executor, MySql, MySqlPool, Pool, Row, Transaction, mysql::MySqlPoolOptions,
};
use uuid::Uuid;

use super::shared::{
    Bound, DELAYED, InboxColumns, KnownColumns, ListedInbox, PulseRow, SagaColumns, TERMS, TIMER,
    ahead_store, barrier_store, beat_apart, delay_store, ended, found, from_millis, headers_text,
    held_store, hex, idempotency_store, inbox_row, incarnation_store, inserted, json, json_parts,
    listed_inbox, millis, move_due, operation_store, process_store, pulse_store, reapply_store,
    retention_store, route_stores, routes_taken_over, saga_apart, saga_inspect, saga_steps,
    saga_store, saga_summary, saga_watch, save_rows, savepoint_sql, shared_reads, shared_stores,
    split_subject, sql, step, timer_subject,
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
    SourceRole, Steps, StreamStore, StreamVersion, Swept, Term, UnsealedRow,
    begin::{FORGETTING, reading, resting, with_secret},
    pool::{release_within, trusting},
    saga_owner,
};
use crate::{
    Error, Result, begin,
    error::mysql_number,
    message::{Due, Envelope, Link, Message, Origin, Position, encode_envelope},
};

/// How long a connection of the relay's may take to be ready again after its use.
const RELEASE: Duration = Duration::from_secs(5);

shared_stores!(MySql, "mysql");
route_stores!(MySql, "mysql");
shared_reads!(MySql, "mysql");
idempotency_store!(MySql, "mysql");
move_due!(MySql, "mysql");
delay_store!(MySql, "mysql", naive, naive, move_due);
held_store!(MySql, "mysql");
ahead_store!(MySql, "mysql");
reapply_store!(MySql, "mysql");
process_store!(MySql, "mysql");
operation_store!(MySql, "mysql");
saga_inspect!(MySql, "mysql");
saga_watch!(MySql, "mysql");
saga_apart!(MySql, "mysql");
saga_store!(MySql, "mysql", create_saga, save_sagas);
beat_apart!(MySql, "mysql");
pulse_store!(MySql, "mysql", beat, log log log consumers consumers sagas sagas within);
barrier_store!(MySql, "mysql", "barrier_make");
incarnation_store!(
    MySql,
    "mysql",
    async fn first_unsealed(pool: &MySqlPool, most: i64) -> Result<Vec<UnsealedRow>> {
        log::first_unsealed(pool, most).await
    },
    async fn discard_unsealed(tx: &mut Transaction<'_, MySql>) -> Result<u64> {
        log::discard_unsealed(tx).await
    }
);
retention_store!(
    MySql,
    "mysql",
    async fn trim_to(_pool: &MySqlPool, from: Cursor, goal: Position) -> Result<Option<Cursor>> {
        Ok(step(from, goal))
    },
    async fn sweep(pool: &MySqlPool, most: i64) -> Result<Swept> {
        let failed = "remove what is no longer kept";
        let rows: Vec<i64> = sqlx::query_scalar(include_str!("mysql/sql/sweep_find.sql"))
            .bind(most)
            .fetch_all(pool)
            .await
            .map_err(Error::database(failed))?;
        if rows.is_empty() {
            return Ok(Swept::default());
        }
        let mut tx = begin(pool).await?;
        let gone = sqlx::query(include_str!("mysql/sql/sweep_rows.sql"))
            .bind(sqlx::types::Json(&rows))
            .execute(&mut *tx)
            .await
            .map_err(Error::database(failed))?;
        tx.commit().await.map_err(Error::database(failed))?;
        let more = rows.len() as i64 >= most;
        Ok(Swept { rows: gone.rows_affected(), more, ..Swept::default() })
    }
);

/// Nothing keeps rows from being removed.
async fn held_back(_pool: &MySqlPool, _longer: Duration) -> Result<Vec<(String, Duration)>> {
    Ok(Vec::new())
}

/// A time in UTC, whatever the session's time zone is.
fn naive(time: DateTime<Utc>) -> NaiveDateTime {
    time.naive_utc()
}

/// A text as it is sent: the server takes bytes as they are, whatever the session's character set is.
fn text(text: &str) -> &[u8] {
    text.as_bytes()
}

/// ER_SP_DOES_NOT_EXIST: also said of a savepoint.
const NO_SAVEPOINT: u16 = 1305;

#[async_trait]
impl Base for MySql {
    const LABEL: &'static str = "MySQL/MariaDB";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::MYSQL;
    const FORMER: &'static [(i64, &'static str)] = syncline_migrations::MYSQL_FORMER;
    const READS_UNCOMMITTED: bool = true;

    async fn check_session(pool: &MySqlPool) -> Result<()> {
        session::check(pool).await
    }

    async fn check_server(pool: &MySqlPool) -> Result<()> {
        version::check(pool).await
    }

    async fn write_nothing(tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        tx.execute(include_str!("mysql/sql/write_nothing.sql")).await.map(drop)
    }

    fn begin_sql(how: Opening) -> AssertSqlSafe<String> {
        match how {
            Opening::Write => with_secret(include_str!("mysql/sql/begin_write.sql")),
            Opening::Plain => with_secret(include_str!("mysql/sql/begin.sql")),
            Opening::Bounded(rest) => {
                with_secret(&resting(include_str!("mysql/sql/begin_bounded.sql"), rest))
            }
            Opening::Limited => with_secret(include_str!("mysql/sql/begin_limited.sql")),
        }
    }

    /// A subquery of more than one row.
    const READ_ONLY_SIGN: Option<&'static str> = Some("21000");

    fn own_pool(pool: &MySqlPool, connections: u32) -> Option<MySqlPool> {
        let options = pool.options().clone().min_connections(0).max_connections(connections);
        Some(options.connect_lazy_with((*pool.connect_options()).clone()))
    }

    async fn still_open(tx: &mut Transaction<'_, Self>, _mark: &Mark) -> Result<()> {
        let still_open = with_secret(include_str!("mysql/sql/still_open.sql"));
        match tx.execute(sqlx::raw_sql(still_open)).await {
            Ok(_) => Ok(()),
            Err(error) if mysql_number(&error) == Some(NO_SAVEPOINT) => Err(Error::TransactionLost),
            Err(error) => Err(Error::database("look whether the transaction is open")(error)),
        }
    }

    async fn savepoint(tx: &mut Transaction<'_, Self>, what: Savepoint) -> sqlx::Result<()> {
        tx.execute(sqlx::raw_sql(savepoint_sql!(what, "mysql"))).await.map(drop)
    }

    fn relay_pool(pool: &MySqlPool, connections: u32, met: Met) -> MySqlPool {
        release_within(RELEASE, trusting(MySqlPoolOptions::new()))
            .max_connections(connections)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .after_connect(move |connection, _| {
                let met = Arc::clone(&met);
                Box::pin(async move {
                    let settings = sqlx::raw_sql(include_str!("mysql/sql/relay_session.sql"));
                    connection.execute(settings).await?;
                    let server = sqlx::query_as(include_str!("mysql/sql/server.sql"));
                    let (name, now): (String, i64) = server.fetch_one(&mut *connection).await?;
                    let uptime = sqlx::query_as(include_str!("mysql/sql/uptime.sql"));
                    let (_, uptime): (String, String) = uptime.fetch_one(connection).await?;
                    let started = now - uptime.parse().unwrap_or(now);
                    met(Server { name, started });
                    Ok(())
                })
            })
            .connect_lazy_with((*pool.connect_options()).clone())
    }

    async fn run_migrations(pool: &MySqlPool, steps: Steps) -> Result<Vec<i64>> {
        migrate::run(pool, steps).await
    }

    async fn applied_migrations(pool: &MySqlPool) -> Result<Vec<AppliedMigration>> {
        applied_migrations(pool).await
    }

    async fn interrupted_migration(pool: &MySqlPool) -> Result<Option<i64>> {
        migrate::interrupted(pool).await
    }

    async fn lost_with(
        connection: &mut Self::Connection,
        version: i64,
        first: bool,
    ) -> Result<i64> {
        migrate::lost_with(connection, version, first).await
    }
}
