//! PostgreSQL 14 or newer.

mod inspect;
mod log;
mod migrate;
mod outbox;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{PgPool, Pool, Postgres, Row, Transaction, postgres::PgPoolOptions};
use uuid::Uuid;

use super::shared::{
    InboxColumns, RouteColumns, TIMER, from_millis, held_store, inbox_row, lease_store, millis,
    route_row, route_stores, shared_reads, shared_stores, split_subject, sql, timer_subject,
};
use super::{
    AppliedMigration, Base, Cursor, HeldMessage, HeldReason, HeldStore, Holding, InboxRow,
    InboxStore, Lease, LeaseStore, LogStore, MemberStore, NewShard, PageLimit, RouteLag, RouteRow,
    RouteStore, Save, ShardKey, Steps, StreamStore, StreamVersion,
};
use crate::{
    Error, Result, begin,
    message::{Envelope, Origin, Position, encode_envelope},
};

lease_store!(Postgres, "postgres");
shared_stores!(Postgres, "postgres");
shared_reads!(Postgres, "postgres");
route_stores!(Postgres, "postgres");
held_store!(Postgres, "postgres");

#[async_trait]
impl Base for Postgres {
    const LABEL: &'static str = "PostgreSQL";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::POSTGRES;

    async fn begin_write(pool: PgPool) -> sqlx::Result<Transaction<'static, Self>> {
        pool.begin().await
    }

    fn relay_pool(pool: &PgPool, connections: u32) -> PgPool {
        // A position may be published only when a power cut cannot give it to another message.
        let options = (*pool.connect_options()).clone().options([("synchronous_commit", "on")]);
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .connect_lazy_with(options)
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
