//! The lives of a source's database. A restored backup, or a failover that lost commits, gives
//! positions to new messages that consumers know as others. Consumers and relays notice, the
//! stream stops, and an operator begins a new incarnation: it names the position up to which
//! the log is still the one that the consumers know.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use sqlx::Pool;
use uuid::Uuid;

use crate::{
    Error, Result, Storage,
    logs::{count, verb},
    message::Position,
    storage::{Former, NewShard, Term, UnsealedRow, begin_by_hand, check_schema},
};

/// The most messages without a position that are named.
const SHOWN: i64 = 20;

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

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("that agrees with all of the log"),
            Self::At(position) => write!(f, "that agrees up to position {position}"),
            Self::RestoredAt(time) => write!(f, "after the restore at {}", time.to_rfc3339()),
        }
    }
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
    /// Number of messages without a position that [`Unsealed::Discard`] removed.
    pub discarded: u64,
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

/// The fate of committed messages that have no position yet when a new incarnation begins. A backup
/// that was taken under load holds some: they may have been sent after it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsealed {
    /// They get positions and are sent: a consumer that got one after the backup applies it twice.
    Send,
    /// They are removed: a consumer that did not get one never will. Stop the service first: what
    /// it has committed since the restore has no position either, and is removed too.
    Discard,
}

/// A new incarnation as it would begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preview {
    /// Its log and those before it would be the same up to here.
    pub agreed: Position,
    /// The last position that has been given out: what follows the agreed one is sent anew.
    pub head: Position,
    /// The routes with messages at or below the agreed position that they have not delivered, and
    /// at most how many: a consumer that had applied other messages there never gets these.
    pub undelivered: Vec<(String, i64)>,
    /// Number of committed messages without a position.
    pub unsealed: i64,
    /// The first of them.
    pub first_unsealed: Vec<UnsealedRow>,
}

impl Preview {
    fn undelivered_text(&self) -> String {
        let routes = self.undelivered.iter().map(|(route, n)| format!("{n} of route {route}"));
        routes.collect::<Vec<_>>().join(", ")
    }
}

/// Begins a new incarnation of the source in a database, whose log is the former one's up to an
/// agreed position.
///
/// A consumer that has applied no more than what is agreed goes on; one that has applied more is
/// told so, keeps what it did, and goes on after the agreed position. Relays under way notice
/// within a third of their lease.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// // Right after the backup was restored, before anything writes to it.
/// use syncline::incarnation::{Agreed, Rebase};
/// let new = Rebase::new(Agreed::Head).run(&pool).await?;
/// println!("incarnation {} agrees up to {}", new.incarnation, new.agreed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebase {
    agreed: Agreed,
    lost: Vec<Uuid>,
    unsealed: Option<Unsealed>,
    skip_undelivered: bool,
}

impl Rebase {
    /// Names the position up to which the log is the one that consumers know.
    pub fn new(agreed: Agreed) -> Self {
        Self { agreed, lost: Vec::new(), unsealed: None, skip_undelivered: false }
    }

    /// Incarnations that consumers follow and this database does not know: they began after the
    /// backup was taken.
    #[must_use]
    pub fn lost(mut self, incarnations: impl IntoIterator<Item = Uuid>) -> Self {
        self.lost.extend(incarnations);
        self
    }

    /// Decides about committed messages without a position; without a decision,
    /// [`Rebase::run`] refuses when there are any.
    #[must_use]
    pub fn unsealed(mut self, fate: Unsealed) -> Self {
        self.unsealed = Some(fate);
        self
    }

    /// Goes on although consumers may never get messages at or below the agreed position that no
    /// route has delivered.
    #[must_use]
    pub fn skip_undelivered(mut self) -> Self {
        self.skip_undelivered = true;
        self
    }

