//! What an operator looks at.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{MySql, MySqlConnection, MySqlPool, Row};

use super::{blocking, migrate, session, settings::Settings, version};
use crate::{
    Error, Result,
    error::mysql_number,
    storage::{
        Base, Blocking, Finding, HeldMessage, Inspect, Level, OpenWriter, RouteLag,
        begin::begin_plain,
    },
};

/// A message of 1 MiB must fit, also as the text that holds it when it failed.
const PACKET: u64 = 8 << 20;
/// A transaction that is older, in seconds, delays its own messages noticeably.
const LONG: i64 = 300;
/// So many transactions that are not purged make sealing walk over their remains.
const HISTORY: i64 = 1_000_000;
/// ER_CANNOT_CONVERT_STRING: MySQL's lists of transactions have the text of what runs in utf8mb3.
const UNCONVERTIBLE: u16 = 3854;
/// ER_SPECIFIC_ACCESS_DENIED_ERROR
const NO_PROCESS: u16 = 1227;
/// ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR.
const DENIED: [u16; 2] = [1142, 1143];
/// Where a view needs a right that the connected user has not.
pub(super) const NO_RIGHT: [u16; 3] = [NO_PROCESS, DENIED[0], DENIED[1]];

#[async_trait]
impl Inspect for MySql {
    async fn is_standby(pool: &MySqlPool) -> Result<bool> {
        Ok(Settings::read(pool).await?.is_read_only())
    }

