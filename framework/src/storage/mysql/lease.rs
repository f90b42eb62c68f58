//! Leases: taken by one statement and looked at by a second one, for MySQL returns nothing from
//! the first.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{MySql, MySqlPool};
use uuid::Uuid;

use crate::{
    Error, Result,
    storage::{Lease, LeaseStore, shared::millis},
};

#[async_trait]
impl LeaseStore for MySql {
    async fn acquire(
        pool: &MySqlPool,
        name: &str,
        holder: Uuid,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        let failed = "acquire a lease";
        sqlx::query(include_str!("sql/lease_acquire.sql"))
            .bind(name)
            .bind(holder)
            .bind(millis(ttl))
            .execute(pool)
            .await
            .map_err(Error::database(failed))?;
        // Whoever is the holder now has just taken or renewed it: nobody else writes this holder.
        let epoch: Option<i64> = sqlx::query_scalar(include_str!("sql/lease_epoch.sql"))
            .bind(name)
            .bind(holder)
            .fetch_optional(pool)
            .await
            .map_err(Error::database(failed))?;
        Ok(epoch.map(|epoch| Lease { name: name.to_owned(), holder, epoch }))
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
