//! Backup and restore of each database.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, Executor, MySql, Postgres, Sqlite};
use syncline_tests::{
    kit::Kit,
    relays::eventually,
    servers::{MARIADB, POSTGRES},
};

/// Backup and restore as an operator does them.
#[async_trait(?Send)]
pub(crate) trait Restore: Kit {
    /// Whether services stay up while the backup is restored: connections break, no more.
    const LIVE: bool;

    /// Copies the database at `url`, and names the copy.
    async fn backup(url: &str) -> String;

    /// Puts the copy in the place of the database at `url`.
    async fn restore(url: &str, backup: &str);
}

pub(crate) fn database(url: &str) -> &str {
    let path = url.split('?').next().unwrap_or(url);
    path.rsplit('/').next().expect("a name")
}

pub(crate) async fn postgres_server() -> sqlx::PgConnection {
    let url = std::env::var(POSTGRES).expect("a server");
    sqlx::PgConnection::connect(&url).await.expect("connect")
}

/// Does `work` while nobody is connected to the database.
pub(crate) async fn alone(server: &mut sqlx::PgConnection, name: &str, work: &str) {
    let connections =
        |allowed: bool| AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"));
    server.execute(connections(false)).await.expect("close it");
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"
    );
    eventually("nobody is connected", async || {
        let (left,): (i64,) =
            sqlx::query_as(AssertSqlSafe(end.clone())).fetch_one(&mut *server).await.expect("end");
        (left == 0).then_some(())
    })
    .await;
    server.execute(AssertSqlSafe(work.to_owned())).await.expect("do the work");
    server.execute(connections(true)).await.expect("open it");
}

#[async_trait(?Send)]
impl Restore for Postgres {
    const LIVE: bool = true;

    async fn backup(url: &str) -> String {
        let (name, backup) = (database(url), format!("{}_backup", database(url)));
        let mut server = postgres_server().await;
        alone(&mut server, name, &format!("CREATE DATABASE {backup} TEMPLATE {name}")).await;
        backup
    }

    async fn restore(url: &str, backup: &str) {
        let (name, mut server) = (database(url), postgres_server().await);
        let old = format!("{name}_old");
        alone(&mut server, backup, "SELECT 1").await;
        let close = AssertSqlSafe(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
        server.execute(close).await.expect("close it");
        let rename = format!("ALTER DATABASE {name} RENAME TO {old}");
        eventually("the database can be renamed", async || {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            );
            server.execute(AssertSqlSafe(end)).await.expect("end");
            server.execute(AssertSqlSafe(rename.clone())).await.ok().map(drop)
        })
        .await;
        let rename = AssertSqlSafe(format!("ALTER DATABASE {backup} RENAME TO {name}"));
        server.execute(rename).await.expect("rename");
    }
}

/// Copies all tables of one database into another one, with those of the last restore gone.
pub(crate) async fn copy_tables(server: &mut sqlx::MySqlConnection, from: &str, to: &str) {
    let tables = format!(
        "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables \
         WHERE table_schema = '{from}' AND table_type = 'BASE TABLE'"
    );
    let tables: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(tables)).fetch_all(&mut *server).await.expect("tables");
    // Data made anew in the same second would have the same time of making.
    for table in tables {
        for statement in [
            format!("DROP TABLE IF EXISTS {to}.{table}"),
            format!("CREATE TABLE {to}.{table} LIKE {from}.{table}"),
            format!("INSERT INTO {to}.{table} SELECT * FROM {from}.{table}"),
        ] {
            server.execute(AssertSqlSafe(statement)).await.expect("copy a table");
        }
    }
}

pub(crate) async fn end_connections(server: &mut sqlx::MySqlConnection, name: &str) {
    let of = format!("SELECT id FROM information_schema.processlist WHERE db = '{name}'");
    let ids: Vec<i64> =
        sqlx::query_scalar(AssertSqlSafe(of)).fetch_all(&mut *server).await.expect("connections");
    for id in ids {
        // It may have ended by itself.
        drop(server.execute(AssertSqlSafe(format!("KILL {id}"))).await);
    }
}

pub(crate) async fn mariadb_server() -> sqlx::MySqlConnection {
    let url = std::env::var(MARIADB).expect("a server");
    sqlx::MySqlConnection::connect(&url).await.expect("connect")
}

#[async_trait(?Send)]
impl Restore for MySql {
    const LIVE: bool = true;

    async fn backup(url: &str) -> String {
        let (name, backup) = (database(url), format!("{}_b", database(url)));
        let mut server = mariadb_server().await;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {backup}"))).await.expect("create");
        copy_tables(&mut server, name, &backup).await;
        backup
    }

    async fn restore(url: &str, backup: &str) {
        let (name, mut server) = (database(url), mariadb_server().await);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        // As while a server is down: whoever looks finds nothing of before or of half of it.
        server.execute(AssertSqlSafe(format!("DROP DATABASE {name}"))).await.expect("drop");
        end_connections(&mut server, name).await;
        let (away, mut other) = (format!("{name}_r"), mariadb_server().await);
        other.execute(AssertSqlSafe(format!("CREATE DATABASE {away}"))).await.expect("create");
        copy_tables(&mut other, backup, &away).await;
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("create");
        let tables: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables \
             WHERE table_schema = '{away}'"
        )))
        .fetch_all(&mut other)
        .await
        .expect("tables");
        let moves: Vec<_> =
            tables.iter().map(|table| format!("{away}.{table} TO {name}.{table}")).collect();
        end_connections(&mut server, name).await;
        let rename = AssertSqlSafe(format!("RENAME TABLE {}", moves.join(", ")));
        server.execute(rename).await.expect("all tables at once");
        end_connections(&mut server, name).await;
    }
}

pub(crate) fn file(url: &str) -> PathBuf {
    let path = url.strip_prefix("sqlite://").expect("an SQLite URL");
    path.split('?').next().expect("a path").into()
}

#[async_trait(?Send)]
impl Restore for Sqlite {
    const LIVE: bool = false;

    async fn backup(url: &str) -> String {
        let backup = format!("{}.backup", file(url).display());
        let pool = Self::connect(url, 1).await.expect("connect");
        sqlx::query("VACUUM INTO $1").bind(&backup).execute(&pool).await.expect("back up");
        pool.close().await;
        backup
    }

    async fn restore(url: &str, backup: &str) {
        let file = file(url);
        for more in ["-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{more}", file.display())));
        }
        // Another file: a connection that closes late writes to the one that it had.
        let copy = format!("{backup}.copy");
        std::fs::copy(backup, &copy).expect("copy the backup");
        std::fs::rename(copy, file).expect("put the backup in place");
    }
}
