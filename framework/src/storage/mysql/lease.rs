//! Leases: taken by one statement and looked at by a second one, for MySQL returns nothing from
//! the first.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{MySql, MySqlConnection, MySqlPool};
use uuid::Uuid;

use crate::{
    Error, Result, begin,
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
        let mut connection = pool.acquire().await.map_err(Error::database("acquire a lease"))?;
        acquire(&mut connection, name, holder, ttl).await
    }

    async fn acquire_all(
        pool: &MySqlPool,
        names: &[String],
        holder: Uuid,
        ttl: Duration,
    ) -> Result<Vec<Option<Lease>>> {
        let mut tx = begin(pool).await?;
        // In one order, so that two transactions cannot wait for each other.
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|a, b| names[*a].cmp(&names[*b]));
        let mut leases = vec![None; names.len()];
        for index in order {
            leases[index] = acquire(&mut tx, &names[index], holder, ttl).await?;
        }
        tx.commit().await.map_err(Error::database("acquire leases"))?;
        Ok(leases)
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

async fn acquire(
    connection: &mut MySqlConnection,
    name: &str,
    holder: Uuid,
    ttl: Duration,
) -> Result<Option<Lease>> {
    let failed = "acquire a lease";
    sqlx::query(include_str!("sql/lease_acquire.sql"))
        .bind(name)
        .bind(holder)
        .bind(millis(ttl))
        .execute(&mut *connection)
        .await
        .map_err(Error::database(failed))?;
    // Whoever is the holder now has just taken or renewed it: nobody else writes this holder.
    let epoch: Option<i64> = sqlx::query_scalar(include_str!("sql/lease_epoch.sql"))
        .bind(name)
        .bind(holder)
        .fetch_optional(connection)
        .await
        .map_err(Error::database(failed))?;
    Ok(epoch.map(|epoch| Lease { name: name.to_owned(), holder, epoch }))
}
