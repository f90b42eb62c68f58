//! PostgreSQL 14 or newer.

mod delayed;
mod inbox;
mod inspect;
mod listener;
mod log;
mod migrate;
mod outbox;
mod pulse;
mod reseal;
mod retention;
mod saga;
mod session;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{
    AssertSqlSafe, Executor, PgPool, Pool, Postgres, Row, Transaction, postgres::PgPoolOptions,
};
use uuid::Uuid;

use retention::held_back;

use super::shared::{
    Bound, DELAYED, InboxColumns, KnownColumns, ListedInbox, PulseRow, SagaColumns, TERMS, TIMER,
    ahead_store, barrier_store, delay_store, found, from_millis, headers_text, held_store, hex,
    idempotency_store, in_order, inbox_row, incarnation_store, inserted, json, json_parts,
    lease_store, leases, listed_inbox, millis, operation_store, process_store, pulse_store,
    reapply_store, retention_store, route_stores, routes_taken_over, saga_inspect, saga_steps,
    saga_store, saga_summary, saga_watch, save_rows, savepoint_sql, shared_reads, shared_stores,
    split_subject, sql, timer_subject,
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
    pool::trusting,
};
use crate::{
    Error, Result, begin,
    message::{Due, Envelope, Link, Message, Origin, Position, encode_envelope},
};

lease_store!(Postgres, "postgres");
shared_stores!(
    Postgres,
    "postgres",
    async fn lock_inbox_asking(
        tx: &mut Transaction<'_, Postgres>,
        consumer: &str,
        origin: &Origin,
        first: InboxRow,
    ) -> Result<(InboxRow, Option<bool>)> {
        inbox::lock_asking(tx, consumer, origin, first).await
    }
);
shared_reads!(Postgres, "postgres");
route_stores!(Postgres, "postgres");
idempotency_store!(Postgres, "postgres");
delay_store!(Postgres, "postgres", keep, keep, delayed::move_due);
held_store!(Postgres, "postgres");
ahead_store!(Postgres, "postgres");
reapply_store!(Postgres, "postgres");
process_store!(Postgres, "postgres");
operation_store!(Postgres, "postgres");
saga_inspect!(Postgres, "postgres");
saga_watch!(Postgres, "postgres");
saga_store!(Postgres, "postgres", saga::create, saga::save);
pulse_store!(Postgres, "postgres", pulse::beat, log consumers sagas within);
barrier_store!(Postgres, "postgres");
incarnation_store!(
    Postgres,
    "postgres",
    async fn check_sealable(pool: &PgPool) -> Result<()> {
        reseal::check_sealable(pool).await
    },
    async fn first_unsealed(pool: &PgPool, most: i64) -> Result<Vec<UnsealedRow>> {
        reseal::first_unsealed(pool, most).await
    },
    async fn discard_unsealed(tx: &mut Transaction<'_, Postgres>) -> Result<u64> {
        reseal::discard_unsealed(tx).await
    },
    async fn reseal(tx: &mut Transaction<'_, Postgres>) -> Result<u64> {
        reseal::reseal(tx).await
    }
);

retention_store!(
    Postgres,
    "postgres",
    async fn trim_to(pool: &PgPool, from: Cursor, goal: Position) -> Result<Option<Cursor>> {
        retention::trim_to(pool, from, goal).await
    },
    async fn extend(pool: &PgPool, messages: i64) -> Result<()> {
        retention::extend(pool, messages).await
    },
    async fn sweep(pool: &PgPool, most: i64) -> Result<Swept> {
        retention::sweep(pool, most).await
    }
);
/// Why a connection of the relay's is not used.
const NOT_KEPT: &str = "the session does not keep its settings: a pooler in transaction mode is \
                        before the server; give the relay a direct URL";

/// A time as it is.
fn keep(time: DateTime<Utc>) -> DateTime<Utc> {
    time
}

/// A text as it is sent.
fn text(text: &str) -> &str {
    text
}

#[async_trait]
impl Base for Postgres {
    const LABEL: &'static str = "PostgreSQL";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::POSTGRES;
    const ENGINE_AT_ONCE: u32 = u32::MAX;

    async fn check_server(pool: &PgPool) -> Result<()> {
        inspect::check_server(pool).await
    }

    async fn check_session(pool: &PgPool) -> Result<()> {
        session::check(pool).await
    }

