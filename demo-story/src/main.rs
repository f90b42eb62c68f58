//! The demo: two services, two databases, and what must be true whatever is killed.

mod client;
mod promises;
mod registrations;
mod report;
mod services;
mod stores;
mod story;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Parser;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::{client::User, report::Report, story::Stage};

const USERS: &str = include_str!("../users.jsonl");
/// How long the whole story may take.
const STORY: Duration = Duration::from_secs(600);
/// The exit code of programs that were interrupted.
const INTERRUPTED: u8 = 130;

/// Runs both demo services, tells the story, and stays up.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Ends after the story: with 0 only if every promise held.
    #[arg(long)]
    once: bool,
    /// Keeps databases and logs in this new or empty directory, instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // An error of an earlier installation only means that there is a provider.
    drop(rustls::crypto::ring::default_provider().install_default());
    run(arguments).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(Arguments { once, dir }: Arguments) -> anyhow::Result<ExitCode> {
    let place = Place::new(dir)?;
    let mut report = Report::default();
    let mut stage = Stage::new(place.path())?;
    let result = tokio::select! {
        result = tell(&mut stage, &mut report, once) => result,
        result = signalled() => result,
    };
    // Whatever happened, no process outlives the story.
    stage.end().await;
    match result {
        // Ctrl-C is how a demo that stays up is meant to end.
        Ok(()) if report.is_finished() => {
            let good = report.good();
            if !good {
                place.keep();
            }
            Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Ok(()) => {
            eprintln!("interrupted");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => {
            place.keep();
            Err(error)
        }
    }
}

async fn tell(stage: &mut Stage, report: &mut Report, once: bool) -> anyhow::Result<()> {
    let users = USERS.lines().map(serde_json::from_str).collect::<Result<Vec<User>, _>>();
    let users = users.context("users.jsonl")?;
    let began = Instant::now();
    tokio::time::timeout(STORY, stage.play(&users, report))
        .await
        .with_context(|| format!("the story did not end within {STORY:?}"))??;
    if once {
        stage.stop(report).await?;
    }
    println!("\nthe story took {:.1?}", began.elapsed());
    report.finish();
    if !once {
        invite(stage);
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn signalled() -> anyhow::Result<()> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [mut int, mut term, mut hup] = kinds.map(signal);
    let (int, term, hup) = (
        int.as_mut().map_err(|error| anyhow::anyhow!("SIGINT: {error}"))?,
        term.as_mut().map_err(|error| anyhow::anyhow!("SIGTERM: {error}"))?,
        hup.as_mut().map_err(|error| anyhow::anyhow!("SIGHUP: {error}"))?,
    );
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
    println!();
    Ok(())
}

/// Where databases and logs lie.
enum Place {
    Temporary(TempDir),
    /// One that the user named: it stays.
    Named(PathBuf),
}

impl Place {
    fn new(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let Some(dir) = named else {
            return Ok(Self::Temporary(
                tempfile::Builder::new().prefix("syncline-demo.").tempdir()?,
            ));
        };
        let name = dir.display();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {name}"))?;
        let dir = dir.canonicalize()?;
        if dir.read_dir()?.next().is_some() {
            bail!("{} is not empty: name another directory", dir.display());
        }
        Ok(Self::Named(dir))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Named(dir) => dir,
        }
    }

    /// Leaves everything for a look at what went wrong.
    fn keep(self) {
        let path = match self {
            Self::Temporary(dir) => dir.keep(),
            Self::Named(dir) => dir,
        };
        eprintln!("logs and databases are left in {}", path.display());
    }
}

fn invite(stage: &Stage) {
    let (a, b) = (&stage.api.a, &stage.api.b);
    println!(
        r#"
Both services stay up until Ctrl-C. Try:

  curl -s {a}/register -H 'content-type: application/json' \
    -d '{{"user_id":"me","user":{{"name":"Me","email":"me@example.org","password":"open sesame","display_name":"myself"}}}}'
  curl -s {a}/users/me
  curl -s {b}/login -H 'content-type: application/json' \
    -d '{{"user_id":"me","password":"open sesame"}}'
  curl -s -X PATCH {a}/users/me -u 'me:open sesame' -H 'content-type: application/json' \
    -d '{{"name":"Somebody else"}}'
  curl -s -X DELETE {a}/users/me -u 'me:open sesame'
  curl -s {a}/openapi.json

Another one who wants the display name "myself", or an address @spam.example, is refused.

The operator's view of A's database:

  cargo run -q -p syncline-cli -- --database-url sqlite://{db} outbox lag
  cargo run -q -p syncline-cli -- --database-url sqlite://{db} saga list

Databases and logs: {dir}"#,
        db = stage.a.database.display(),
        dir = stage.a.database.parent().unwrap_or(Path::new(".")).display(),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{USERS, User};

    /// The story counts on these.
    #[test]
    fn the_users_are_many_awkward_and_all_different() {
        let users = USERS.lines().map(serde_json::from_str).collect::<Result<Vec<User>, _>>();
        let users = users.expect("each line is a user");
        assert!(users.len() >= 1_000);
        let ids: HashSet<_> = users.iter().map(|user| &user.user_id).collect();
        let emails: HashSet<_> = users.iter().map(|user| user.email.to_lowercase()).collect();
        assert_eq!((ids.len(), emails.len()), (users.len(), users.len()));
        let lengths = |of: fn(&User) -> &str| {
            let all: Vec<_> = users.iter().map(|user| of(user).chars().count()).collect();
            (all.iter().min().copied(), all.iter().max().copied())
        };
        assert_eq!(lengths(|user| &user.name), (Some(1), Some(200)));
        assert_eq!(lengths(|user| &user.password), (Some(8), Some(64)));
        for script in ["'", "\"", "<script>", "é", "и", "Σ", "م", "ש", "अ", "ส", "陳", "😀"]
        {
            assert!(users.iter().any(|user| user.name.contains(script)), "no name with {script}");
        }
    }
}
