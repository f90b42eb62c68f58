//! The store that lets a consumer apply again what it has applied.

/// Implements the store for `$db` over `storage/$dir/sql`.
macro_rules! reapply_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl ReapplyStore for $db {
            async fn inboxes(pool: &Pool<Self>, consumer: Option<&str>) -> Result<Vec<Inbox>> {
                let rows: Vec<ListedInbox> = sqlx::query_as(sql!($dir, "inbox_list"))
                    .bind(consumer.is_none())
                    .bind(consumer.unwrap_or_default())
                    .fetch_all(pool)
                    .await
                    .map_err(Error::database("list the watermarks"))?;
                Ok(rows.into_iter().map(listed_inbox).collect())
            }

            async fn held_after(
                tx: &mut Transaction<'_, Self>,
                consumer: &str,
                source: &str,
                stream: &str,
                shard: Option<i32>,
                position: Position,
            ) -> Result<i64> {
                sqlx::query_scalar(sql!($dir, "held_after"))
                    .bind(consumer)
                    .bind(source)
                    .bind(stream)
                    .bind(position.0)
                    .bind(shard.unwrap_or(-1))
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database("count held messages"))
            }

            async fn recorded_steps(tx: &mut Transaction<'_, Self>, source: &str) -> Result<i64> {
                sqlx::query_scalar(sql!($dir, "barrier_count"))
                    .bind(source)
                    .fetch_one(&mut **tx)
                    .await
                    .map_err(Error::database("count recorded steps of sagas"))
            }
        }
    };
}
pub(in crate::storage) use reapply_store;

use uuid::Uuid;

use super::{from_millis, inbox_row};
use crate::{message::Origin, storage::Inbox};

/// The columns of `inbox_list.sql`.
pub(in crate::storage) type ListedInbox =
    (String, String, String, i32, i32, Uuid, i64, i64, Uuid, Option<i64>, i64);

pub(in crate::storage) fn listed_inbox(columns: ListedInbox) -> Inbox {
    let (consumer, source, stream, version, shard, incarnation, mark, last, id, ended, at) =
        columns;
    Inbox {
        consumer,
        origin: Origin { source, incarnation, stream, version, shard },
        row: inbox_row((incarnation, mark, last, id, ended)),
        updated_at: from_millis(at),
    }
}
