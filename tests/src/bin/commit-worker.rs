//! Raises a counter and enqueues its message under an idempotency key, in one transaction, and says
//! on standard output how far it is; whoever started it kills it somewhere.

use std::io::Write;

use sqlx::Sqlite;
use syncline_tests::kit::{Kit, raise_once};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, key] = &arguments[..] else { anyhow::bail!("usage: commit-worker URL KEY") };
    let say = |what: &str| {
        let mut out = std::io::stdout();
        writeln!(out, "{what}").and_then(|()| out.flush())
    };
    let pool = Sqlite::connect(url, 1).await?;
    let tx = raise_once(&pool, key).await?;
    say("written")?;
    tx.commit().await?;
    say("committed")?;
    std::future::pending::<()>().await;
    Ok(())
}
