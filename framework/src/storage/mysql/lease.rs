//! Leases: taken by one statement and looked at by a second one, for MySQL returns nothing from
//! the first.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{MySql, MySqlPool, types::Json};
use uuid::Uuid;

use crate::{
    Error, Result,
    storage::{
        Lease, LeaseStore,
        shared::{in_order, leases, millis},
    },
};

#[async_trait]
impl LeaseStore for MySql {
    async fn acquire_all(
        pool: &MySqlPool,
        names: &[String],
        holder: Uuid,
        ttl: Duration,
    ) -> Result<Vec<Option<Lease>>> {
        let failed = "acquire leases";
        let wanted = Json(in_order(names));
        let mut connection = pool.acquire().await.map_err(Error::database(failed))?;
        sqlx::query(include_str!("sql/lease_acquire.sql"))
            .bind(holder)
            .bind(millis(ttl))
            .bind(&wanted)
            .execute(&mut *connection)
            .await
            .map_err(Error::database(failed))?;
        // Whoever is the holder now has just taken or renewed it: nobody else writes this holder.
        let granted: Vec<(String, i64)> = sqlx::query_as(include_str!("sql/lease_epochs.sql"))
            .bind(&wanted)
            .bind(holder)
            .fetch_all(&mut *connection)
            .await
            .map_err(Error::database(failed))?;
        Ok(leases(names, holder, &granted))
    }

    async fn release(pool: &MySqlPool, lease: &Lease) -> Result<()> {
        sqlx::query(include_str!("sql/lease_release.sql"))
            .bind(&lease.name)
            .bind(lease.holder)
            .bind(lease.epoch)
            .execute(pool)
            .await
            .map_err(Error::database("release a lease"))?;
        Ok(())
    }
}
