//! The outbox: messages commit with the change that they tell of, or not at all.

mod special;

use sqlx::Transaction;
use uuid::Uuid;

use crate::{
    Result,
    message::{Limits, Message},
    storage::{Appended, OutboxStore},
    wake,
};

/// What [`enqueue`] returns. The message is sent after the transaction has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "call `committed()` after the commit, so that the relay looks at once"]
pub struct Receipt {
    /// The message's id; that of the first one when it is repeated.
    pub id: Uuid,
    /// Where it was written, which is not a position; none for a delayed message.
    pub appended: Option<Appended>,
    /// Its idempotency key was used before for the same content: nothing was written.
    pub repeated: bool,
}

impl Receipt {
    /// Wakes the relay. Call it after the commit; without it the relay finds the message by
    /// polling.
    pub fn committed(self) {
        wake::committed();
    }
}

/// Writes `message` into the outbox in the caller's transaction: one INSERT.
///
/// Messages of one key are applied in commit order if each writer changes or locks the
/// key's own row before it enqueues.
///
/// # Errors
/// [`Error::Message`](crate::Error::Message) when the message is not of the allowed form
/// (nothing was written, the transaction goes on);
/// [`Error::IdempotencyKey`](crate::Error::IdempotencyKey) when its key was used for another
/// content (no message was written, the transaction goes on);
/// [`Error::Database`](crate::Error::Database) when the INSERT failed.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut tx = syncline::begin(&pool).await?;
/// sqlx::query("INSERT INTO users (id) VALUES ('u1')").execute(&mut *tx).await?;
/// let message = syncline::Message::json("user.registered", &"u1")?.key("u1");
/// let receipt = syncline::enqueue(&mut tx, &message).await?;
/// tx.commit().await?;
/// receipt.committed();
/// # Ok(()) }
/// ```
pub async fn enqueue<DB: OutboxStore>(
    tx: &mut Transaction<'_, DB>,
    message: &Message,
) -> Result<Receipt> {
    let mut receipts = enqueue_all(tx, std::slice::from_ref(message)).await?;
    receipts.pop().ok_or(crate::Error::Database {
        action: "write the outbox",
        source: sqlx::Error::RowNotFound,
    })
}

/// Writes `messages` into the outbox in the caller's transaction, in order, with one INSERT;
/// one receipt a message.
///
/// # Errors
/// As [`enqueue`]; when one message is refused, none was written.
pub async fn enqueue_all<DB: OutboxStore>(
    tx: &mut Transaction<'_, DB>,
    messages: &[Message],
) -> Result<Vec<Receipt>> {
    enqueue_within(tx, messages, &Limits::DEFAULT).await
}

/// As [`enqueue_all`], with limits of the caller's.
///
/// # Errors
/// As [`enqueue_all`].
pub async fn enqueue_within<DB: OutboxStore>(
    tx: &mut Transaction<'_, DB>,
    messages: &[Message],
    limits: &Limits,
) -> Result<Vec<Receipt>> {
    for message in messages {
        message.validate(limits)?;
    }
    let receipts = match messages.iter().all(Message::is_plain) {
        true => {
            let receipt = |(message, appended): (&Message, _)| Receipt {
                id: message.id,
                appended: Some(appended),
                repeated: false,
            };
            messages.iter().zip(DB::append(tx, messages).await?).map(receipt).collect()
        }
        false => special::enqueue(tx, messages).await?,
    };
    wake::enqueued();
    Ok(receipts)
}

/// Takes a delayed message back, in the caller's transaction; false when there is none of this id:
/// it was put into the outbox already, or cancelled before. Its idempotency key stays used.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool, reminder: uuid::Uuid) -> syncline::Result<()> {
/// let mut tx = syncline::begin(&pool).await?;
/// let in_time = syncline::outbox::cancel(&mut tx, reminder).await?;
/// # let _ = in_time; tx.commit().await.ok(); Ok(()) }
/// ```
pub async fn cancel<DB: OutboxStore>(tx: &mut Transaction<'_, DB>, id: Uuid) -> Result<bool> {
    DB::cancel(tx, id).await
}
