//! The record of what operators have done, where the Rust is the same for every database.

use uuid::Uuid;

use super::from_millis;
use crate::storage::OperationRow;

/// The columns of `operation_list.sql`.
pub(in crate::storage) type OperationColumns =
    (Uuid, String, String, String, String, i64, Option<i64>, Option<i64>, Option<String>);

pub(in crate::storage) fn operation_row(row: OperationColumns) -> OperationRow {
    let (id, operator, command, target, why, began, ended, affected, problem) = row;
    OperationRow {
        id,
        operator,
        command,
        target,
        why,
        began_at: from_millis(began),
        ended_at: ended.map(from_millis),
        affected,
        problem,
    }
}

/// Implements the record of operations for `$db` over `storage/$dir/sql`.
macro_rules! operation_store {
    ($db:ty, $dir:literal) => {
        #[async_trait]
        impl $crate::storage::OperationStore for $db {
            async fn begin_operation(
                pool: &Pool<Self>,
                new: &$crate::storage::NewOperation<'_>,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "operation_begin"))
                    .bind(new.id)
                    .bind(new.operator)
                    .bind(new.command)
                    .bind(new.target)
                    .bind(new.why)
                    .execute(pool)
                    .await
                    .map_err(Error::database("record that an operation begins"))?;
                Ok(())
            }

            async fn end_operation(
                pool: &Pool<Self>,
                id: Uuid,
                affected: Option<i64>,
                problem: Option<&str>,
            ) -> Result<()> {
                sqlx::query(sql!($dir, "operation_end"))
                    .bind(affected)
                    .bind(problem)
                    .bind(id)
                    .execute(pool)
                    .await
                    .map_err(Error::database("record that an operation has ended"))?;
                Ok(())
            }

            async fn operations(
                pool: &Pool<Self>,
                limit: i64,
            ) -> Result<Vec<$crate::storage::OperationRow>> {
                let rows: Vec<$crate::storage::shared::OperationColumns> =
                    sqlx::query_as(sql!($dir, "operation_list"))
                        .bind(limit)
                        .fetch_all(pool)
                        .await
                        .map_err(Error::database("list operations"))?;
                Ok(rows.into_iter().map($crate::storage::shared::operation_row).collect())
            }

            async fn forget_operations(pool: &Pool<Self>, age: Duration) -> Result<u64> {
                let gone = sqlx::query(sql!($dir, "operation_forget"))
                    .bind(millis(age))
                    .execute(pool)
                    .await
                    .map_err(Error::database("forget operations"))?;
                Ok(gone.rows_affected())
            }

            async fn rows_of(pool: &Pool<Self>, table: &'static str) -> Result<i64> {
                let statement = format!("{} {table}", sql!($dir, "rows_of").trim_end());
                sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                    .fetch_one(pool)
                    .await
                    .map_err(Error::database("count the rows of a table"))
            }
        }
    };
}
pub(in crate::storage) use operation_store;
