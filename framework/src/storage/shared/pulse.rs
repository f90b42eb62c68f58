//! The question that idle processes ask. Values are bound in the order in which the statements
//! name them.

/// Implements the pulse for `$db` over `storage/$dir/sql/pulse.sql`, which names `$value`s in this
/// order; `$beat` renews leases and memberships.
macro_rules! pulse_store {
    ($db:ty, $dir:literal, $beat:path, $($value:ident)*) => {
        #[async_trait]
        impl PulseStore for $db {
            async fn pulse(pool: &Pool<Self>, awaited: &Awaited) -> Result<Found> {
                let bound = Bound::new(awaited)?;
                let rows: Vec<PulseRow> = sqlx::query_as(sql!($dir, "pulse"))
                    $(.bind(&bound.$value))*
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("look whether something is there"))?;
                Ok(found(rows))
            }

            async fn beat(pool: &Pool<Self>, of: Beating<'_>, awaited: &Awaited) -> Result<Beat> {
                $beat(pool, of, awaited).await
            }
        }
    };
}
pub(in crate::storage) use pulse_store;

/// Defines for `$db`, over `storage/$dir/sql`, how leases and memberships are renewed where one
/// statement cannot do it.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! beat_apart {
    ($db:ty, $dir:literal) => {
        async fn beat(pool: &Pool<$db>, of: Beating<'_>, awaited: &Awaited) -> Result<Beat> {
            let failed = "renew what a relay process has";
            let leases = match of.leases.is_empty() {
                true => Vec::new(),
                false => <$db>::acquire_all(pool, of.leases, of.holder, of.ttl).await?,
            };
            if !of.routes.is_empty() {
                sqlx::query(sql!($dir, "member_set"))
                    .bind(of.holder)
                    .bind(millis(of.ttl))
                    .bind(sqlx::types::Json(of.routes))
                    .execute(pool)
                    .await
                    .map_err(Error::database(failed))?;
            }
            let mut seen: Vec<String> = sqlx::query_scalar(sql!($dir, "seen"))
                .fetch_all(pool)
                .await
                .map_err(Error::database(failed))?;
            seen.sort_unstable();
            let found = <$db>::pulse(pool, awaited).await?;
            Ok(Beat { leases, seen, found })
        }
    };
}
#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(in crate::storage) use beat_apart;

use std::time::Duration;

use super::{json, millis};
use crate::{
    Result,
    message::Position,
    storage::{Awaited, Found},
};

/// What is awaited, as statements take it.
pub(in crate::storage) struct Bound {
    pub(in crate::storage) log: bool,
    pub(in crate::storage) consumers: String,
    pub(in crate::storage) sagas: String,
    pub(in crate::storage) within: i64,
}

impl Bound {
    pub(in crate::storage) fn new(awaited: &Awaited) -> Result<Self> {
        let Awaited { log, consumers, sagas, within } = awaited;
        let (consumers, sagas) = (json(consumers)?, json(sagas)?);
        Ok(Self { log: *log, consumers, sagas, within: millis(*within) })
    }
}

/// What it is about, whose it is, and a number: a position, or milliseconds from now.
pub(in crate::storage) type PulseRow = (String, String, Option<i64>);

pub(in crate::storage) fn found(rows: Vec<PulseRow>) -> Found {
    let mut found = Found::default();
    for (what, owner, number) in rows {
        let Some(number) = number else { continue };
        let due = Duration::from_millis(u64::try_from(number).unwrap_or(0));
        match what.as_str() {
            "head" => found.head = Some(Position(number)),
            "unsealed" => found.unsealed = true,
            "delayed" => found.delayed = Some(due),
            "parked" => drop(found.parked.insert(owner, due)),
            "ahead" => drop(found.ahead.insert(owner)),
            // Events, or a timer.
            "saga" => found.sagas = Some(found.sagas.map_or(due, |before| before.min(due))),
            _ => {}
        }
    }
    found
}
