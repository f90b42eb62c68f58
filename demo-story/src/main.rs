//! The demo: two services, two databases, and what must be true whatever is killed.

mod client;
mod report;
mod services;
mod stores;
mod story;

use std::{path::Path, process::ExitCode, time::Instant};

use anyhow::Context;
use clap::Parser;

use crate::{client::User, report::Report, story::Stage};

const USERS: &str = include_str!("../users.jsonl");

/// Runs both demo services, tells the story, and stays up.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Ends after the story: with 0 only if every promise held.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { once } = Arguments::parse();
    // An error of an earlier installation only means that there is a provider.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(once).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(once: bool) -> anyhow::Result<bool> {
    let dir = tempfile::Builder::new().prefix("syncline-demo.").tempdir()?;
    let story = tell(dir.path(), once);
    let result = tokio::select! {
        result = story => result,
        _ = tokio::signal::ctrl_c() => {
            println!("\nstopped");
            return Ok(!once);
        }
    };
    if !matches!(result, Ok(true)) {
        eprintln!("logs and databases are left in {}", dir.keep().display());
    }
    result
}

async fn tell(dir: &Path, once: bool) -> anyhow::Result<bool> {
    let users = USERS.lines().map(serde_json::from_str).collect::<Result<Vec<User>, _>>();
    let users = users.context("users.jsonl")?;
    let began = Instant::now();
    let mut stage = Stage::open(dir).await?;
    let mut report = Report::default();
    stage.play(&users, &mut report).await?;
    if once {
        for service in [&mut stage.a, &mut stage.b] {
            let ended = service.stop().await?;
            report.promise(&format!("{} stops on SIGTERM", service.name), ended.success(), ended);
        }
        println!("\nthe story took {:.1?}", began.elapsed());
        return Ok(report.finish());
    }
    let held = report.finish();
    invite(&stage);
    std::future::pending::<()>().await;
    Ok(held)
}

fn invite(stage: &Stage) {
    let (a, b) = (&stage.api.a, &stage.api.b);
    println!(
        r#"
Both services stay up until Ctrl-C. Try:

  curl -s {a}/register -H 'content-type: application/json' \
    -d '{{"user_id":"me","user":{{"name":"Me","email":"me@example.org","password":"open sesame"}}}}'
  curl -s {a}/users/me
  curl -s {b}/login -H 'content-type: application/json' \
    -d '{{"user_id":"me","password":"open sesame"}}'
  curl -s -X DELETE {a}/users/me
  curl -s {a}/openapi.json

The operator's view of A's database:

  cargo run -q -p syncline-cli -- --database-url sqlite://{db} outbox lag"#,
        db = stage.a.database.display()
    );
}
