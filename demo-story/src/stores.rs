//! The services' databases, opened read-only to check what no API shows.

use std::path::Path;

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// Id, name and address of one user.
pub(crate) type Row = (String, String, String);

/// One service's database.
pub(crate) struct Store(SqlitePool);

impl Store {
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        Ok(Self(SqlitePoolOptions::new().max_connections(1).connect_with(options).await?))
    }

    async fn number(&self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar(sql).fetch_one(&self.0).await?)
    }

    /// Rows of A's users.
    pub(crate) async fn users(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM users").await
    }

    /// Rows of B's accounts.
    pub(crate) async fn accounts(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM accounts").await
    }

    /// Id, name and address of each user whom A shows as active.
    pub(crate) async fn active(&self) -> anyhow::Result<Vec<Row>> {
        self.rows("SELECT id, name, email FROM users WHERE status = 'active' ORDER BY id").await
    }

    /// Id, name and address of each of B's accounts.
    pub(crate) async fn known(&self) -> anyhow::Result<Vec<Row>> {
        self.rows("SELECT user_id, name, email FROM accounts ORDER BY user_id").await
    }

    async fn rows(&self, sql: &'static str) -> anyhow::Result<Vec<Row>> {
        Ok(sqlx::query_as(sql).fetch_all(&self.0).await?)
    }

    /// Keys for which a message of `topic` was enqueued more than once, and how many were.
    pub(crate) async fn told(&self, topic: &str) -> anyhow::Result<(i64, i64)> {
        Ok(sqlx::query_as(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM syncline_outbox WHERE topic = $1
                     GROUP BY key HAVING count(*) > 1)),
                    (SELECT count(*) FROM syncline_outbox WHERE topic = $1)",
        )
        .bind(topic)
        .fetch_one(&self.0)
        .await?)
    }

    /// Messages of the other service whose acceptance was enqueued more than once, and how many
    /// acceptances there are.
    pub(crate) async fn accepted(&self) -> anyhow::Result<(i64, i64)> {
        Ok(sqlx::query_as(
            "SELECT count(*) - count(DISTINCT json_extract(CAST(data AS TEXT), '$.message_id')),
                    count(*)
             FROM syncline_outbox WHERE topic = 'account.accepted'",
        )
        .fetch_one(&self.0)
        .await?)
    }

    /// How far the route to the other service was acknowledged.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<i64> {
        self.number("SELECT coalesce(max(position), 0) FROM syncline_route").await
    }

    /// Messages that wait behind a failure.
    pub(crate) async fn held(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM syncline_held").await
    }

    /// The last position of the log.
    pub(crate) async fn head(&self) -> anyhow::Result<i64> {
        self.number("SELECT coalesce(max(seq), 0) FROM syncline_outbox").await
    }

    /// The consumer's watermark.
    pub(crate) async fn watermark(&self) -> anyhow::Result<i64> {
        self.number("SELECT coalesce(max(watermark), 0) FROM syncline_inbox").await
    }

    /// Whether B has this account.
    pub(crate) async fn has_account(&self, user_id: &str) -> anyhow::Result<bool> {
        let found: Option<i32> = sqlx::query_scalar("SELECT 1 FROM accounts WHERE user_id = $1")
            .bind(user_id)
            .fetch_optional(&self.0)
            .await?;
        Ok(found.is_some())
    }
}