    async fn write_nothing(tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        tx.execute(include_str!("postgres/sql/write_nothing.sql")).await.map(drop)
    }

    fn begin_sql(how: Opening) -> AssertSqlSafe<String> {
        AssertSqlSafe(match how {
            Opening::Write => include_str!("postgres/sql/begin_write.sql").to_owned(),
            Opening::Plain | Opening::Limited => include_str!("postgres/sql/begin.sql").to_owned(),
            Opening::Bounded(rest) => resting(include_str!("postgres/sql/begin_bounded.sql"), rest),
        })
    }

    async fn bound(tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        tx.execute(include_str!("postgres/sql/bound.sql")).await.map(drop)
    }

    /// Division by nought.
    const READ_ONLY_SIGN: Option<&'static str> = Some("22012");

    const SAVE_TELLS: bool = true;

    async fn mark_transaction(tx: &mut Transaction<'_, Self>) -> Result<Mark> {
        let id = sqlx::query_scalar(include_str!("postgres/sql/transaction.sql"));
        let id: String =
            id.fetch_one(&mut **tx).await.map_err(Error::database("mark the transaction"))?;
        Ok(Mark(Some(id)))
    }

    async fn still_open(tx: &mut Transaction<'_, Self>, mark: &Mark) -> Result<()> {
        let failed = "look whether the transaction is open";
        let id = sqlx::query_scalar(include_str!("postgres/sql/still_open.sql"));
        let id: Option<String> = id.fetch_one(&mut **tx).await.map_err(Error::database(failed))?;
        match (id, &mark.0) {
            (None, _) => Err(Error::TransactionLost),
            (Some(id), Some(marked)) if id != *marked => Err(Error::TransactionLost),
            (Some(_), _) => Ok(()),
        }
    }

    fn own_pool(pool: &PgPool, connections: u32) -> Option<PgPool> {
        let options = pool.options().clone().min_connections(0).max_connections(connections);
        Some(options.connect_lazy_with((*pool.connect_options()).clone()))
    }

    async fn savepoint(tx: &mut Transaction<'_, Self>, what: Savepoint) -> sqlx::Result<()> {
        tx.execute(sqlx::raw_sql(savepoint_sql!(what, "postgres"))).await.map(drop)
    }

    fn relay_pool(pool: &PgPool, connections: u32, met: Met) -> PgPool {
        trusting(PgPoolOptions::new())
            .max_connections(connections)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .after_connect(move |connection, _| {
                let met = Arc::clone(&met);
                Box::pin(async move {
                    let settings = sqlx::raw_sql(include_str!("postgres/sql/relay_session.sql"));
                    connection.execute(settings).await?;
                    let set = sqlx::query_scalar(include_str!("postgres/sql/relay_settings.sql"));
                    if !set.fetch_one(&mut *connection).await? {
                        return Err(sqlx::Error::Configuration(NOT_KEPT.into()));
                    }
                    let name = sqlx::query_scalar(include_str!("postgres/sql/server.sql"));
                    met(Server { name: name.fetch_one(connection).await?, started: 0 });
                    Ok(())
                })
            })
            .connect_lazy_with((*pool.connect_options()).clone())
    }

    async fn check_encoding(pool: &PgPool) -> Result<()> {
        let found: String = sqlx::query_scalar(include_str!("postgres/sql/encoding.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("read the database's encoding"))?;
        match found.as_str() {
            "UTF8" => Ok(()),
            _ => Err(Error::Unfit {
                setting: "server_encoding",
                found,
                remedy: "messages are UTF-8: make the database with ENCODING 'UTF8', and move the data there",
            }),
        }
    }

    async fn check_visible(pool: &PgPool) -> Result<()> {
        let hidden: Option<String> = sqlx::query_scalar(include_str!("postgres/sql/hidden.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("look for row level security"))?;
        match hidden {
            None => Ok(()),
            Some(tables) => Err(Error::Unfit {
                setting: "row level security",
                found: format!("active for this role on {tables}"),
                remedy: "what it hides would stand still: ALTER TABLE ... DISABLE ROW LEVEL \
                         SECURITY, or connect as the tables' owner or a role with BYPASSRLS",
            }),
        }
    }

    async fn run_migrations(pool: &PgPool, steps: Steps) -> Result<Vec<i64>> {
        migrate::run(pool, steps).await
    }

    async fn applied_migrations(pool: &PgPool) -> Result<Vec<AppliedMigration>> {
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
