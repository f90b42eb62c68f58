//! Storage: what the framework asks of a database, as small traits on sqlx's own database
//! types. `storage/<database>/` holds all the SQL, in `.sql` files.
//!
//! A new database implements these traits and passes `testing::storage_suite`;
//! `docs/adding-a-database.md` has the checklist.

mod ahead;
mod barrier;
mod begin;
mod erasure;
pub mod file;
mod held;
mod incarnation;
mod inspect;
mod lease;
mod lent;
mod log;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
mod operation;
mod own;
pub mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod process;
mod pulse;
mod reapply;
mod retention;
mod route;
mod saga;
mod saga_watch;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod shared;
mod source;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
mod watch;
mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Pool, Transaction, pool::PoolConnection};
use uuid::Uuid;

use crate::{
    Result,
    message::{Link, Message, Origin, Position},
};

pub use ahead::{Ahead, AheadRow, AheadStore};
pub use barrier::{BarrierKey, BarrierRecord, BarrierRow, BarrierStep, BarrierStore};
pub use begin::begin;
pub(crate) use begin::{begin_as, begin_by_hand, check_writable};
pub(crate) use erasure::ERASED_DIGEST;
pub use erasure::{BarrierAnswer, ErasureStore, HeldCopy, Whose};
pub use held::{DueKey, Edited, HeldMessage, HeldReason, HeldStore, Holding, OverdueKeys};
pub use incarnation::{Former, IncarnationStore, Term, UnsealedRow};
pub use inspect::{Blocking, Finding, Inspect, Level, OpenWriter, RouteLag};
pub use lease::{Lease, LeaseStore};
pub(crate) use lent::Lent;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
use log::Blind;
pub use log::{Cursor, LogRow, LogStore, PageLimit, Sealed, Signal, Watch};
pub use migrate::{
    AppliedMigration, MigrationState, MigrationStatus, Steps, check_down, check_schema, dropped,
    migrate, migrate_down, plan, status,
};
pub use operation::{NewOperation, OperationRow, OperationStore};
pub(crate) use own::{Cause, Current, Own, close, user_code};
pub use process::{HeldCount, HeldLease, ProcessReport, ProcessRow, ProcessStore, Unhandled};
pub use pulse::{Awaited, Beat, Beating, Found, PulseStore};
pub use reapply::{Inbox, ReapplyStore};
pub use retention::{Aged, Anchor, Kept, Patience, RetentionStore, SetAside, Swept};
pub use route::{
    Begins, Checkpoint, FoundProblem, MemberStore, NewPause, NewShard, NewVersion, RoutePause,
    RouteProblem, RouteRow, RouteStore, Save, ShardKey, StreamStore, StreamVersion,
};
pub(crate) use saga::saga_owner;
pub use saga::{
    NewSaga, Pending, SagaChanges, SagaEvent, SagaFilter, SagaInspect, SagaLock, SagaLogLine,
    SagaLogRow, SagaRow, SagaSave, SagaStore, SagaSummary, SagaTimer,
};
pub use saga_watch::{SagaSteps, SagaWatch, SourceRole};
pub use source::{DelayStore, Delayed, DelayedMessage, IdempotencyStore, Known};
pub(crate) use watch::watch;
pub use writes::{Writes, check_writes};

macro_rules! storage {
    ($($store:ident),* $(,)?) => {
        /// A database that Syncline runs on.
        pub trait Storage: $($store +)* {}

        impl<DB: $($store +)*> Storage for DB {}
    };
}
storage!(
    OutboxStore,
    LogStore,
    LeaseStore,
    RouteStore,
    StreamStore,
    MemberStore,
    PulseStore,
    ProcessStore,
    OperationStore,
    IncarnationStore,
    RetentionStore,
    InboxStore,
    AheadStore,
    HeldStore,
    ReapplyStore,
    BarrierStore,
    ErasureStore,
    SagaStore,
    SagaInspect,
    SagaWatch,
    Inspect,
);

/// A server as a connection meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Tells it from others, and from the same one when it was started anew, if it can.
    pub name: String,
    /// When it was started, in seconds of its own clock, give or take one; 0 where the name
    /// says it.
    pub started: i64,
}

impl Server {
    /// Whether nothing can have been lost between the two.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.started.abs_diff(other.started) <= 1
    }
}

/// Takes note of the server behind a new connection.
pub type Met = Arc<dyn Fn(Server) + Send + Sync>;

