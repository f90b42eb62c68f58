//! A backlog to a null sink, against an ordered SELECT of the same bytes by the same driver.

use std::time::{Duration, Instant};

use sqlx::{Executor, PgPool, Postgres};
use syncline::{
    enqueue_all,
    storage::{Cursor, LeaseStore, LogStore, PageLimit},
};
use uuid::Uuid;

use crate::{Scale, floor, message, report};

const PAGE: i64 = 5_000;

/// Fills the outbox with a backlog, and `plain` with the same.
pub(crate) async fn fill(pool: &PgPool, backlog: usize, plain: bool) -> anyhow::Result<()> {
    for from in (0..backlog).step_by(5_000) {
        let messages =
            (from..(from + 5_000).min(backlog)).map(message).collect::<anyhow::Result<Vec<_>>>()?;
        let mut tx = pool.begin().await?;
        drop(enqueue_all(&mut tx, &messages).await?);
        if plain {
            floor::insert(&mut tx, &messages).await?;
        }
        tx.commit().await?;
    }
    pool.execute("VACUUM ANALYZE").await?;
    Ok(())
}

pub(crate) async fn run(pool: &PgPool, scale: Scale) -> anyhow::Result<()> {
    fill(pool, scale.backlog, true).await?;
    let lease = Postgres::acquire(pool, "seal", Uuid::now_v7(), Duration::from_secs(600)).await?;
    let lease = lease.ok_or_else(|| anyhow::anyhow!("somebody else seals"))?;
    let began = Instant::now();
    while Postgres::seal(pool, &lease, 10_000).await?.count > 0 {}
    let sealed = scale.backlog as f64 / began.elapsed().as_secs_f64();
    println!("seal: {sealed:.0} messages/s in seals of 10,000");
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..scale.pairs {
        let began = Instant::now();
        let (mut at, mut count) = (Cursor::default(), 0);
        loop {
            let page = PageLimit { rows: PAGE, bytes: 16 << 20 };
            let rows = Postgres::read(pool, at, page).await?;
            let Some(last) = rows.last() else { break };
            (at, count) = (last.cursor, count + rows.len());
        }
        ours.push(count as f64 / began.elapsed().as_secs_f64());
        let began = Instant::now();
        let count = floor::drain(pool, PAGE).await?;
        plain.push(count as f64 / began.elapsed().as_secs_f64());
    }
    report::pairs("drain to a null sink", "messages/s", &ours, &plain);
    Ok(())
}
