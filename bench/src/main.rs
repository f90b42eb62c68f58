//! Ours against the floor of the database, in turn, in one run: see `bench/run`.

mod bench;
mod child;
mod counts;
mod floor;
mod machine;
mod pipeline;
mod report;
mod results;
mod sagas;
mod service;
mod stats;
mod suites;
mod svg;
mod work;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use bench::{Bench, Servers, Suite};
use chrono::Utc;
use clap::{Parser, Subcommand};
use machine::{Machine, Watch};
use results::Results;

#[derive(Parser)]
#[command(about = "Measures against servers of its own; bench/run starts them.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures suites, `all` of them or the named ones.
    Run {
        #[arg(required = true)]
        suites: Vec<String>,
        /// Shorter, for a look.
        #[arg(long)]
        quick: bool,
        /// Only the parts of the suites whose names contain this; no results are written.
        #[arg(long)]
        only: Option<String>,
        /// Where the results go.
        #[arg(long, default_value = "bench/results")]
        into: PathBuf,
        /// Where the statements go that took PostgreSQL longest.
        #[arg(long)]
        statements: Option<PathBuf>,
        /// A superuser's URL.
        #[arg(long, env = "SYNCLINE_TEST_POSTGRES", hide_env_values = true)]
        postgres: Option<String>,
        /// A superuser's URL.
        #[arg(long, env = "SYNCLINE_TEST_MARIADB", hide_env_values = true)]
        mariadb: Option<String>,
        /// Where SQLite's files go.
        #[arg(long, env = "SYNCLINE_BENCH_FILES", default_value = "/tmp")]
        files: PathBuf,
    },
    /// Writes the tables of bench/RESULTS.md and the drawings anew, from the results.
    Report {
        #[arg(long, default_value = "bench")]
        folder: PathBuf,
    },
    /// Names the suites.
    List,
    /// A process of a suite's own.
    #[command(hide = true)]
    Child { task: String },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Run { suites, quick, only, into, statements, postgres, mariadb, files } => {
            let servers = Servers { postgres, mariadb, files };
            for suite in wanted(&suites)? {
                run(suite, (quick, only.clone()), &servers, &into).await?;
            }
            if let Some((file, url)) = statements.zip(servers.postgres) {
                fs::write(file, counts::longest(&url).await?)?;
            }
            Ok(())
        }
        Command::Child { task } => child::run(&task).await,
        Command::Report { folder } => report::write(&folder),
        Command::List => {
            for suite in suites::ALL {
                println!("{:<16} {}", suite.name, suite.title);
            }
            Ok(())
        }
    }
}

fn wanted(names: &[String]) -> anyhow::Result<Vec<&'static Suite>> {
    if names == ["all"] {
        return Ok(suites::ALL.iter().collect());
    }
    let find = |name: &String| {
        let suite = suites::ALL.iter().find(|suite| suite.name == name);
        suite.with_context(|| format!("there is no suite {name:?}; `list` names them"))
    };
    names.iter().map(find).collect()
}

async fn run(
    suite: &Suite,
    (quick, only): (bool, Option<String>),
    servers: &Servers,
    into: &Path,
) -> anyhow::Result<()> {
    eprintln!("{}: {}", suite.name, suite.title);
    let (began, watch) = (Instant::now(), Watch::start());
    let results = Results {
        suite: suite.name.to_owned(),
        title: suite.title.to_owned(),
        floor: suite.floor.to_owned(),
        command: format!("bench/run {}{}", suite.name, if quick { " --quick" } else { "" }),
        commit: machine::commit(),
        began: Utc::now().format("%Y-%m-%d %H:%M").to_string(),
        seconds: 0.0,
        quick,
        machine: Machine::here(),
        server: Vec::new(),
        load: machine::Load::default(),
        lines: Vec::new(),
        counts: Vec::new(),
        plots: Vec::new(),
        checks: Vec::new(),
        notes: Vec::new(),
    };
    let mut bench = Bench::new(quick, only.clone(), servers.clone(), results);
    let done = (suite.run)(&mut bench).await;
    bench.clean().await;
    done.with_context(|| format!("suite {}", suite.name))?;
    let mut results = bench.results;
    results.load = watch.end();
    results.seconds = began.elapsed().as_secs_f64().round();
    println!("{}", report::section(&results));
    if only.is_some() {
        return Ok(());
    }
    // A look never takes the place of a figure.
    let name = format!("{}{}.json", suite.name, if quick { ".quick" } else { "" });
    fs::create_dir_all(into)?;
    let file = into.join(name);
    fs::write(&file, serde_json::to_string_pretty(&results)? + "\n")?;
    eprintln!("  {}", file.display());
    Ok(())
}