/// What is done with the savepoint of a saga's step; one round trip each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Savepoint {
    /// It is set.
    Set,
    /// What was written since stays, and it is set anew.
    Next,
    /// What was written since is rolled back; it stays set.
    Back,
}

/// What a transaction is known again by, where a savepoint with a secret name does not tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark(pub(crate) Option<String>);

/// How a transaction begins; its isolation is READ COMMITTED where there are others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// By the service, or without a limit of the server's. Where a session may have been set to take
    /// no writes, it is asked in the same round trip.
    Write,
    /// As [`Opening::Write`]; a session that takes no writes will do.
    Plain,
    /// By a consumer, whose connection may die. Where there is a server, it rolls back a transaction in
    /// which nothing happens for so many seconds, and nobody waits in it for a lock for longer than ten:
    /// who died meanwhile would be given it all the same.
    Bounded(u32),
    /// By an engine of sagas: one that is frozen after it has claimed instances is ended by the
    /// server, where there is one.
    Limited,
}

/// What every one of the storage traits builds on.
#[async_trait]
pub trait Base:
    sqlx::Database<Connection: sqlx::migrate::Migrate> + sqlx::database::HasStatementCache
{
    /// `PostgreSQL`, `SQLite`, ...
    const LABEL: &'static str;
    /// This database's migrations.
    const MIGRATIONS: &'static [syncline_migrations::Migration];

    /// Migrations whose text was replaced by one with the same effect: version and former SHA-384.
    const FORMER: &'static [(i64, &'static str)] = &[];

    /// Refuses a server that is too old, before anything is written to it.
    ///
    /// # Errors
    /// [`Error::Unfit`](crate::Error::Unfit), [`Error::Database`](crate::Error::Database).
    async fn check_server(pool: &Pool<Self>) -> Result<()>;

    /// Whether a session may be set to see what others have not committed.
    const READS_UNCOMMITTED: bool = false;

    /// Refuses a service's sessions whose settings would lose or change what the framework reads
    /// and writes; the error names the setting.
    async fn check_session(_pool: &Pool<Self>) -> Result<()> {
        Ok(())
    }

    /// The statements that begin a transaction (SQLite takes its write lock at once, so that it
    /// cannot fail later for having read first).
    fn begin_sql(how: Opening) -> AssertSqlSafe<String>;

    /// SQLSTATE of the error with which [`Opening::Write`] fails in a session that takes no writes, if
    /// it asks for that.
    const READ_ONLY_SIGN: Option<&'static str> = None;

    /// Writes, but no row.
    async fn write_nothing(tx: &mut Transaction<'_, Self>) -> sqlx::Result<()>;

    /// A connection that is in no transaction.
    async fn connection(pool: &Pool<Self>) -> sqlx::Result<PoolConnection<Self>> {
        pool.acquire().await
    }

    /// Whether the database goes with its connections, as one in memory does: none is closed.
    fn goes_with_connections(_pool: &Pool<Self>) -> bool {
        false
    }

    /// Whether [`InboxStore::save_inbox`] fails with
    /// [`Error::TransactionLost`](crate::Error::TransactionLost) in another transaction than the
    /// one that locked the row.
    const SAVE_TELLS: bool = false;

    /// Marks a transaction, before a handler gets it.
    async fn mark_transaction(_tx: &mut Transaction<'_, Self>) -> Result<Mark> {
        Ok(Mark::default())
    }

    /// Fails with [`Error::TransactionLost`](crate::Error::TransactionLost) when `tx` is not in the
    /// transaction that was marked any more, although nobody ended it through `tx`. Without a mark
    /// PostgreSQL tells only whether there is one that has written.
    async fn still_open(tx: &mut Transaction<'_, Self>, mark: &Mark) -> Result<()>;

    /// Limits how long `tx` may rest and wait for a lock, where that is the server's to limit and can
    /// be said for one transaction.
    async fn bound(_tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        Ok(())
    }

    /// Waits until a connection that has ended under code of the user's says so.
    async fn after_user_code(_tx: &mut Transaction<'_, Self>) -> sqlx::Result<()> {
        Ok(())
    }

    /// Sets a savepoint, or ends what was done since it was set.
    async fn savepoint(tx: &mut Transaction<'_, Self>, what: Savepoint) -> sqlx::Result<()>;

    /// A pool of its own for the relay, with the settings that sealing needs. `met` is told of
    /// the server behind each new connection before that is used.
    fn relay_pool(pool: &Pool<Self>, connections: u32, met: Met) -> Pool<Self>;

    /// How many transactions of an engine of sagas may be under way at once.
    const ENGINE_AT_ONCE: u32 = 1;

    /// A pool for our own background work, like the service's and with its settings, of so many
    /// `connections` at the most; none where no connection can die and the service's own will do.
    fn own_pool(_pool: &Pool<Self>, _connections: u32) -> Option<Pool<Self>> {
        None
    }

    /// Fails with [`Error::Unfit`](crate::Error::Unfit) when the database keeps text in another
    /// encoding than UTF-8.
    async fn check_encoding(_pool: &Pool<Self>) -> Result<()> {
        Ok(())
    }

    /// Fails with [`Error::Unfit`](crate::Error::Unfit) when row level security may hide rows of
    /// Syncline's tables from the connected role: what is hidden would never be sent, in silence.
    async fn check_visible(_pool: &Pool<Self>) -> Result<()> {
        Ok(())
    }

    /// Takes `steps` under a lock against other runs, all of them or none (or, where DDL commits
    /// by itself, so that the next run finishes them), and returns the versions.
    async fn run_migrations(pool: &Pool<Self>, steps: Steps) -> Result<Vec<i64>>;

    /// The applied migrations in order of version; empty without a history table.
    async fn applied_migrations(pool: &Pool<Self>) -> Result<Vec<AppliedMigration>>;

    /// A migration that was cut off half way, where DDL commits by itself; the next run finishes it.
    async fn interrupted_migration(_pool: &Pool<Self>) -> Result<Option<i64>> {
        Ok(None)
    }

    /// How many messages that are unsent or held would go with migration `version`; writers
    /// wait from here on. `first`: it is the first one to be taken back in this run.
    async fn lost_with(connection: &mut Self::Connection, version: i64, first: bool)
    -> Result<i64>;
}

/// Where a message went: its sequence value, and the transaction that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The sequence value; not the position, and not in commit order.
    pub seq: i64,
    /// PostgreSQL's transaction id; none elsewhere.
    pub xid: Option<u64>,
}

/// Writes into the outbox.
#[async_trait]
pub trait OutboxStore: IdempotencyStore + DelayStore {
    /// Appends `messages`, which [`Message::validate`] has found good, in order; one result each.
    async fn append(tx: &mut Transaction<'_, Self>, messages: &[Message]) -> Result<Vec<Appended>>;
}

/// A consumer's state of one (source, stream, version, shard).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxRow {
    /// The source's life that the watermark belongs to.
    pub incarnation: Uuid,
    /// Everything up to here is applied, or held with its key parked.
    pub watermark: Position,
    /// The last message at or below the watermark.
    pub last: Link,
    /// Where this version of the stream ended, once a newer one has begun here.
    pub ended: Option<Position>,
}

/// The watermark inbox.
#[async_trait]
pub trait InboxStore: Base {
    /// Reads the row without locking it.
    async fn inbox(pool: &Pool<Self>, consumer: &str, origin: &Origin) -> Result<Option<InboxRow>>;

    /// Locks the row of (consumer, origin) until the transaction ends, and reads it; makes it
    /// with `first` when there is none.
    async fn lock_inbox(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
        first: InboxRow,
    ) -> Result<InboxRow>;

    /// As [`InboxStore::lock_inbox`], and whether no key of the origin's source is parked, where
    /// the database can tell that in the same round trip: none when it cannot, or when somebody has
    /// moved the row since the statement began.
    async fn lock_inbox_asking(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
        first: InboxRow,
    ) -> Result<(InboxRow, Option<bool>)> {
        Ok((Self::lock_inbox(tx, consumer, origin, first).await?, None))
    }

    /// Locks and reads the rows of all shards of the origin's version that there are, with the
    /// shard of each.
    async fn lock_version(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
    ) -> Result<Vec<(i32, InboxRow)>>;

    /// Writes the row that [`InboxStore::lock_inbox`] locked in this transaction.
    async fn save_inbox(
        tx: &mut Transaction<'_, Self>,
        consumer: &str,
        origin: &Origin,
        row: InboxRow,
    ) -> Result<()>;

    /// Remembers that a rejection of `message` was compensated; false when it already was.
    async fn mark_compensated(
        tx: &mut Transaction<'_, Self>,
        message: Uuid,
        by: &str,
        reason: &str,
    ) -> Result<bool>;
}
