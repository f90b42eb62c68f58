//! What PostgreSQL counts, for figures that do not depend on the machine.

use std::time::Duration;

use anyhow::{Context, ensure};
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep};

/// How long sessions may take to end.
const ENDING: Duration = Duration::from_secs(30);

/// What a piece of work made a database do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Without BEGIN, COMMIT and ROLLBACK.
    pub(crate) statements: f64,
    /// With them: each is a round trip, once statements are prepared.
    pub(crate) trips: f64,
    /// Transactions of the whole server that wrote and so took an id. What writes behind a savepoint
    /// takes one, too: as many as there were savepoints are taken off.
    pub(crate) writing: f64,
    pub(crate) commits: f64,
    /// Of the whole server.
    pub(crate) wal_bytes: f64,
    /// Row versions that were replaced or deleted: what vacuum has to remove.
    pub(crate) dead_rows: f64,
}

/// A database that is looked at before and after.
pub(crate) struct Counter {
    connection: PgConnection,
    before: Counts,
}

impl Counter {
    /// Looks at the database behind `url`.
    pub(crate) async fn start(url: &str) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url.parse()?;
        let mut connection = PgConnection::connect_with(&options).await?;
        let before = look(&mut connection).await?;
        Ok(Self { connection, before })
    }

    /// What was done since the start. Every other session of the database must have been closed:
    /// only then are its counts complete.
    pub(crate) async fn end(mut self) -> anyhow::Result<Counts> {
        let until = Instant::now() + ENDING;
        loop {
            let others: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            .fetch_one(&mut self.connection)
            .await?;
            if others == 0 {
                break;
            }
            ensure!(Instant::now() < until, "{others} sessions are still open");
            sleep(Duration::from_millis(50)).await;
        }
        let after = look(&mut self.connection).await?;
        self.connection.close().await?;
        let before = self.before;
        Ok(Counts {
            statements: after.statements - before.statements,
            trips: after.trips - before.trips,
            writing: after.writing - before.writing,
            commits: after.commits - before.commits,
            wal_bytes: after.wal_bytes - before.wal_bytes,
            dead_rows: after.dead_rows - before.dead_rows,
        })
    }
}

async fn look(connection: &mut PgConnection) -> anyhow::Result<Counts> {
    let sql = "SELECT coalesce(sum(calls) FILTER (WHERE query !~* '^(begin|commit|rollback)'), 0)::float8,
            coalesce(sum(calls), 0)::float8,
            pg_snapshot_xmax(pg_current_snapshot())::text::float8
                - (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query ~* '^savepoint')::float8,
            (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())::float8,
            pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8,
            (SELECT coalesce(sum(n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables)::float8
        FROM pg_stat_statements
        WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND query NOT LIKE '%pg_stat_%'";
    let (statements, trips, writing, commits, wal_bytes, dead_rows) =
        sqlx::query_as::<_, (f64, f64, f64, f64, f64, f64)>(sql)
            .fetch_one(connection)
            .await
            .context("pg_stat_statements is needed: bench/run starts a server that has it")?;
    Ok(Counts { statements, trips, writing, commits, wal_bytes, dead_rows })
}

impl Counts {
    /// Each figure divided by `n`, beside that of `floor`.
    pub(crate) fn each(self, n: f64, floor: Option<Self>) -> Vec<(String, f64, Option<f64>)> {
        let row = |name: &str, of: fn(&Self) -> f64| {
            (name.to_owned(), of(&self) / n, floor.map(|floor| of(&floor) / n))
        };
        vec![
            row("statements", |counts| counts.statements),
            row("round trips, with BEGIN and COMMIT", |counts| counts.trips),
            row("writing transactions", |counts| counts.writing),
            row("WAL bytes", |counts| counts.wal_bytes),
            row("dead rows", |counts| counts.dead_rows),
        ]
    }
}

/// The statements of all databases that took longest, as lines of text.
pub(crate) async fn longest(url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    // The databases of the suites, which had it, are gone.
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
    let sql =
        "SELECT format('%s calls, %s ms in all, %s ms each, %s rows, %s WAL bytes: %s', calls,
            round(total_exec_time), round(mean_exec_time::numeric, 3), rows, wal_bytes,
            regexp_replace(query, '\\s+', ' ', 'g'))
        FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 40";
    let lines: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await?;
    Ok(lines.join("\n") + "\n")
}
