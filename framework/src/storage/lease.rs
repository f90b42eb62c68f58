//! Leases: the right to be the only one that does a thing, for a time.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Pool;
use uuid::Uuid;

use super::Base;
use crate::Result;

/// A lease that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for, such as `seal` or `route/login`.
    pub name: String,
    /// Who holds it.
    pub holder: Uuid,
    /// Higher for each new holder: the fencing epoch.
    pub epoch: i64,
}

/// Leases by the database's clock.
#[async_trait]
pub trait LeaseStore: Base {
    /// Takes the lease `name`, or renews it for its holder, for `ttl`. None while somebody
    /// else holds it. A new holder gets a higher epoch; renewing keeps it.
    async fn acquire(
        pool: &Pool<Self>,
        name: &str,
        holder: Uuid,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        let mut leases = Self::acquire_all(pool, &[name.to_owned()], holder, ttl).await?;
        Ok(leases.pop().flatten())
    }

    /// [`LeaseStore::acquire`] for many leases, in one statement that commits by itself, so that
    /// a process that is frozen meanwhile leaves no lock; one answer each.
    async fn acquire_all(
        pool: &Pool<Self>,
        names: &[String],
        holder: Uuid,
        ttl: Duration,
    ) -> Result<Vec<Option<Lease>>>;

    /// Gives the lease back, if it is still held.
    async fn release(pool: &Pool<Self>, lease: &Lease) -> Result<()>;
}
