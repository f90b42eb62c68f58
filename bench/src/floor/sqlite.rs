//! SQLite.

use std::{fs, time::Duration};

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Executor, QueryBuilder, Row, Sqlite, SqlitePool, Transaction,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use syncline::Message;

use super::{Floor, Item, last_of_each_key};
use crate::bench::Servers;

const TABLES: &str = "
    CREATE TABLE business (id INTEGER PRIMARY KEY, key TEXT NOT NULL, data BLOB NOT NULL);
    CREATE TABLE plain (seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL, topic TEXT NOT NULL,
        key TEXT, time TEXT NOT NULL, content_type TEXT NOT NULL, schema_version INTEGER NOT NULL,
        headers TEXT NOT NULL, data BLOB NOT NULL);
    CREATE TABLE applied (key TEXT PRIMARY KEY, position INTEGER NOT NULL, data BLOB NOT NULL);
    CREATE TABLE progress (one INTEGER PRIMARY KEY, place INTEGER NOT NULL, n INTEGER NOT NULL);
    INSERT INTO progress VALUES (1, 0, 0)";

const COLUMNS: &str = "seq, id, topic, key, time, content_type, schema_version, headers, data";
/// A statement takes at most 32,766 parameters.
const ROWS: usize = 4_000;

#[async_trait]
impl Floor for Sqlite {
    async fn create(servers: &Servers, name: &str) -> anyhow::Result<String> {
        Ok(format!("sqlite://{}?mode=rwc", servers.files.join(name).display()))
    }

    async fn remove(servers: &Servers, name: &str) -> anyhow::Result<()> {
        for end in ["", "-wal", "-shm"] {
            drop(fs::remove_file(servers.files.join(format!("{name}{end}"))));
        }
        Ok(())
    }

    async fn open(url: &str, connections: u32) -> anyhow::Result<SqlitePool> {
        let options: SqliteConnectOptions = url.parse()?;
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePoolOptions::new().max_connections(connections);
        Ok(pool.connect_with(options).await?)
    }

    async fn prepare(pool: &SqlitePool) -> anyhow::Result<()> {
        pool.execute(TABLES).await?;
        Ok(())
    }

    async fn settings(pool: &SqlitePool) -> anyhow::Result<Vec<(String, String)>> {
        let sql = "SELECT 'version', sqlite_version()
            UNION ALL SELECT 'journal_mode', journal_mode FROM pragma_journal_mode
            UNION ALL SELECT 'synchronous', synchronous || '' FROM pragma_synchronous";
        Ok(sqlx::query_as(sql).fetch_all(pool).await?)
    }

    async fn business(tx: &mut Transaction<'_, Self>, message: &Message) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO business (key, data) VALUES (?, ?)")
            .bind(&message.key)
            .bind(&message.data[..])
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn insert(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> sqlx::Result<()> {
        for messages in messages.chunks(ROWS) {
            let mut query = QueryBuilder::<Self>::new(
                "INSERT INTO plain
                 (id, topic, key, time, content_type, schema_version, headers, data) ",
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
        }
        Ok(())
    }

    async fn drain(pool: &SqlitePool, page: i64) -> sqlx::Result<usize> {
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

    async fn take(pool: &SqlitePool, page: i64) -> sqlx::Result<usize> {
        let sql = format!(
            "DELETE FROM plain WHERE seq IN (SELECT seq FROM plain ORDER BY seq LIMIT ?)
             RETURNING {COLUMNS}"
        );
        Ok(sqlx::query(AssertSqlSafe(sql)).bind(page).fetch_all(pool).await?.len())
    }

    async fn page(pool: &SqlitePool, after: i64, limit: i64) -> sqlx::Result<Vec<Item>> {
        let sql = format!("SELECT {COLUMNS} FROM plain WHERE seq > ? ORDER BY seq LIMIT ?");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(pool).await?;
        let item = |row: SqliteRow| {
            Ok(Item { place: row.try_get(0)?, key: row.try_get(3)?, data: row.try_get(8)? })
        };
        rows.into_iter().map(item).collect()
    }

    async fn apply(tx: &mut Transaction<'_, Self>, item: (i64, &str, &[u8])) -> sqlx::Result<()> {
        let sql = "INSERT INTO applied (key, position, data) VALUES (?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET position = excluded.position, data = excluded.data";
        let (place, key, data) = item;
        sqlx::query(sql).bind(key).bind(place).bind(data).execute(&mut **tx).await?;
        Ok(())
    }

    async fn apply_all(
        tx: &mut Transaction<'_, Self>,
        items: &[(i64, &str, &[u8])],
    ) -> sqlx::Result<()> {
        for items in last_of_each_key(items).chunks(ROWS) {
            let mut query = QueryBuilder::<Self>::new("INSERT INTO applied (key, position, data) ");
            query.push_values(items, |mut row, (place, key, data)| {
                row.push_bind(*key).push_bind(*place).push_bind(*data);
            });
            query.push(
                " ON CONFLICT (key) DO UPDATE SET position = excluded.position,
                  data = excluded.data",
            );
            query.build().persistent(false).execute(&mut **tx).await?;
        }
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

    async fn applied(pool: &SqlitePool) -> sqlx::Result<(i64, i64)> {
        let sql = "SELECT (SELECT n FROM progress), (SELECT count(*) FROM applied)";
        sqlx::query_as(sql).fetch_one(pool).await
    }

    async fn reset(pool: &SqlitePool) -> sqlx::Result<()> {
        let sql = "DELETE FROM applied; DELETE FROM syncline_inbox; DELETE FROM syncline_ahead;
            UPDATE progress SET place = 0, n = 0";
        pool.execute(sql).await?;
        Ok(())
    }

    async fn settle(pool: &SqlitePool) -> sqlx::Result<()> {
        pool.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        Ok(())
    }
}
