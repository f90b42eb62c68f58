//! Sagas: what PostgreSQL does in one statement.

use sqlx::{Postgres, Transaction};

use crate::{
    Error, Result,
    storage::{
        NewSaga, SagaChanges, saga_owner,
        shared::{ended, json_parts},
    },
};

pub(super) async fn create(tx: &mut Transaction<'_, Postgres>, new: NewSaga<'_>) -> Result<bool> {
    let done = sqlx::query(include_str!("sql/saga_create.sql"))
        .bind(new.id)
        .bind(new.saga)
        .bind(new.version)
        .bind(saga_owner(new.saga, new.version))
        .bind(new.key)
        .bind(new.input)
        .bind(new.state)
        .bind(new.event)
        .execute(&mut **tx)
        .await
        .map_err(Error::database("start a saga"))?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn save(tx: &mut Transaction<'_, Postgres>, changes: &SagaChanges) -> Result<()> {
    let SagaChanges { saves, done, armed, cleared, log } = changes;
    let ended = ended(saves);
    let lists = [
        json_parts(cleared)?,
        json_parts(armed)?,
        json_parts(log)?,
        json_parts(&ended)?,
        json_parts(done)?,
        json_parts(saves)?,
    ];
    // Where a list is too long for one statement, its rest comes in another one.
    for at in 0..lists.iter().map(Vec::len).max().unwrap_or(0) {
        let mut query = sqlx::query(include_str!("sql/saga_save.sql"));
        for list in &lists {
            query = query.bind(list.get(at).map_or("[]", |(part, _)| part));
        }
        query.execute(&mut **tx).await.map_err(Error::database("write sagas"))?;
    }
    Ok(())
}
