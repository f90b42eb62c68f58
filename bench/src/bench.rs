//! What a suite works with: databases, rounds, and the place where it puts its figures.

use std::{env, ops::Range, path::PathBuf};

use anyhow::Context;
use sqlx::Pool;
use uuid::Uuid;

use crate::{
    floor::Floor,
    results::{Count, Goal, Line, Plot, Results},
};

/// A suite: what it measures, against what, and how.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// One line: what is measured.
    pub(crate) title: &'static str,
    /// One line: what it is held against.
    pub(crate) floor: &'static str,
    /// Measures, and puts what it found into the [`Bench`].
    pub(crate) run: for<'a> fn(&'a mut Bench) -> futures::future::BoxFuture<'a, anyhow::Result<()>>,
}

/// One run of one suite.
pub(crate) struct Bench {
    pub(crate) quick: bool,
    /// What the parts that are measured have in their names, where not all are.
    only: Option<String>,
    pub(crate) results: Results,
    pub(crate) servers: Servers,
    made: Vec<String>,
}

/// Where the databases are made.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    /// A superuser's URL.
    pub(crate) postgres: Option<String>,
    pub(crate) mariadb: Option<String>,
    /// Where SQLite's files go.
    pub(crate) files: PathBuf,
}

impl Bench {
    pub(crate) fn new(
        quick: bool,
        only: Option<String>,
        servers: Servers,
        results: Results,
    ) -> Self {
        Self { quick, only, results, servers, made: Vec::new() }
    }

    /// `quick` for a look, `full` for a figure.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Whether the part `name` of the suite is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// The rounds in which ours and the floor take turns.
    pub(crate) fn rounds(&self) -> Range<usize> {
        0..self.pick(3, 10)
    }

    /// A new database with our tables and the floor's, and its URL for another process.
    pub(crate) async fn database<DB: Floor>(
        &mut self,
        connections: u32,
    ) -> anyhow::Result<(Pool<DB>, String)> {
        let name = format!("bench_{}", Uuid::now_v7().simple());
        let url = DB::create(&self.servers, &name).await.context("cannot make a database")?;
        self.made.push(name);
        let pool = DB::open(&url, connections).await?;
        syncline::migrate(&pool).await?;
        DB::prepare(&pool).await?;
        Ok((pool, url))
    }

    /// A figure a round, ours and the floor's (none where there is no floor).
    pub(crate) fn line(
        &mut self,
        what: impl Into<String>,
        unit: &str,
        (ours, floor): (Vec<f64>, Vec<f64>),
        goal: Option<Goal>,
    ) {
        let line = Line { what: what.into(), unit: unit.to_owned(), ours, floor, goal };
        eprintln!("  {}", line.cells().join(" | "));
        self.results.lines.push(line);
    }

    /// Figures that do not depend on the machine.
    pub(crate) fn count(
        &mut self,
        what: impl Into<String>,
        per: &str,
        figures: Vec<(String, f64, Option<f64>)>,
    ) {
        self.results.counts.push(Count { what: what.into(), per: per.to_owned(), figures });
    }

    pub(crate) fn plot(&mut self, plot: Plot) {
        self.results.plots.push(plot);
    }

    /// Something that held in these runs; it is an error of the run when it does not.
    pub(crate) fn check(&mut self, what: impl Into<String>, held: bool) -> anyhow::Result<()> {
        let what = what.into();
        anyhow::ensure!(held, "this did not hold: {what}");
        if !self.results.checks.contains(&what) {
            self.results.checks.push(what);
        }
        Ok(())
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.results.notes.push(note.into());
    }

    /// Removes the databases that were made.
    pub(crate) async fn clean(&mut self) {
        for name in self.made.drain(..) {
            for removed in [
                <sqlx::Postgres as Floor>::remove(&self.servers, &name).await,
                <sqlx::MySql as Floor>::remove(&self.servers, &name).await,
                <sqlx::Sqlite as Floor>::remove(&self.servers, &name).await,
            ] {
                if let Err(error) = removed {
                    eprintln!("  {name} is left behind: {error:#}");
                }
            }
        }
    }
}

/// This program, for a process of its own.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    env::current_exe().context("where this program is")
}
