//! MariaDB 10.6 or MySQL 8.0.16, or newer.

mod inspect;
mod lease;
mod log;
mod migrate;
mod outbox;
mod settings;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Executor, MySql, MySqlPool, Pool, Row, Transaction, mysql::MySqlPoolOptions};
use uuid::Uuid;

use super::shared::{
    InboxColumns, RouteColumns, SagaColumns, TERMS, TIMER, ahead_store, barrier_store, from_millis,
    held_store, hex, inbox_row, incarnation_store, inserted, json, json_parts, millis, route_row,
    route_stores, saga_inspect, saga_store, saga_summary, shared_reads, shared_stores,
    split_subject, sql, timer_subject,
};
use super::{
    Ahead, AheadRow, AheadStore, AppliedMigration, BarrierKey, BarrierRow, BarrierStore, Base,
    Cursor, DueKey, Edited, Former, HeldMessage, HeldReason, HeldStore, Holding, InboxRow,
    InboxStore, IncarnationStore, LogStore, MemberStore, Met, NewSaga, NewShard, PageLimit,
    Pending, RouteLag, RouteRow, RouteStore, SagaChanges, SagaEvent, SagaFilter, SagaInspect,
    SagaLock, SagaLogRow, SagaRow, SagaStore, SagaSummary, SagaTimer, Save, Server, ShardKey,
    Steps, StreamStore, StreamVersion, Term, saga_owner,
};
use crate::{
    Error, Result, begin,
    error::mysql_number,
    message::{Envelope, Link, Origin, Position, encode_envelope},
};

shared_stores!(MySql, "mysql");
route_stores!(MySql, "mysql");
shared_reads!(MySql, "mysql");
held_store!(MySql, "mysql");
ahead_store!(MySql, "mysql");
saga_inspect!(MySql, "mysql");
saga_store!(MySql, "mysql");
barrier_store!(MySql, "mysql", "barrier_make");
incarnation_store!(MySql, "mysql");

/// ER_SP_DOES_NOT_EXIST: also said of a savepoint.
const NO_SAVEPOINT: u16 = 1305;

#[async_trait]
impl Base for MySql {
    const LABEL: &'static str = "MySQL/MariaDB";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::MYSQL;

    async fn begin_write(pool: MySqlPool) -> sqlx::Result<Transaction<'static, Self>> {
        pool.begin_with(include_str!("mysql/sql/begin.sql")).await
    }

    async fn still_open(tx: &mut Transaction<'_, Self>) -> Result<()> {
        let done = tx.execute(sqlx::raw_sql(include_str!("mysql/sql/still_open.sql"))).await;
        match done {
            Ok(_) => Ok(()),
            Err(error) if mysql_number(&error) == Some(NO_SAVEPOINT) => Err(Error::TransactionLost),
            Err(error) => Err(Error::database("look whether the transaction is open")(error)),
        }
    }

    fn relay_pool(pool: &MySqlPool, connections: u32, met: Met) -> MySqlPool {
        MySqlPoolOptions::new()
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