    async fn check_numbers(pool: &MySqlPool) -> Result<()> {
        let highest: i64 = sqlx::query_scalar(include_str!("sql/highest_seq.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("read the highest seq of the outbox"))?;
        match highest < i64::MAX / 2 {
            true => Ok(()),
            false => Err(Error::Unfit {
                setting: "the highest seq of syncline_outbox",
                found: highest.to_string(),
                remedy: "another program has given it, and new messages are refused when it is the \
                         largest number there is: see \"A number that was given by hand\" in \
                         docs/operating.md",
            }),
        }
    }

    async fn blocking(pool: &MySqlPool, since: Duration) -> Result<Vec<Blocking>> {
        blocking::blocking(pool, since).await
    }

    async fn unsealed(pool: &MySqlPool) -> Result<i64> {
        sqlx::query_scalar(include_str!("sql/unsealed.sql"))
            .fetch_one(pool)
            .await
            .map_err(Error::database("count unsealed messages"))
    }

    async fn oldest_writer(pool: &MySqlPool) -> Result<Option<OpenWriter>> {
        let failed = "look for open transactions";
        let mut writer: sqlx::Result<Option<(i64, i64)>> =
            sqlx::query_as(include_str!("sql/oldest_writer.sql")).fetch_optional(pool).await;
        if writer.as_ref().is_err_and(|error| mysql_number(error) == Some(UNCONVERTIBLE)) {
            let apart = sqlx::query_as(include_str!("sql/oldest_writer_apart.sql"));
            writer = apart.fetch_optional(pool).await;
        }
        let (thread, age) = match writer {
            Ok(Some(writer)) => writer,
            Ok(None) => return Ok(None),
            Err(error)
                if mysql_number(&error)
                    .is_some_and(|code| code == NO_PROCESS || DENIED.contains(&code)) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Error::database(failed)(error)),
        };
        if thread != 0 {
            return Ok(Some(OpenWriter { who: format!("connection {thread}"), age }));
        }
        // Which of them it is, the server does not say; without the right to ask, none is named.
        let prepared = sqlx::raw_sql(include_str!("sql/prepared.sql")).fetch_all(pool).await;
        let names: Vec<String> = prepared
            .iter()
            .flatten()
            .filter_map(|row| row.try_get::<Vec<u8>, _>("data").ok())
            .map(|name| format!("{:?}", String::from_utf8_lossy(&name)))
            .collect();
        let who = format!("prepared transaction {}", names.join(" or "));
        Ok(Some(OpenWriter { who: who.trim_end().to_owned(), age }))
    }

    async fn route_lags(pool: &MySqlPool) -> Result<Vec<RouteLag>> {
        super::route_lags(pool).await
    }

    async fn held(pool: &MySqlPool, all: bool, after: i64, limit: i64) -> Result<Vec<HeldMessage>> {
        super::held_list(pool, all, after, limit).await
    }

    async fn held_by_id(connection: &mut MySqlConnection, id: i64) -> Result<Option<HeldMessage>> {
        super::held_by_id(connection, id).await
    }

    /// Tries each right by a statement that touches no row: what roles grant counts, too.
    async fn missing_privileges(pool: &MySqlPool) -> Result<Vec<String>> {
        let mut tx = begin_plain(pool).await?;
        let mut missing = Vec::new();
        for probe in migrate::statements(include_str!("sql/privileges.sql")) {
            match sqlx::query(probe).fetch_all(&mut *tx).await {
                Ok(_) => {}
                Err(error) if mysql_number(&error).is_some_and(|code| DENIED.contains(&code)) => {
                    let mut words = probe.split_whitespace();
                    let right = words.next().unwrap_or_default();
                    let table = words.find(|word| word.starts_with("syncline_"));
                    missing.push(format!("{right} on {}", table.unwrap_or_default()));
                }
                Err(error) => return Err(Error::database("check the privileges")(error)),
            }
        }
        Ok(missing)
    }

    async fn limit_session(
        connection: &mut MySqlConnection,
        statement: Option<Duration>,
        lock: Option<Duration>,
    ) -> sqlx::Result<()> {
        session::limit(connection, statement, lock).await
    }

    async fn session_name(connection: &mut MySqlConnection) -> Result<Option<String>> {
        session::name(connection).await.map(Some)
    }

    async fn end_sessions(pool: &MySqlPool, named: &[String]) -> Result<()> {
        session::end(pool, named).await
    }

    async fn findings(pool: &MySqlPool) -> Result<Vec<Finding>> {
        let settings = Settings::read(pool).await?;
        let packet = settings.get("max_allowed_packet");
        let mut findings = vec![
            version(settings.get("version")),
            finding(
                "server role",
                settings.is_read_only(),
                Level::Failure,
                if settings.is_read_only() { "read-only, as a replica" } else { "primary" },
                "connect to the primary: a replica cannot write",
            ),
            finding(
                "max_allowed_packet",
                packet.parse().unwrap_or(u64::MAX) < PACKET,
                Level::Warning,
                packet,
                "set at least 8 MiB: a large message, or the copy of it that is held when it \
                 fails, could be refused",
            ),
            finding(
                "sql_mode",
                !settings.get("sql_mode").contains("STRICT_"),
                Level::Warning,
                settings.get("sql_mode"),
                "add STRICT_TRANS_TABLES: the service's own tables truncate what is too long",
            ),
            finding(
                "binlog_format",
                settings.logs_statements(),
                Level::Failure,
                settings.get("binlog_format"),
                "set MIXED or ROW: our transactions are READ COMMITTED, which STATEMENT refuses",
            ),
        ];
        findings.push(session_finding(session::check(pool).await)?);
        findings.push(
            age(
                pool,
                "oldest transaction",
                include_str!("sql/oldest_transaction.sql"),
                LONG,
                "s old",
                "see information_schema.innodb_trx: its messages wait until it ends, and purge too",
            )
            .await?,
        );
        findings.push(
            age(
                pool,
                "purge",
                include_str!("sql/history_length.sql"),
                HISTORY,
                "transactions to purge",
                "an old snapshot is open (a backup, a report): sealing slows down until it ends",
            )
            .await?,
        );
        if MySql::applied_migrations(pool).await?.len() < MySql::MIGRATIONS.len() {
            let granted: bool = sqlx::query_scalar(include_str!("sql/create_routine.sql"))
                .fetch_one(pool)
                .await
                .map_err(Error::database("read the server's state"))?;
            findings.push(finding(
                "CREATE ROUTINE",
                !granted,
                Level::Warning,
                if granted { "granted" } else { "not granted to this user by name" },
                "`syncline migrate up` makes a procedure: grant it on this database to whoever runs it",
            ));
        }
        if let Some(version) = migrate::interrupted(pool).await? {
            findings.push(finding(
                "migration",
                true,
                Level::Failure,
                &format!("{version} is half done"),
                "run `syncline migrate up` again, or `syncline migrate down`",
            ));
        }
        Ok(findings)
    }
}

/// What a new session is like; a service's may set more after connecting.
fn session_finding(checked: Result<()>) -> Result<Finding> {
    let bad = |setting, found| format!("{setting} is {found}");
    Ok(match checked {
        Ok(()) => finding("session", false, Level::Failure, "utf8mb4, commits by itself", ""),
        Err(Error::Unfit { setting, found, remedy }) => {
            finding("session", true, Level::Failure, &bad(setting, found), remedy)
        }
        Err(error) => return Err(error),
    })
}

/// A number that only the PROCESS privilege sees.
async fn age(
    pool: &MySqlPool,
    check: &'static str,
    sql: &'static str,
    limit: i64,
    unit: &str,
    advice: &'static str,
) -> Result<Finding> {
    match sqlx::query_scalar::<_, Option<i64>>(sql).fetch_optional(pool).await {
        Ok(found) => {
            let found = found.flatten();
            let bad = found.is_some_and(|found| found >= limit);
            let text = found.map_or("none".to_owned(), |found| format!("{found} {unit}"));
            Ok(finding(check, bad, Level::Warning, &text, advice))
        }
        Err(error) if mysql_number(&error) == Some(NO_PROCESS) => {
            Ok(finding(check, false, Level::Ok, "only the PROCESS privilege sees it", advice))
        }
        Err(error) if mysql_number(&error) == Some(UNCONVERTIBLE) => {
            let text = "the server cannot tell while a statement with such a text runs: look again";
            Ok(finding(check, false, Level::Ok, text, advice))
        }
        Err(error) => Err(Error::database("read the server's state")(error)),
    }
}

fn version(found: &str) -> Finding {
    if !version::is_old(found) && !found.contains("MariaDB") {
        return finding("server version", true, Level::Warning, found, version::UNPROVEN);
    }
    finding("server version", version::is_old(found), Level::Failure, found, version::ADVICE)
}

fn finding(
    check: &'static str,
    bad: bool,
    level: Level,
    found: &str,
    advice: &'static str,
) -> Finding {
    let level = if bad { level } else { Level::Ok };
    Finding { check, level, found: found.to_owned(), advice: bad.then_some(advice) }
}
