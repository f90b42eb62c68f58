//! PostgreSQL 14 or newer.

mod inspect;
mod log;
mod migrate;
mod outbox;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{PgPool, Pool, Postgres, Row, Transaction, postgres::PgPoolOptions};
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

lease_store!(Postgres, "postgres");
shared_stores!(Postgres, "postgres");
shared_reads!(Postgres, "postgres");
route_stores!(Postgres, "postgres");
held_store!(Postgres, "postgres");
ahead_store!(Postgres, "postgres");
saga_inspect!(Postgres, "postgres");
saga_store!(Postgres, "postgres");
barrier_store!(Postgres, "postgres");
incarnation_store!(
    Postgres,
    "postgres",
    async fn check_sealable(pool: &PgPool) -> Result<()> {
        log::check_sealable(pool).await
    },
    async fn reseal(tx: &mut Transaction<'_, Postgres>) -> Result<u64> {
        log::reseal(tx).await
    }
);

#[async_trait]
impl Base for Postgres {
    const LABEL: &'static str = "PostgreSQL";
    const MIGRATIONS: &'static [syncline_migrations::Migration] = syncline_migrations::POSTGRES;

    async fn begin_write(pool: PgPool) -> sqlx::Result<Transaction<'static, Self>> {
        pool.begin().await
    }

    fn relay_pool(pool: &PgPool, connections: u32, met: Met) -> PgPool {
        // A position may be published only when a power cut cannot give it to another message.
        let options = (*pool.connect_options()).clone().options([("synchronous_commit", "on")]);
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(pool.options().get_acquire_timeout())
            .after_connect(move |connection, _| {
                let met = Arc::clone(&met);
                Box::pin(async move {
                    let name = sqlx::query_scalar(include_str!("postgres/sql/server.sql"));
                    met(Server { name: name.fetch_one(connection).await?, started: 0 });
                    Ok(())
                })
            })
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
