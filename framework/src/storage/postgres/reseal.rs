//! A log whose transaction ids mean something else than when it was sealed, as after a restore from a dump.

use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{Error, Result, storage::UnsealedRow};

/// Whether the transaction ids of the last seal mean what they meant when it was made.
pub(super) async fn check_sealable(pool: &PgPool) -> Result<()> {
    let stale: Option<bool> = sqlx::query_scalar(include_str!("sql/seal_stale.sql"))
        .fetch_optional(pool)
        .await
        .map_err(Error::database("look at the last seal"))?;
    match stale {
        Some(true) => Err(Error::Unfit {
            setting: "the server's next transaction id",
            found: "lower than when the log was last sealed, as after a restore from a dump"
                .to_owned(),
            remedy: "begin a new incarnation: `syncline stream rebase`",
        }),
        _ => Ok(()),
    }
}

/// Writes what is not sealed anew, under transaction ids of now, after a seal of now.
pub(super) async fn reseal(tx: &mut Transaction<'_, Postgres>) -> Result<u64> {
    let failed = "make the log sealable again";
    let stale: Option<bool> = sqlx::query_scalar(include_str!("sql/seal_stale.sql"))
        .fetch_optional(&mut **tx)
        .await
        .map_err(Error::database(failed))?;
    if stale != Some(true) {
        return Ok(0);
    }
    let top: i64 = sqlx::query_scalar(include_str!("sql/reseal_top.sql"))
        .fetch_one(&mut **tx)
        .await
        .map_err(Error::database(failed))?;
    let moved = sqlx::query(include_str!("sql/reseal_move.sql"))
        .execute(&mut **tx)
        .await
        .map_err(Error::database(failed))?;
    sqlx::query(include_str!("sql/reseal.sql"))
        .bind(top)
        .execute(&mut **tx)
        .await
        .map_err(Error::database(failed))?;
    Ok(moved.rows_affected())
}

/// Committed messages that have no position, in the order in which they would get one.
pub(super) async fn first_unsealed(pool: &PgPool, most: i64) -> Result<Vec<UnsealedRow>> {
    let rows: Vec<(Uuid, String, Option<String>)> =
        sqlx::query_as(include_str!("sql/unsealed_list.sql"))
            .bind(most)
            .fetch_all(pool)
            .await
            .map_err(Error::database("read which messages are not sealed"))?;
    let row = |(id, topic, key)| UnsealedRow { id, topic, key };
    Ok(rows.into_iter().map(row).collect())
}

/// Removes them.
pub(super) async fn discard_unsealed(tx: &mut Transaction<'_, Postgres>) -> Result<u64> {
    let failed = "remove the messages that are not sealed";
    let gone = sqlx::query(include_str!("sql/unsealed_discard.sql")).execute(&mut **tx).await;
    Ok(gone.map_err(Error::database(failed))?.rows_affected())
}
