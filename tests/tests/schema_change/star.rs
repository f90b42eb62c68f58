//! A statement that the connection keeps, and what it costs when its table changes.

use super::*;

/// Reads all columns of a table, by a statement that the connection keeps.
#[async_trait]
pub(crate) trait Star: Kit {
    /// The number of columns.
    async fn star(connection: &mut Self::Connection) -> sqlx::Result<usize>;
    /// The connection's id, where there is a server.
    async fn who(connection: &mut Self::Connection) -> sqlx::Result<i64>;
    /// Takes longer than a session of [`hurried`] lets a statement take.
    async fn linger(connection: &mut Self::Connection) -> sqlx::Result<()>;
}

macro_rules! star {
    ($db:ty, $who:literal, $linger:literal) => {
        #[async_trait]
        impl Star for $db {
            async fn star(connection: &mut Self::Connection) -> sqlx::Result<usize> {
                let row = sqlx::query("SELECT * FROM changed").fetch_one(connection).await?;
                Ok(row.len())
            }

            async fn who(connection: &mut Self::Connection) -> sqlx::Result<i64> {
                sqlx::query_scalar($who).fetch_one(connection).await
            }

            async fn linger(connection: &mut Self::Connection) -> sqlx::Result<()> {
                sqlx::query($linger).execute(connection).await.map(drop)
            }
        }
    };
}

star!(Postgres, "SELECT pg_backend_pid()::bigint", "SELECT pg_sleep(20)");

star!(MySql, "SELECT CAST(CONNECTION_ID() AS SIGNED)", "SELECT SLEEP(20)");

star!(Sqlite, "SELECT CAST(0 AS INTEGER)", "SELECT 1");
