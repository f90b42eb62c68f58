//! Starting a saga in the caller's transaction.

use std::{fmt, sync::Arc};

use serde::Serialize;
use sqlx::Transaction;
use uuid::Uuid;

use super::{Inner, Over, Sagas, tell::Tell};
use crate::{
    Error, HandlerError, Storage,
    erasure::ERASED_INPUT,
    saga::{Event, State, kept},
    storage::NewSaga,
};

/// What [`Sagas::start`] returns. The saga begins after the transaction has committed.
#[derive(Clone)]
#[must_use = "call `committed()` after the commit, so that the engine looks at once"]
pub struct Started {
    /// The instance.
    pub id: Uuid,
    /// Whether it was there already: this start was a repeated one.
    pub repeated: bool,
    engine: Arc<dyn Tell>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, repeated, .. } = self;
        f.debug_struct("Started").field("id", id).field("repeated", repeated).finish()
    }
}

impl Started {
    /// Waits until the instance is over. Made before the commit and awaited after it, it is told by
    /// the engine at once where that runs by the same [`Sagas`]; of what another process decides, or
    /// an operator, it hears by asking every [`poll`](super::SagasBuilder::poll).
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(
    /// #     pool: sqlx::SqlitePool, sagas: syncline::saga::Sagas<sqlx::Sqlite>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// let mut tx = syncline::begin(&pool).await?;
    /// let started = sagas.start(&mut tx, "registration", "request-17", &"ada").await?;
    /// let over = started.over();
    /// tx.commit().await?;
    /// started.committed();
    /// match over.within(Duration::from_secs(2)).await? {
    ///     Some(end) => println!("{end:?}"),
    ///     None => println!("accepted; ask later"),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn over(&self) -> Over {
        Over::new(self.id, self.repeated, Arc::clone(&self.engine))
    }

    /// Wakes the engine, also that of another process where the database can. Call it after the
    /// commit; without it the engine finds the instance by polling.
    pub fn committed(self) {
        self.engine.tell();
    }
}

/// Why a saga was not started. Nothing of it was written, and the transaction can go on, unless
/// the database refused it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The engine has no definition of it.
    #[error("no definition of saga {saga:?} is known here: add it to the engine's builder")]
    Unknown {
        /// The saga.
        saga: String,
    },
    /// A name or a key is not of the allowed form.
    #[error(
        "{what} {value:?} is not of the allowed form: 1 to {most} bytes without control characters"
    )]
    Form {
        /// Which of them.
        what: &'static str,
        /// What it is.
        value: String,
        /// How many bytes it may have.
        most: usize,
    },
    /// The input cannot be stored, or the definition cannot read it.
    #[error("saga {saga:?} cannot start with this: {problem}")]
    Input {
        /// The saga.
        saga: String,
        /// What is wrong with it.
        problem: HandlerError,
    },
    /// The key has started an instance with another input.
    #[error(
        "saga {saga:?} was started with key {key:?} and another input before, as instance {id}: a key names one request"
    )]
    OtherInput {
        /// The saga.
        saga: String,
        /// The key.
        key: String,
        /// The instance that it started.
        id: Uuid,
    },
    /// Another instance has locked an entity that this one would lock.
    #[error("{entity:?} is locked by saga instance {by}: try again when it is over")]
    Locked {
        /// The entity.
        entity: String,
        /// The instance that holds it.
        by: Uuid,
    },
    /// The database, or a message that cannot be written.
    #[error(transparent)]
    Storage(#[from] Error),
}

const LONGEST: usize = 255;

fn check(what: &'static str, value: &str) -> Result<(), StartError> {
    match (1..=LONGEST).contains(&value.len()) && !value.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(StartError::Form { what, value: value.to_owned(), most: LONGEST }),
    }
}

impl<DB: Storage> Sagas<DB> {
    fn engine(&self) -> Arc<dyn Tell> {
        Arc::<Inner<DB>>::clone(&self.0)
    }

    /// Starts `saga`, in its newest version, with `input` in the caller's transaction: it begins
    /// when that has committed, or never. `key` names the request: started again with the same key
    /// and input, even at the same time, there is one instance. The key is free again when an
    /// ended instance is forgotten. `input` need not be of the type that the saga was built with, but
    /// that type must be read from its JSON.
    ///
    /// # Errors
    /// [`StartError`]: among them that the saga cannot read the input, and that an entity is locked by
    /// another instance.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn example(
    /// #     pool: sqlx::SqlitePool, sagas: syncline::saga::Sagas<sqlx::Sqlite>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = syncline::begin(&pool).await?;
    /// let started = sagas.start(&mut tx, "registration", "request-17", &"ada").await?;
    /// tx.commit().await?;
    /// started.committed();
    /// # Ok(()) }
    /// ```
    pub async fn start<In: Serialize + Sync>(
        &self,
        tx: &mut Transaction<'_, DB>,
        saga: &str,
        key: &str,
        input: &In,
    ) -> Result<Started, StartError> {
        let versions = self.0.sagas.iter().filter(|one| one.plan.name() == saga);
        let Some(definition) = versions.max_by_key(|one| one.plan.version()) else {
            return Err(StartError::Unknown { saga: saga.to_owned() });
        };
        check("start key", key)?;
        let cannot = |problem| StartError::Input { saga: saga.to_owned(), problem };
        let input = kept::keep(input).map_err(|error| cannot(error.into()))?;
        if let Err(problem) = definition.check_input(&input) {
            // An older version may have read it, in an instance that the key has started.
            let before = DB::saga_by_key(tx, saga, key).await?;
            let written = input.to_string();
            return match before {
                Some((id, text)) if text == written => {
                    Ok(Started { id, repeated: true, engine: self.engine() })
                }
                _ => Err(cannot(problem)),
            };
        }
        let mut entities = definition.locks(&input).map_err(cannot)?;
        entities.sort_unstable();
        entities.dedup();
        entities.iter().try_for_each(|entity| check("entity", entity))?;
        let state = serde_json::to_string(&State::new(&definition.plan));
        let state = state.map_err(|error| cannot(error.into()))?;
        let id = Uuid::now_v7();
        let (version, text) = (definition.plan.version(), input.to_string());
        let event = serde_json::to_string(&Event::Started).map_err(|error| cannot(error.into()))?;
        let new = NewSaga { id, saga, version, key, input: &text, state: &state, event: &event };
        if !DB::create_saga(tx, new).await? {
            return self.found(tx, saga, key, &text).await;
        }
        if !entities.is_empty()
            && let Some((entity, by)) = DB::lock_entities(tx, id, &entities).await?
        {
            DB::unmake_saga(tx, id).await?;
            return Err(StartError::Locked { entity, by });
        }
        Ok(Started { id, repeated: false, engine: self.engine() })
    }

    /// The instance that has the key already.
    async fn found(
        &self,
        tx: &mut Transaction<'_, DB>,
        saga: &str,
        key: &str,
        input: &str,
    ) -> Result<Started, StartError> {
        let Some((id, before)) = DB::saga_by_key(tx, saga, key).await? else {
            // It committed after this transaction's view was taken.
            return Err(StartError::Storage(Error::Database {
                action: "look for a saga by its key",
                source: sqlx::Error::RowNotFound,
            }));
        };
        // What was stored is compared: what is read again might be another one.
        // Of an instance that was erased nothing is known that another input could differ from.
        if before != input && before != ERASED_INPUT {
            let (saga, key) = (saga.to_owned(), key.to_owned());
            return Err(StartError::OtherInput { saga, key, id });
        }
        Ok(Started { id, repeated: true, engine: self.engine() })
    }
}