    /// Up to where the log is the one that consumers know.
    pub fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// Tells what [`Rebase::run`] would do now; changes nothing.
    ///
    /// # Errors
    /// [`Error::Definition`] when the log does not reach the position, or no term began after the
    /// time. [`Error::Database`], [`Error::NotMigrated`] and its kin.
    pub async fn preview<DB: Storage>(&self, pool: &Pool<DB>) -> Result<Preview> {
        let Lives { head, terms, .. } = lives(pool).await?;
        let agreed = match self.agreed {
            Agreed::Head => head,
            Agreed::At(position) if (Position::START..=head).contains(&position) => position,
            Agreed::At(_) => return self.refuse(format!("the log ends at position {head}")),
            Agreed::RestoredAt(time) => match terms.iter().find(|term| term.began_at >= time) {
                Some(term) => term.head,
                None => {
                    return self.refuse("no relay has begun to seal the log since then".to_owned());
                }
            },
        };
        let mut undelivered = BTreeMap::new();
        for lag in DB::route_lags(pool).await? {
            let left = agreed.0 - lag.position.0;
            if left > 0 && !lag.lost {
                let most = undelivered.entry(lag.route).or_insert(0);
                *most = left.max(*most);
            }
        }
        Ok(Preview {
            agreed,
            head,
            undelivered: undelivered.into_iter().collect(),
            unsealed: DB::unsealed(pool).await?,
            first_unsealed: DB::first_unsealed(pool, SHOWN).await?,
        })
    }

    /// Says of a preview whether [`Rebase::run`] would refuse.
    ///
    /// # Errors
    /// [`Error::Definition`] when a decision is needed that was not taken.
    pub fn check(&self, preview: &Preview) -> Result<()> {
        if !self.skip_undelivered && !preview.undelivered.is_empty() {
            return self.refuse(format!(
                "messages at or below position {} that were not delivered ({}) would never reach a \
                 consumer that had applied others there: agree on an earlier position (`--to`), or \
                 accept that they are skipped (`--skip-undelivered`)",
                preview.agreed,
                preview.undelivered_text()
            ));
        }
        if self.unsealed.is_none() && preview.unsealed > 0 {
            let first = preview.first_unsealed.iter().map(ToString::to_string);
            return self.refuse(format!(
                "{} {} no position, and may have been sent after the backup was taken ({}): have them \
                 sent, perhaps for a second time (`--unsealed send`), or removed (`--unsealed discard`)",
                count(preview.unsealed, "committed message"),
                verb(preview.unsealed, "has", "have"),
                first.collect::<Vec<_>>().join("; ")
            ));
        }
        Ok(())
    }

    /// Begins the new incarnation.
    ///
    /// # Errors
    /// [`Error::Definition`] as [`Rebase::preview`], and when a decision is needed that was not
    /// taken: about messages without a position, or about messages that nobody would get; or when
    /// the log grew meanwhile. Nothing was changed then. [`Error::Database`], also when
    /// transactions that wrote messages stay open.
    pub async fn run<DB: Storage>(&self, pool: &Pool<DB>) -> Result<Rebased> {
        let preview = self.preview(pool).await?;
        self.check(&preview)?;
        let failed = "begin a new incarnation";
        let mut tx = begin_by_hand(pool).await?;
        let head = DB::hold_log(&mut tx).await?;
        let discard = self.unsealed == Some(Unsealed::Discard);
        let discarded = match discard {
            true => DB::discard_unsealed(&mut tx).await?,
            false => 0,
        };
        // A preview was decided about; what came after it nobody knows of.
        let grew = head != preview.head && (discard || self.agreed == Agreed::Head);
        if grew || discard && i64::try_from(discarded) != Ok(preview.unsealed) {
            tx.rollback().await.map_err(Error::database(failed))?;
            return self.refuse(
                "messages were committed or got positions while it began: stop the service and its                  relays, then look again"
                    .to_owned(),
            );
        }
        let rewritten = DB::reseal(&mut tx).await?;
        let incarnation = DB::begin_incarnation(&mut tx, preview.agreed, &self.lost).await?;
        tx.commit().await.map_err(Error::database(failed))?;
        // A checkpoint past the end, of a route that was not restored with the log: what is written next
        // would not be sent. A crash before this leaves the route diverged, and a rewind mends it.
        let head = DB::head(pool).await?;
        let past = DB::shards(pool).await?.into_iter();
        let past = past.filter(|row| row.checkpoint.cursor.position > head);
        let at = preview.agreed;
        let back: Vec<_> =
            past.map(|row| NewShard { key: row.key, at, closed: row.closed }).collect();
        if !back.is_empty() {
            DB::rewind(pool, &back).await?;
        }
        Ok(Rebased { incarnation, agreed: preview.agreed, rewritten, discarded })
    }

    fn refuse<T>(&self, problem: String) -> Result<T> {
        let name = self.agreed.to_string();
        Err(Error::Definition { what: "new incarnation", name, problem })
    }
}
