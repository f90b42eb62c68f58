//! What the database itself does: the same bytes without the framework.

use sqlx::{PgPool, Postgres, Row, Transaction};
use syncline::Message;

/// `plain` is as wide as the outbox; `business` is what a service writes anyway; `applied` is
/// what a consumer keeps.
pub(crate) const TABLES: &str = "
    CREATE TABLE business (id bigserial PRIMARY KEY, key text NOT NULL, data bytea NOT NULL);
    CREATE TABLE plain (
        xid bigint NOT NULL DEFAULT 0, seq bigserial PRIMARY KEY, id uuid NOT NULL,
        topic text NOT NULL, key text, time timestamptz NOT NULL, content_type text NOT NULL,
        schema_version integer NOT NULL, headers text NOT NULL, data bytea NOT NULL);
    CREATE TABLE applied (key text PRIMARY KEY, position bigint NOT NULL, data bytea NOT NULL)";

/// What the business transaction does in every run.
pub(crate) async fn business(
    tx: &mut Transaction<'_, Postgres>,
    message: &Message,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO business (key, data) VALUES ($1, $2)")
        .bind(&message.key)
        .bind(&message.data[..])
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A plain INSERT of a message's bytes.
pub(crate) async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    messages: &[Message],
) -> sqlx::Result<()> {
    let sql =
        "INSERT INTO plain (id, topic, key, time, content_type, schema_version, headers, data)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[],
            $6::integer[], $7::text[], $8::bytea[]) RETURNING seq";
    let one =
        "INSERT INTO plain (id, topic, key, time, content_type, schema_version, headers, data)
        VALUES ($1, $2, $3, $4, $5, $6, '{}', $7) RETURNING seq";
    if let [message] = messages {
        sqlx::query(one)
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

/// An ordered SELECT of `plain`, in pages; how many rows there were.
pub(crate) async fn drain(pool: &PgPool, page: i64) -> sqlx::Result<usize> {
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
