//! The real statement, on a server of its own: other sessions' transactions would hide a race. A schedule
//! of the model is carried out step by step.

use std::collections::BTreeSet;

use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Postgres, Row, Transaction,
    postgres::PgPoolOptions,
};
use stateright::Model;
use syncline::{
    Message, begin, enqueue,
    message::Position,
    storage::{Cursor, Lease, LeaseStore, LogStore, PageLimit},
};
use syncline_tests::{chance::Chance, own_server::OwnServer};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    database::{Fate, Row as ModelRow},
    sealing::{Action, Mutant, Sealer, Sealing, Size, State},
};

const SEAL: &str = include_str!("../../../framework/src/storage/postgres/sql/seal.sql");
const LONG: std::time::Duration = std::time::Duration::from_secs(3_600);
/// Six writers and two sealers have one each at the most. One that was given back is asked whether it is
/// well, by a task of its own, before it is there again: the next step need not wait for that.
const SESSIONS: u32 = 12;
/// On a loaded machine a server may take long to open another.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
const ALL: PageLimit = PageLimit { rows: 1_000, bytes: usize::MAX };
/// Numbers of rows that are rolled back to a savepoint begin here.
const NEVER: i64 = 1_000;

type Sealed = (Transaction<'static, Postgres>, sqlx::Result<Vec<i64>>);

/// Where a real sealer stands.
enum Stand {
    Idle,
    /// It has begun, as only a mutant has before its statement.
    Begun(Transaction<'static, Postgres>, Option<String>),
    Sealed(Box<Sealed>),
    /// Another sealer's commit decides.
    Blocked(JoinHandle<Sealed>),
}

/// A PostgreSQL on which nobody else is.
pub(crate) struct Real {
    pool: PgPool,
    watcher: PgConnection,
    lease: Lease,
    _server: OwnServer<Postgres>,
}

impl Real {
    pub(crate) async fn start() -> Option<Self> {
        // Nothing but the schedule takes an id of a transaction.
        let server = OwnServer::start_with("-c autovacuum=off -c fsync=off").await?;
        let url = server.database(None).await;
        let pool = PgPoolOptions::new().max_connections(SESSIONS).acquire_timeout(PATIENCE);
        let pool = pool.connect(&url).await.expect("connect");
        syncline::migrate(&pool).await.expect("migrate");
        let watcher = PgConnection::connect(&url).await.expect("connect");
        let lease = Postgres::acquire(&pool, "seal", Uuid::now_v7(), LONG).await.expect("acquire");
        Some(Self { pool, watcher, lease: lease.expect("free"), _server: server })
    }

    /// From here on the log is empty, as after the migration.
    async fn begin_anew(&mut self) {
        let restart = "DELETE FROM syncline_seal; \
             INSERT INTO syncline_seal (seal, first_position, count, seq_hi, prev_hi, prev2_hi, \
                                        late_lo, snapshot, lows) \
             SELECT 0, 1, 0, last_value, last_value, last_value, last_value, \
                    pg_current_snapshot(), '{}' FROM syncline_outbox_seq";
        self.pool.execute(restart).await.expect("begin anew");
        // Of nothing that runs now.
        let snapshot = "UPDATE syncline_seal SET snapshot = pg_current_snapshot()";
        self.pool.execute(snapshot).await.expect("the first snapshot");
    }

    /// Lets two seals of one number be written.
    pub(crate) async fn drop_fence(&mut self) {
        let drop = "ALTER TABLE syncline_seal DROP CONSTRAINT syncline_seal_pkey";
        self.pool.execute(drop).await.expect("drop the key");
    }

    /// The numbers in the log, and whether their positions are dense.
    async fn log(&self) -> (Vec<i64>, bool) {
        let rows = match Postgres::read(&self.pool, Cursor::default(), ALL).await {
            Ok(rows) => rows,
            Err(error) => {
                println!("the log cannot be read: {error}");
                return (Vec::new(), false);
            }
        };
        let dense = rows.iter().zip(1..).all(|(row, n)| row.cursor.position == Position(n));
        (rows.iter().map(|row| row.message.decode().expect("a number")).collect(), dense)
    }

    async fn is_blocked(&mut self) {
        let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)";
        for _ in 0..10_000 {
            if sqlx::query_scalar(sql).fetch_one(&mut self.watcher).await.expect("look") {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the second sealer waits for nobody");
    }
}

/// One walk through a schedule.
pub(crate) struct Walk<'a> {
    real: &'a mut Real,
    size: Size,
    mutant: Option<Mutant>,
    chance: Option<&'a mut Chance>,
    writers: Vec<Option<Transaction<'static, Postgres>>>,
    sealers: [Stand; 2],
    model: State,
    /// What a reader has seen so far, at the end of each seal.
    seen: Vec<Vec<i64>>,
    steps: Vec<Action>,
}

impl<'a> Walk<'a> {
    /// With savepoints where there is `chance`.
    pub(crate) async fn begin(
        real: &'a mut Real,
        sealing: &Sealing,
        chance: Option<&'a mut Chance>,
    ) -> Self {
        real.begin_anew().await;
        let model = sealing.init_states().remove(0);
        let writers = model.writers.iter().map(|_| None).collect();
        let sealers = [Stand::Idle, Stand::Idle];
        let Sealing { size, mutant } = *sealing;
        let (seen, steps) = (Vec::new(), Vec::new());
        Self { real, size, mutant, chance, writers, sealers, model, seen, steps }
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Takes steps by chance until nothing is left to do.
    pub(crate) async fn wander(&mut self, sealing: &Sealing) {
        loop {
            let mut actions = Vec::new();
            sealing.actions(&self.model, &mut actions);
            // The model lets the second of two sealers commit first; the real one waits.
            actions.retain(|action| match action {
                Action::CommitSeal(at) => !matches!(self.sealers[*at], Stand::Blocked(_)),
                _ => true,
            });
            if actions.is_empty() {
                return;
            }
            let chance = self.chance.as_mut().expect("a chance");
            let action = actions.swap_remove(chance.below(actions.len()));
            self.step(sealing, action).await;
        }
    }

    pub(crate) async fn step(&mut self, sealing: &Sealing, action: Action) {
        self.steps.push(action.clone());
        let next = sealing.next_state(&self.model, action.clone()).expect("a possible step");
        match action {
            Action::TakeXid(at) => {
                let mut tx = begin(&self.real.pool).await.expect("begin");
                tx.execute("SELECT pg_current_xact_id()").await.expect("an id");
                self.writers[at] = Some(tx);
            }
            // Nobody else has the key: the model sees to that.
            Action::Lock(_) => {}
            Action::Insert(at) => self.insert(at, next.database.rows.len()).await,
            Action::End(at, commit) => {
                let tx = self.writers[at].take().expect("it is open");
                let done = if commit { tx.commit().await } else { tx.rollback().await };
                done.expect("end");
            }
            Action::SealerXid(at) => {
                let mut tx = self.real.pool.begin().await.expect("begin");
                tx.execute("SELECT pg_current_xact_id()").await.expect("an id");
                self.sealers[at] = Stand::Begun(tx, None);
            }
            Action::Snapshot(at) => {
                let mut tx = self.real.pool.begin().await.expect("begin");
                let taken = sqlx::query_scalar("SELECT pg_current_snapshot()::text");
                let taken = taken.fetch_one(&mut *tx).await.expect("a snapshot");
                self.sealers[at] = Stand::Begun(tx, Some(taken));
            }
            Action::Statement(at) => self.statement(at, &next).await,
            Action::CommitSeal(at) => self.commit_seal(at, &next).await,
        }
        self.model = next;
    }

    /// Row `number`, and by chance one that is rolled back, before it or around it.
    async fn insert(&mut self, at: usize, number: usize) {
        let key = format!("k{}", self.size.keys[at]);
        let message = |n: i64| Message::json("in", &n).expect("JSON").key(key.clone());
        let number = i64::try_from(number).expect("small");
        let how = self.chance.as_mut().map_or(0, |chance| chance.below(4));
        let tx = self.writers[at].as_mut().expect("it is open");
        if how == 1 {
            tx.execute("SAVEPOINT one").await.expect("a savepoint");
            let _ = enqueue(tx, &message(NEVER + number)).await.expect("enqueue");
            tx.execute("ROLLBACK TO SAVEPOINT one").await.expect("back");
        }
        if how >= 2 {
            tx.execute("SAVEPOINT two").await.expect("a savepoint");
        }
        let _ = enqueue(tx, &message(number)).await.expect("enqueue");
        if how == 2 {
            tx.execute("RELEASE SAVEPOINT two").await.expect("release");
        }
    }

    async fn statement(&mut self, at: usize, next: &State) {
        let (tx, taken) = match std::mem::replace(&mut self.sealers[at], Stand::Idle) {
            Stand::Begun(tx, taken) => (tx, taken),
            _ => (self.real.pool.begin().await.expect("begin"), None),
        };
        let sql = statement(self.mutant, taken.as_deref());
        let sealing = seal(tx, self.real.lease.clone(), sql, self.size.limit);
        let Sealer::Inserted { number, .. } = &next.sealers[at] else { panic!("{next:?}") };
        let same = |stand: &Sealer| matches!(stand, Sealer::Inserted { number: other, .. } if other == number);
        if same(&next.sealers[1 - at]) && self.mutant != Some(Mutant::NoFence) {
            let waiting = tokio::spawn(sealing);
            self.real.is_blocked().await;
            self.sealers[at] = Stand::Blocked(waiting);
        } else {
            let sealed = sealing.await;
            if self.mutant.is_none() {
                self.compare(at, next, sealed.1.as_ref().expect("it seals"));
            }
            self.sealers[at] = Stand::Sealed(Box::new(sealed));
        }
    }

    async fn commit_seal(&mut self, at: usize, next: &State) {
        let (tx, numbers) = match std::mem::replace(&mut self.sealers[at], Stand::Idle) {
            Stand::Sealed(sealed) => *sealed,
            Stand::Blocked(waiting) => waiting.await.expect("no panic"),
            _ => panic!("it has not sealed"),
        };
        let committed = next.seals != self.model.seals;
        if self.mutant.is_none() {
            assert_eq!(numbers.is_ok(), committed, "{numbers:?} {:?}", self.steps);
        }
        match numbers {
            Ok(_) => tx.commit().await.expect("commit"),
            Err(error) => {
                let error = error.into_database_error().expect("the server's");
                assert!(error.is_unique_violation(), "{error}");
                tx.rollback().await.expect("roll back");
            }
        }
        let (log, _) = self.real.log().await;
        self.seen.push(log);
    }

    /// The model is in step with the statement: both seal the same rows.
    fn compare(&self, at: usize, next: &State, numbers: &[i64]) {
        let Sealer::Inserted { seal, .. } = &next.sealers[at] else { panic!("{next:?}") };
        let expected: Vec<_> = seal.members.iter().map(number).collect();
        assert_eq!(numbers, expected, "after {:?}", self.steps);
    }

    /// Ends what is open, seals what is left, and says which of the promises are broken.
    pub(crate) async fn end(mut self) -> BTreeSet<&'static str> {
        let sealing = Sealing { size: self.size, mutant: self.mutant };
        for at in 0..self.writers.len() {
            if self.writers[at].is_some() {
                self.step(&sealing, Action::End(at, true)).await;
            }
        }
        for stand in std::mem::replace(&mut self.sealers, [Stand::Idle, Stand::Idle]) {
            drop(stand);
        }
        for _ in 0..50 {
            let mut tx = self.real.pool.begin().await.expect("begin");
            if self.mutant == Some(Mutant::XidBeforeSnapshot) {
                tx.execute("SELECT pg_current_xact_id()").await.expect("an id");
            }
            let sql =
                statement(self.mutant.filter(|mutant| *mutant != Mutant::TwoStatements), None);
            let (tx, numbers) = seal(tx, self.real.lease.clone(), sql, self.size.limit).await;
            let Ok(numbers) = numbers else { break };
            tx.commit().await.expect("commit");
            if numbers.is_empty() {
                break;
            }
        }
        let (log, dense) = self.real.log().await;
        let committed: Vec<ModelRow> = self.model.database.committed().collect();
        let mut all: Vec<_> = log.clone();
        all.sort_unstable();
        let mut broken = BTreeSet::new();
        if all != committed.iter().map(number).collect::<Vec<_>>() {
            broken.insert("a committed row is in exactly one seal");
        }
        if !self.seen.iter().all(|seen| log.starts_with(seen)) {
            broken.insert("a seal reads the same at any later time");
        }
        if !dense {
            broken.insert("positions are dense");
        }
        let place = |row: &ModelRow| log.iter().position(|n| *n == number(row));
        let order = |row: &ModelRow| self.model.database.fate(row.xid);
        let before = |one: &ModelRow, other: &ModelRow| match (order(one), order(other)) {
            (Fate::Committed(one), Fate::Committed(other)) => one < other,
            _ => false,
        };
        let out_of_order = |one: &ModelRow, other: &ModelRow| {
            one.key == other.key && before(one, other) && place(one) > place(other)
        };
        if committed.iter().any(|one| committed.iter().any(|other| out_of_order(one, other))) {
            broken.insert("a key's rows stand in commit order");
        }
        if !broken.is_empty() {
            println!("{broken:?}: {log:?} after {:?}, seen {:?}", self.steps, self.seen);
        }
        broken
    }
}

fn number(row: &ModelRow) -> i64 {
    i64::from(row.seq)
}

async fn seal(
    mut tx: Transaction<'static, Postgres>,
    lease: Lease,
    sql: String,
    limit: usize,
) -> Sealed {
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(limit as i64)
        .bind(&lease.name)
        .bind(lease.holder)
        .bind(lease.epoch)
        .bind(10_000_i64)
        .bind(1_000_i64)
        .bind(1_000_i32)
        .fetch_all(&mut *tx)
        .await;
    let numbers = rows.map(|rows| {
        let data = rows.iter().filter_map(|row| row.get::<Option<Vec<u8>>, _>("data"));
        data.map(|data| serde_json::from_slice(&data).expect("a number")).collect()
    });
    (tx, numbers)
}

/// The text of the statement, without what the mutant leaves out.
fn statement(mutant: Option<Mutant>, taken: Option<&str>) -> String {
    const NOW: &str = "pg_visible_in_snapshot(xid, (SELECT snapshot FROM cur))";
    let low = "coalesce((prev.lows ->> x::text)::bigint, prev.prev2_hi)";
    let bound = "least(prev.prev_hi, finished.low)";
    let taken = taken.map(|taken| format!("'{taken}'::pg_snapshot AS snapshot"));
    let changes: Vec<(&str, &str)> = match mutant {
        None | Some(Mutant::XidBeforeSnapshot | Mutant::NoFence) => vec![],
        Some(Mutant::NoLateRows) => vec![("seq <= (SELECT seq_hi FROM prev)", "false")],
        Some(Mutant::NoPreviousBound) => vec![(bound, "coalesce(finished.low, prev.seq_hi)")],
        Some(Mutant::NoListed) => vec![(bound, "prev.prev_hi")],
        Some(Mutant::NoLows) => vec![(low, "prev.prev2_hi")],
        Some(Mutant::LowsTooHigh) => {
            vec![(low, "coalesce((prev.lows ->> x::text)::bigint, prev.seq_hi)")]
        }
        Some(Mutant::TwoStatements) => match &taken {
            Some(taken) => vec![("pg_current_snapshot() AS snapshot", taken), (NOW, "true")],
            None => panic!("the snapshot was not taken"),
        },
    };
    changes.into_iter().fold(SEAL.to_owned(), |sql, (term, instead)| {
        assert!(sql.contains(term), "the statement has no {term} any more");
        sql.replace(term, instead)
    })
}
