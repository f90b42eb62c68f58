//! A business transaction with `enqueue`, against the same with a plain INSERT.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use syncline::{Message, enqueue_all};

use crate::{Scale, floor, message, report};

pub(crate) async fn run(
    pool: &PgPool,
    scale: Scale,
    writers: usize,
    messages: usize,
) -> anyhow::Result<()> {
    let (mut ours, mut plain, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.pairs {
        ours.push(rate(pool, scale, writers, messages, Way::Enqueue).await?);
        plain.push(rate(pool, scale, writers, messages, Way::Plain).await?);
        none.push(rate(pool, scale, writers, messages, Way::None).await?);
    }
    let what = format!("write, {writers} writers, {messages} messages a transaction");
    report::pairs(&what, "tx/s", &ours, &plain);
    report::pairs(&format!("{what}, against no message"), "tx/s", &ours, &none);
    Ok(())
}

#[derive(Clone, Copy)]
enum Way {
    Enqueue,
    Plain,
    None,
}

async fn rate(
    pool: &PgPool,
    scale: Scale,
    writers: usize,
    count: usize,
    way: Way,
) -> anyhow::Result<f64> {
    let until = Instant::now() + Duration::from_secs(scale.seconds);
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut done = 0_usize;
                while Instant::now() < until {
                    let messages = (0..count)
                        .map(|n| message(writer * 1_000_000 + done * count + n))
                        .collect::<anyhow::Result<Vec<Message>>>()?;
                    let mut tx = pool.begin().await?;
                    floor::business(&mut tx, &messages[0]).await?;
                    match way {
                        Way::Enqueue => drop(enqueue_all(&mut tx, &messages).await?),
                        Way::Plain => floor::insert(&mut tx, &messages).await?,
                        Way::None => {}
                    }
                    tx.commit().await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await??;
    }
    Ok(total as f64 / scale.seconds as f64)
}
