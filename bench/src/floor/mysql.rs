//! MariaDB and MySQL.

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Connection, Executor, MySql, MySqlConnection, MySqlPool, QueryBuilder, Row,
    Transaction,
    mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlRow},
};
use syncline::Message;

use super::{Floor, Item, last_of_each_key};
use crate::bench::Servers;

const TABLES: [&str; 5] = [
    "CREATE TABLE business (id BIGINT AUTO_INCREMENT PRIMARY KEY, `key` VARBINARY(512) NOT NULL,
        data LONGBLOB NOT NULL) ENGINE = InnoDB",
    "CREATE TABLE plain (seq BIGINT AUTO_INCREMENT PRIMARY KEY, position BIGINT NOT NULL DEFAULT 0,
        id BINARY(16) NOT NULL, topic VARBINARY(512) NOT NULL, `key` VARBINARY(512),
        time DATETIME(6) NOT NULL, content_type VARBINARY(512) NOT NULL, schema_version INT NOT NULL,
        headers LONGBLOB NOT NULL, data LONGBLOB NOT NULL) ENGINE = InnoDB",
    "CREATE TABLE applied (`key` VARBINARY(512) PRIMARY KEY, position BIGINT NOT NULL,
        data LONGBLOB NOT NULL) ENGINE = InnoDB",
    "CREATE TABLE progress (one INT PRIMARY KEY, place BIGINT NOT NULL, n BIGINT NOT NULL)
        ENGINE = InnoDB",
    "INSERT INTO progress VALUES (1, 0, 0)",
];

/// The statement of so many rows is kept by the connection.
const KEPT: usize = 16;
const COLUMNS: &str = "seq, id, topic, `key`, time, content_type, schema_version, headers, data";

async fn admin(servers: &Servers) -> anyhow::Result<MySqlConnection> {
    let url = servers.mariadb.as_deref();
    let url = url.ok_or_else(|| anyhow::anyhow!("no MariaDB: see bench/run"))?;
    Ok(MySqlConnection::connect(url).await?)
}

#[async_trait]
impl Floor for MySql {
    async fn create(servers: &Servers, name: &str) -> anyhow::Result<String> {
        let mut admin = admin(servers).await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let url = servers.mariadb.as_deref().unwrap_or_default();
        let server = url.rsplit_once('/').map_or(url, |(server, _)| server);
        Ok(format!("{server}/{name}"))
    }

    async fn remove(servers: &Servers, name: &str) -> anyhow::Result<()> {
        if servers.mariadb.is_none() {
            return Ok(());
        }
        let sql = format!("DROP DATABASE IF EXISTS {name}");
        admin(servers).await?.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }

    async fn open(url: &str, connections: u32) -> anyhow::Result<MySqlPool> {
        let options: MySqlConnectOptions = url.parse()?;
        let pool = MySqlPoolOptions::new().max_connections(connections);
        Ok(pool.connect_with(options).await?)
    }

    async fn prepare(pool: &MySqlPool) -> anyhow::Result<()> {
        for table in TABLES {
            pool.execute(table).await?;
        }
        Ok(())
    }

