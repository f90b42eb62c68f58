//! The services' databases, opened read-only to check what no API shows.

use std::path::Path;

use anyhow::Context;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use syncline::saga::operate::{self, Shown};

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

    /// Registrations at A that are under way or refused.
    pub(crate) async fn registrations(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM registrations").await
    }

    /// Accounts at A that are made and not active yet.
    pub(crate) async fn pending(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM users WHERE status = 'pending'").await
    }

    /// Sagas at A that are not over.
    pub(crate) async fn open_sagas(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM syncline_saga WHERE ended_at IS NULL").await
    }

    /// Display names that are claimed at A.
    pub(crate) async fn display_names(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM display_names").await
    }

    /// Users who were welcomed more than once, and how often users were.
    pub(crate) async fn welcomed(&self) -> anyhow::Result<(i64, i64)> {
        self.pair("SELECT count(*) - count(DISTINCT user_id), count(*) FROM mailbox").await
    }

    /// Registrations for which A has asked for more than one login, and for how many it has asked. The
    /// payloads are erased when a registration is over.
    pub(crate) async fn asked(&self) -> anyhow::Result<(i64, i64)> {
        self.pair(
            "SELECT count(*) - count(DISTINCT substr(key, 1, 36)), count(*)
             FROM syncline_outbox WHERE topic = 'login.provision' AND key LIKE '%/apply/%'",
        )
        .await
    }

    /// Sagas for which B has answered more than once that a login is there, and how many logins it has
    /// made. Answers of deleted users are erased; that there was one stays.
    pub(crate) async fn provisioned(&self) -> anyhow::Result<(i64, i64)> {
        self.pair(
            "SELECT (SELECT count(*) - count(DISTINCT key) FROM syncline_outbox
                     WHERE topic = 'syncline.saga.reply'
                       AND CASE WHEN json_valid(CAST(data AS TEXT))
                           THEN json_extract(CAST(data AS TEXT), '$.said.applied.applied') END IS NOT NULL),
                    (SELECT count(*) FROM syncline_barrier
                     WHERE CASE WHEN json_valid(answer)
                           THEN json_type(answer, '$.answer.applied') END IS NOT NULL)",
        )
        .await
    }

    /// The same for logins that were taken back.
    pub(crate) async fn revoked(&self) -> anyhow::Result<(i64, i64)> {
        self.pair(
            "SELECT count(*) - count(DISTINCT key), count(*)
             FROM syncline_outbox WHERE topic = 'syncline.saga.reply'
               AND CASE WHEN json_valid(CAST(data AS TEXT))
                   THEN json_extract(CAST(data AS TEXT), '$.said.compensated') END IS NOT NULL",
        )
        .await
    }

    /// Messages of the other service whose acceptance was enqueued more than once, and how many
    /// acceptances there are. Those of deleted users are erased.
    pub(crate) async fn accepted(&self) -> anyhow::Result<(i64, i64)> {
        self.pair(
            "SELECT count(message) - count(DISTINCT message), count(*)
             FROM (SELECT CASE WHEN json_valid(CAST(data AS TEXT))
                          THEN json_extract(CAST(data AS TEXT), '$.message_id') END AS message
                   FROM syncline_outbox WHERE topic = 'account.accepted')",
        )
        .await
    }

    async fn pair(&self, sql: &'static str) -> anyhow::Result<(i64, i64)> {
        Ok(sqlx::query_as(sql).fetch_one(&self.0).await?)
    }

    /// The saga of a registration that is over, as the command line shows it.
    pub(crate) async fn saga_of(&self, user_id: &str) -> anyhow::Result<Shown> {
        let id: Option<String> = sqlx::query_scalar(
            "SELECT id FROM mailbox WHERE user_id = $1
             UNION ALL SELECT saga FROM registrations WHERE user_id = $1",
        )
        .bind(user_id)
        .fetch_optional(&self.0)
        .await?;
        let id = id.with_context(|| format!("no saga has registered {user_id}"))?;
        let shown = operate::show(&self.0, id.parse()?).await?;
        shown.with_context(|| format!("the saga {id} is gone"))
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
