//! PostgreSQL.

use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use syncline::Message;

use super::{Floor, Item};
use crate::bench::Servers;

const TABLES: &str = "
    CREATE TABLE business (id bigserial PRIMARY KEY, key text NOT NULL, data bytea NOT NULL);
    CREATE TABLE plain (
        xid bigint NOT NULL DEFAULT 0, seq bigserial PRIMARY KEY, id uuid NOT NULL,
        topic text NOT NULL, key text, time timestamptz NOT NULL, content_type text NOT NULL,
        schema_version integer NOT NULL, headers text NOT NULL, data bytea NOT NULL);
    CREATE TABLE applied (key text PRIMARY KEY, position bigint NOT NULL, data bytea NOT NULL);
    CREATE TABLE progress (one integer PRIMARY KEY, place bigint NOT NULL, n bigint NOT NULL);
    INSERT INTO progress VALUES (1, 0, 0)";

const SETTINGS: &str = "SELECT name, setting || coalesce(' ' || unit, '') FROM pg_settings
    WHERE name IN ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes',
        'shared_buffers', 'wal_sync_method', 'checkpoint_timeout', 'max_wal_size', 'autovacuum',
        'autovacuum_naptime', 'shared_preload_libraries', 'track_commit_timestamp')
    ORDER BY name";

async fn admin(servers: &Servers) -> anyhow::Result<PgConnection> {
    let url = servers.postgres.as_deref();
    let url = url.ok_or_else(|| anyhow::anyhow!("no PostgreSQL: see bench/run"))?;
    Ok(PgConnection::connect(url).await?)
}

#[async_trait]
impl Floor for Postgres {
    async fn create(servers: &Servers, name: &str) -> anyhow::Result<String> {
        let mut admin = admin(servers).await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
        let url = servers.postgres.as_deref().unwrap_or_default();
        let server = url.rsplit_once('/').map_or(url, |(server, _)| server);
        Ok(format!("{server}/{name}"))
    }

    async fn remove(servers: &Servers, name: &str) -> anyhow::Result<()> {
        if servers.postgres.is_none() {
            return Ok(());
        }
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        admin(servers).await?.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    }

    async fn open(url: &str, connections: u32) -> anyhow::Result<PgPool> {
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new().max_connections(connections);
        Ok(pool.connect_with(options).await?)
    }

    async fn prepare(pool: &PgPool) -> anyhow::Result<()> {
        pool.execute(TABLES).await?;
        // What the server counts for each statement; without the module only that is missing.
        let counts = pool.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await;
        if let Err(error) = counts {
            eprintln!("  statements are not counted: {error}");
        }
        Ok(())
    }

    async fn settings(pool: &PgPool) -> anyhow::Result<Vec<(String, String)>> {
        Ok(sqlx::query_as(SETTINGS).fetch_all(pool).await?)
    }

