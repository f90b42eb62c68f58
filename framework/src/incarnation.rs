//! The lives of a source's database. A restored backup, or a failover that lost commits, gives
//! positions to new messages that consumers know as others. Consumers and relays notice, the
//! stream stops, and an operator begins a new incarnation: it names the position up to which
//! the log is still the one that the consumers know.

use chrono::{DateTime, Utc};
use sqlx::Pool;
use uuid::Uuid;

use crate::{
    Error, Result, Storage, begin,
    message::Position,
    storage::{Former, Term, check_schema},
};

/// Up to where the restored log is the one that consumers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Agreed {
    /// All of it: nothing was written since it was restored.
    Head,
    /// Up to this position.
    At(Position),
    /// Up to where the log ended when a relay first began to seal it after this time, which is
    /// after the backup was taken and before anything was written to the restored database.
    RestoredAt(DateTime<Utc>),
}

/// A new incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebased {
    /// Which one.
    pub incarnation: Uuid,
    /// Its log and those before it are the same up to here.
    pub agreed: Position,
    /// So many messages were written anew, for the log could not be sealed (PostgreSQL after a
    /// restore from a dump).
    pub rewritten: u64,
}

/// The incarnation of a database, and what came before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lives {
    /// The incarnation.
    pub incarnation: Uuid,
    /// Former and lost ones, the oldest first.
    pub former: Vec<Former>,
    /// The times in which one process sealed the log, the newest hundred, in order.
    pub terms: Vec<Term>,
    /// The last position that has been given out.
    pub head: Position,
}

/// Reads what is known of a source's lives.
///
/// # Errors
/// [`Error::Database`], [`Error::NotMigrated`] and its kin.
pub async fn lives<DB: Storage>(pool: &Pool<DB>) -> Result<Lives> {
    check_schema(pool).await?;
    Ok(Lives {
        incarnation: DB::incarnation(pool).await?,
        former: DB::former_incarnations(pool).await?,
        terms: DB::terms(pool).await?,
        head: DB::head(pool).await?,
    })
}

/// Begins a new incarnation of the source in `pool`'s database, whose log is the former one's up
/// to `agreed`. `lost` names incarnations that consumers follow and this database does not know:
/// they began after the backup was taken.
///
/// A consumer that has applied no more than what is agreed goes on; one that has applied more is
/// told so, keeps what it did, and goes on after the agreed position. Relays under way notice
/// within a third of their lease.
///
/// # Errors
/// [`Error::Definition`] when the log does not reach the position, or no term began after the
/// time; nothing was changed then. [`Error::Database`].
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// // Right after the backup was restored, before anything writes to it.
/// use syncline::incarnation::{Agreed, rebase};
/// let new = rebase(&pool, Agreed::Head, &[]).await?;
/// println!("incarnation {} agrees up to {}", new.incarnation, new.agreed);
/// # Ok(()) }
/// ```
pub async fn rebase<DB: Storage>(
    pool: &Pool<DB>,
    agreed: Agreed,
    lost: &[Uuid],
) -> Result<Rebased> {
    let Lives { head, terms, .. } = lives(pool).await?;
    let refuse = |problem: String| {
        Err(Error::Definition { what: "new incarnation", name: format!("{agreed:?}"), problem })
    };
    let at = match agreed {
        Agreed::Head => head,
        Agreed::At(position) if (Position::START..=head).contains(&position) => position,
        Agreed::At(_) => return refuse(format!("the log ends at position {head}")),
        Agreed::RestoredAt(time) => match terms.iter().find(|term| term.began_at >= time) {
            Some(term) => term.head,
            None => return refuse("no relay has begun to seal the log since then".to_owned()),
        },
    };
    let mut tx = begin(pool).await?;
    let rewritten = DB::reseal(&mut tx).await?;
    let incarnation = DB::begin_incarnation(&mut tx, at, lost).await?;
    tx.commit().await.map_err(Error::database("begin a new incarnation"))?;
    Ok(Rebased { incarnation, agreed: at, rewritten })
}
