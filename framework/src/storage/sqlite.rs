//! SQLite, bundled.

#[cfg(any(test, feature = "testing"))]
pub(crate) mod explored;
mod inspect;
mod log;
mod migrate;
mod outbox;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Pool, Row, Sqlite, SqlitePool, Transaction, sqlite::SqlitePoolOptions};
use uuid::Uuid;

use super::shared::{
    InboxColumns, RouteColumns, SagaColumns, TERMS, TIMER, ahead_store, barrier_store, from_millis,
    held_store, hex, inbox_row, incarnation_store, inserted, json, json_parts, lease_store, millis,
    route_row, route_stores, saga_inspect, saga_store, saga_summary, shared_reads, shared_stores,
    split_subject, sql, timer_subject,
};
use super::{
    Ahead, AheadRow, AheadStore, AppliedMigration, BarrierKey, BarrierRow, BarrierStore, Base,
    Cursor, DueKey, Edited, Former, HeldMessage, HeldReason, HeldStore, Holding, InboxRow,
    InboxStore, IncarnationStore, Lease, LeaseStore, LogStore, MemberStore, Met, NewSaga, NewShard,
    PageLimit, Pending, RouteLag, RouteRow, RouteStore, SagaChanges, SagaEvent, SagaFilter,
    SagaInspect, SagaLock, SagaLogRow, SagaRow, SagaStore, SagaSummary, SagaTimer, Save, Server,
    ShardKey, Steps, StreamStore, StreamVersion, Term, saga_owner,
};
use crate::{
    Error, Result, begin,
    message::{Envelope, Link, Origin, Position, encode_envelope},
};

lease_store!(Sqlite, "sqlite");
shared_stores!(Sqlite, "sqlite");
shared_reads!(Sqlite, "sqlite");
route_stores!(Sqlite, "sqlite");
held_store!(Sqlite, "sqlite");
ahead_store!(Sqlite, "sqlite");
saga_inspect!(Sqlite, "sqlite");
saga_store!(Sqlite, "sqlite");
barrier_store!(Sqlite, "sqlite");
incarnation_store!(Sqlite, "sqlite");

#[async_trait]
impl Base for Sqlite {
    const LABEL: &'static str = "SQLite";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::SQLITE;

    async fn begin_write(pool: SqlitePool) -> sqlx::Result<Transaction<'static, Self>> {
        pool.begin_with("BEGIN IMMEDIATE").await
    }

    fn relay_pool(pool: &SqlitePool, connections: u32, met: Met) -> SqlitePool {
        let file = pool.connect_options().get_filename().to_owned();
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .after_connect(move |_, _| {
                met(Server { name: identity(&file), started: 0 });
                Box::pin(async { Ok(()) })
            })
            .connect_lazy_with((*pool.connect_options()).clone())
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