    async fn settings(pool: &MySqlPool) -> anyhow::Result<Vec<(String, String)>> {
        let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version',
            'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'innodb_buffer_pool_size',
            'innodb_log_file_size', 'log_bin', 'sync_binlog', 'innodb_flush_method')";
        Ok(sqlx::query_as(sql).fetch_all(pool).await?)
    }

    async fn business(tx: &mut Transaction<'_, Self>, message: &Message) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO business (`key`, data) VALUES (?, ?)")
            .bind(&message.key)
            .bind(&message.data[..])
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn insert(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> sqlx::Result<()> {
        let mut query = QueryBuilder::<Self>::new(
            "INSERT INTO plain (id, topic, `key`, time, content_type, schema_version, headers, data) ",
        );
        query.push_values(messages, |mut row, message| {
            row.push_bind(message.id)
                .push_bind(&message.topic)
                .push_bind(&message.key)
                .push_bind(message.time)
                .push_bind(&message.content_type)
                .push_bind(message.schema_version)
                .push_bind("{}")
                .push_bind(&message.data[..]);
        });
        query.build().execute(&mut **tx).await?;
        Ok(())
    }

    async fn drain(pool: &MySqlPool, page: i64) -> sqlx::Result<usize> {
        let sql = format!("SELECT {COLUMNS} FROM plain WHERE seq > ? ORDER BY seq LIMIT ?");
        let (mut last, mut count) = (0_i64, 0);
        loop {
            let query = sqlx::query(AssertSqlSafe(&sql[..])).bind(last).bind(page);
            let rows = query.fetch_all(pool).await?;
            let Some(row) = rows.last() else { return Ok(count) };
            last = row.try_get(0)?;
            count += rows.len();
        }
    }

    async fn take(pool: &MySqlPool, page: i64) -> sqlx::Result<usize> {
        // There is no DELETE that returns rows on MySQL: two statements.
        let mut tx = pool.begin().await?;
        let sql =
            format!("SELECT {COLUMNS} FROM plain ORDER BY seq LIMIT ? FOR UPDATE SKIP LOCKED");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(page).fetch_all(&mut *tx).await?;
        if !rows.is_empty() {
            sqlx::query("DELETE FROM plain ORDER BY seq LIMIT ?")
                .bind(rows.len() as i64)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(rows.len())
    }

    async fn page(pool: &MySqlPool, after: i64, limit: i64) -> sqlx::Result<Vec<Item>> {
        let sql = format!("SELECT {COLUMNS} FROM plain WHERE seq > ? ORDER BY seq LIMIT ?");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(pool).await?;
        let item = |row: MySqlRow| {
            let key: Vec<u8> = row.try_get(3)?;
            let key = String::from_utf8(key).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
            Ok(Item { place: row.try_get(0)?, key, data: row.try_get(8)? })
        };
        rows.into_iter().map(item).collect()
    }

    async fn apply(tx: &mut Transaction<'_, Self>, item: (i64, &str, &[u8])) -> sqlx::Result<()> {
        let sql = "INSERT INTO applied (`key`, position, data) VALUES (?, ?, ?)
            ON DUPLICATE KEY UPDATE position = VALUES(position), data = VALUES(data)";
        let (place, key, data) = item;
        sqlx::query(sql).bind(key).bind(place).bind(data).execute(&mut **tx).await?;
        Ok(())
    }

    async fn apply_all(
        tx: &mut Transaction<'_, Self>,
        items: &[(i64, &str, &[u8])],
    ) -> sqlx::Result<()> {
        let mut query = QueryBuilder::<Self>::new("INSERT INTO applied (`key`, position, data) ");
        query.push_values(last_of_each_key(items), |mut row, (place, key, data)| {
            row.push_bind(key).push_bind(place).push_bind(data);
        });
        query.push(" ON DUPLICATE KEY UPDATE position = VALUES(position), data = VALUES(data)");
        // A statement that is not kept is closed without an answer, and what is sent next then waits
        // for the server's delayed acknowledgement: 40 ms over TCP. Long ones would push others out.
        let kept = items.len() <= KEPT;
        query.build().persistent(kept).execute(&mut **tx).await?;
        Ok(())
    }

    async fn progress(tx: &mut Transaction<'_, Self>, place: i64, count: i64) -> sqlx::Result<()> {
        sqlx::query("UPDATE progress SET place = ?, n = n + ? WHERE one = 1")
            .bind(place)
            .bind(count)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn applied(pool: &MySqlPool) -> sqlx::Result<(i64, i64)> {
        let sql = "SELECT (SELECT n FROM progress), (SELECT count(*) FROM applied)";
        sqlx::query_as(sql).fetch_one(pool).await
    }

    async fn reset(pool: &MySqlPool) -> sqlx::Result<()> {
        for sql in [
            "TRUNCATE applied",
            "DELETE FROM syncline_inbox",
            "DELETE FROM syncline_ahead",
            "UPDATE progress SET place = 0, n = 0",
        ] {
            pool.execute(sql).await?;
        }
        Ok(())
    }

    async fn settle(pool: &MySqlPool) -> sqlx::Result<()> {
        pool.execute("ANALYZE TABLE plain, syncline_outbox").await?;
        Ok(())
    }
}