    async fn business(tx: &mut Transaction<'_, Self>, message: &Message) -> sqlx::Result<()> {
        sqlx::query("INSERT INTO business (key, data) VALUES ($1, $2)")
            .bind(&message.key)
            .bind(&message.data[..])
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn insert(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> sqlx::Result<()> {
        if let [message] = messages {
            let sql = "INSERT INTO plain
                (id, topic, key, time, content_type, schema_version, headers, data)
                VALUES ($1, $2, $3, $4, $5, $6, '{}', $7) RETURNING seq";
            sqlx::query(sql)
                .bind(message.id)
                .bind(&message.topic)
                .bind(&message.key)
                .bind(message.time)
                .bind(&message.content_type)
                .bind(message.schema_version)
                .bind(&message.data[..])
                .fetch_all(&mut **tx)
                .await?;
            return Ok(());
        }
        let sql = "INSERT INTO plain
            (id, topic, key, time, content_type, schema_version, headers, data)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[],
                $5::text[], $6::integer[], $7::text[], $8::bytea[]) RETURNING seq";
        sqlx::query(sql)
            .bind(messages.iter().map(|m| m.id).collect::<Vec<_>>())
            .bind(messages.iter().map(|m| m.topic.as_str()).collect::<Vec<_>>())
            .bind(messages.iter().map(|m| m.key.as_deref()).collect::<Vec<_>>())
            .bind(messages.iter().map(|m| m.time).collect::<Vec<_>>())
            .bind(messages.iter().map(|m| m.content_type.as_str()).collect::<Vec<_>>())
            .bind(messages.iter().map(|m| m.schema_version).collect::<Vec<_>>())
            .bind(messages.iter().map(|_| "{}").collect::<Vec<_>>())
            .bind(messages.iter().map(|m| &m.data[..]).collect::<Vec<_>>())
            .fetch_all(&mut **tx)
            .await?;
        Ok(())
    }

    async fn drain(pool: &PgPool, page: i64) -> sqlx::Result<usize> {
        let sql = "SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
            FROM plain WHERE seq > $1 ORDER BY seq LIMIT $2";
        let (mut last, mut count) = (0_i64, 0);
        loop {
            let rows = sqlx::query(sql).bind(last).bind(page).fetch_all(pool).await?;
            let Some(row) = rows.last() else { return Ok(count) };
            last = row.try_get(0)?;
            count += rows.len();
        }
    }

    async fn take(pool: &PgPool, page: i64) -> sqlx::Result<usize> {
        let sql = "DELETE FROM plain WHERE seq IN (
                SELECT seq FROM plain ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED)
            RETURNING seq, id, topic, key, time, content_type, schema_version, headers, data";
        Ok(sqlx::query(sql).bind(page).fetch_all(pool).await?.len())
    }

    async fn page(pool: &PgPool, after: i64, limit: i64) -> sqlx::Result<Vec<Item>> {
        let sql = "SELECT seq, id, topic, key, time, content_type, schema_version, headers, data
            FROM plain WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = sqlx::query(sql).bind(after).bind(limit).fetch_all(pool).await?;
        let item = |row: sqlx::postgres::PgRow| {
            Ok(Item { place: row.try_get(0)?, key: row.try_get(3)?, data: row.try_get(8)? })
        };
        rows.into_iter().map(item).collect()
    }

    async fn apply(tx: &mut Transaction<'_, Self>, item: (i64, &str, &[u8])) -> sqlx::Result<()> {
        let sql = "INSERT INTO applied (key, position, data) VALUES ($1, $2, $3)
            ON CONFLICT (key) DO UPDATE SET position = excluded.position, data = excluded.data";
        let (place, key, data) = item;
        sqlx::query(sql).bind(key).bind(place).bind(data).execute(&mut **tx).await?;
        Ok(())
    }

    async fn apply_all(
        tx: &mut Transaction<'_, Self>,
        items: &[(i64, &str, &[u8])],
    ) -> sqlx::Result<()> {
        let sql = "INSERT INTO applied (key, position, data)
            SELECT DISTINCT ON (key) key, position, data
            FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS m (key, position, data)
            ORDER BY key, position DESC
            ON CONFLICT (key) DO UPDATE SET position = excluded.position, data = excluded.data";
        sqlx::query(sql)
            .bind(items.iter().map(|item| item.1).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.0).collect::<Vec<_>>())
            .bind(items.iter().map(|item| item.2).collect::<Vec<_>>())
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn progress(tx: &mut Transaction<'_, Self>, place: i64, count: i64) -> sqlx::Result<()> {
        sqlx::query("UPDATE progress SET place = $1, n = n + $2 WHERE one = 1")
            .bind(place)
            .bind(count)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }

    async fn applied(pool: &PgPool) -> sqlx::Result<(i64, i64)> {
        let sql = "SELECT (SELECT n FROM progress), (SELECT count(*) FROM applied)";
        sqlx::query_as(sql).fetch_one(pool).await
    }

    async fn reset(pool: &PgPool) -> sqlx::Result<()> {
        let sql = "TRUNCATE applied, syncline_inbox, syncline_ahead; TRUNCATE progress;
            INSERT INTO progress VALUES (1, 0, 0)";
        pool.execute(sql).await?;
        Ok(())
    }

    async fn settle(pool: &PgPool) -> sqlx::Result<()> {
        pool.execute("VACUUM ANALYZE").await?;
        Ok(())
    }
}
