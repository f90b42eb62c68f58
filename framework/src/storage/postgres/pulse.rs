//! A relay process renews everything that it has by one statement, which pulses as well.

use sqlx::{PgPool, types::Json};

use crate::{
    Error, Result,
    storage::{
        Awaited, Beat, Beating,
        shared::{Bound, PulseRow, found, in_order, leases, millis},
    },
};

pub(super) async fn beat(pool: &PgPool, of: Beating<'_>, awaited: &Awaited) -> Result<Beat> {
    let bound = Bound::new(awaited)?;
    let statement = concat!(include_str!("sql/beat.sql"), include_str!("sql/pulse.sql"));
    let rows: Vec<PulseRow> = sqlx::query_as(statement)
        .bind(bound.log)
        .bind(bound.consumers)
        .bind(bound.sagas)
        .bind(bound.within)
        .bind(Json(in_order(of.leases)))
        .bind(of.holder)
        .bind(millis(of.ttl))
        .bind(Json(of.routes))
        .fetch_all(pool)
        .await
        .map_err(Error::database("renew what a relay process has"))?;
    let (mut granted, mut seen, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (what, text, number) in rows {
        match (what.as_str(), number) {
            ("lease", Some(epoch)) => granted.push((text, epoch)),
            ("seen", _) => seen.push(text),
            _ => others.push((what, text, number)),
        }
    }
    seen.sort_unstable();
    let leases = leases(of.leases, of.holder, &granted);
    Ok(Beat { leases, seen, found: found(others) })
}
