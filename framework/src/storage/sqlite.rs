//! SQLite, bundled.

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
    DELAYED, InboxColumns, KnownColumns, RouteColumns, TERMS, TIMER, ahead_store, delay_millis,
    delay_store, from_millis, headers_text, held_store, idempotency_store, inbox_row,
    incarnation_store, inserted, lease_store, millis, move_due, route_row, route_stores,
    shared_reads, shared_stores, split_subject, sql, timer_subject,
};
use super::{
    Ahead, AheadRow, AheadStore, Appended, AppliedMigration, Base, Cursor, DelayStore, Delayed,
    DueKey, Edited, Former, HeldMessage, HeldReason, HeldStore, Holding, IdempotencyStore,
    InboxRow, InboxStore, IncarnationStore, Known, Lease, LeaseStore, LogStore, MemberStore, Met,
    NewShard, PageLimit, RouteLag, RouteRow, RouteStore, Save, Server, ShardKey, Steps,
    StreamStore, StreamVersion, Term,
};
use crate::{
    Error, Result, begin,
    message::{Due, Envelope, Link, Message, Origin, Position, encode_envelope},
};

lease_store!(Sqlite, "sqlite");
shared_stores!(Sqlite, "sqlite");
shared_reads!(Sqlite, "sqlite");
route_stores!(Sqlite, "sqlite");
idempotency_store!(Sqlite, "sqlite");
move_due!(Sqlite, "sqlite");
delay_store!(Sqlite, "sqlite", micros, unix_millis, move_due);
held_store!(Sqlite, "sqlite");
ahead_store!(Sqlite, "sqlite");
incarnation_store!(Sqlite, "sqlite");

/// As messages have their times.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// As all other tables have theirs.
fn unix_millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

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
