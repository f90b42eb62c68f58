//! A first measurement on PostgreSQL: ours against the floor of the database, in one run.

mod drain;
mod floor;
mod pipeline;
mod report;
mod write;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use sqlx::{AssertSqlSafe, Executor, PgPool, postgres::PgPoolOptions};
use syncline::Message;
use uuid::Uuid;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    Write,
    Drain,
    EndToEnd,
    Delay,
    All,
}

/// Measures against the PostgreSQL server that SYNCLINE_TEST_POSTGRES names; see bench/run.
#[derive(Parser)]
struct Arguments {
    #[arg(default_value = "all")]
    suite: Suite,
    /// Shorter, for a look.
    #[arg(long)]
    quick: bool,
    /// A superuser's URL.
    #[arg(long, env = "SYNCLINE_TEST_POSTGRES", hide_env_values = true)]
    server: String,
}

/// How long and how much.
#[derive(Clone, Copy)]
struct Scale {
    /// Pairs of runs, ours and the floor in turn.
    pairs: usize,
    /// Seconds of one run.
    seconds: u64,
    /// Messages of a backlog.
    backlog: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { suite, quick, server } = Arguments::parse();
    let scale = match quick {
        true => Scale { pairs: 3, seconds: 1, backlog: 50_000 },
        false => Scale { pairs: 10, seconds: 2, backlog: 300_000 },
    };
    let admin = PgPool::connect(&server).await.context("cannot reach the server")?;
    settings(&admin).await?;
    let wants = |one| suite == one || suite == Suite::All;
    if wants(Suite::Write) {
        for (writers, messages) in [(1, 1), (8, 1), (8, 10)] {
            write::run(&database(&admin).await?, scale, writers, messages).await?;
        }
    }
    if wants(Suite::Drain) {
        drain::run(&database(&admin).await?, scale).await?;
    }
    if wants(Suite::EndToEnd) {
        pipeline::throughput(&database(&admin).await?, &database(&admin).await?, scale).await?;
    }
    if wants(Suite::Delay) {
        pipeline::delay(&database(&admin).await?, &database(&admin).await?, scale).await?;
    }
    Ok(())
}

async fn settings(admin: &PgPool) -> anyhow::Result<()> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, setting FROM pg_settings WHERE name IN ('server_version', 'fsync',
         'synchronous_commit', 'full_page_writes', 'shared_buffers') ORDER BY name",
    )
    .fetch_all(admin)
    .await?;
    let text: Vec<String> = rows.iter().map(|(name, value)| format!("{name}={value}")).collect();
    println!("settings: {}", text.join(", "));
    Ok(())
}

/// A new database with our tables and the floor's.
async fn database(admin: &PgPool) -> anyhow::Result<PgPool> {
    let name = format!("bench_{}", Uuid::now_v7().simple());
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    let options = (*admin.connect_options()).clone().database(&name);
    let pool = PgPoolOptions::new().max_connections(40).connect_with(options).await?;
    syncline::migrate(&pool).await?;
    pool.execute(floor::TABLES).await?;
    Ok(pool)
}

/// A message of 140 bytes of payload.
fn message(n: usize) -> anyhow::Result<Message> {
    let payload = serde_json::json!({ "n": n, "pad": "x".repeat(118) });
    Ok(Message::json("bench.message", &payload)?.key(format!("key {}", n % 10_000)))
}
