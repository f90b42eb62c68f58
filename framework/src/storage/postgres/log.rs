//! Sealing and reading. `sql/seal.sql` closes a batch; the reads use its predicate.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use sqlx::{Connection, FromRow, PgConnection, PgPool, Postgres, Row, postgres::PgRow};

use super::listener::Listener;
use crate::{
    Error, Result,
    message::{Message, Position},
    storage::{
        Cursor, Lease, LogRow, LogStore, PageLimit, RetentionStore, Sealed, Signal, Watch,
        shared::{collect_page, headers, readable},
    },
};

/// A scan of so many sequence values that found nothing is remembered by an empty seal.
const WIDE_SCAN: i64 = 10_000;
/// How many small seals are read at once.
const SEALS_A_READ: i64 = 256;
/// So few rows are read together with their seals.
const FEW: i64 = 256;
/// So few rows come with the seal that closes them, unless one has a payload of more bytes.
const AT_ONCE: i64 = 64;
const SMALL: i32 = 16 << 10;
/// The channel of wake-ups between processes.
fn channel(signal: Signal) -> &'static str {
    match signal {
        Signal::Outbox => "syncline",
        Signal::Sagas => "syncline_saga",
    }
}

#[async_trait]
impl LogStore for Postgres {
    async fn seal(pool: &PgPool, lease: &Lease, limit: i64) -> Result<Sealed> {
        let sealed = sqlx::query(include_str!("sql/seal.sql"))
            .bind(limit)
            .bind(&lease.name)
            .bind(lease.holder)
            .bind(lease.epoch)
            .bind(WIDE_SCAN)
            .bind(AT_ONCE)
            .bind(SMALL)
            // To the end: what is told is committed.
            .fetch_all(pool)
            .await;
        match sealed {
            Ok(rows) => sealed_rows(&rows).map_err(Error::database("seal the log")),
            // Another sealer took this number first: its seal is as good as ours.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                Ok(Sealed::default())
            }
            Err(error) => Err(Error::database("seal the log")(error)),
        }
    }

    async fn head(pool: &PgPool) -> Result<Position> {
        let head = sqlx::query_scalar(include_str!("sql/head.sql")).fetch_one(pool).await;
        head.map(Position).map_err(Error::database("read the head of the log"))
    }

    async fn read(pool: &PgPool, after: Cursor, limit: PageLimit) -> Result<Vec<LogRow>> {
        let page = match limit.rows <= FEW {
            true => read_few(pool, after, limit).await,
            false => read_many(pool, after, limit).await,
        };
        // A page that holds less than its seals says nothing of where it began: partitions that
        // are emptied vanish from a statement under way. The trim point was moved before that.
        if !matches!(&page, Ok(Page { whole: true, .. })) {
            Self::trimmed(pool).await?.of(after.position)?;
        }
        page.map(|page| page.rows)
    }

    async fn locate(pool: &PgPool, position: Position) -> Result<Cursor> {
        let trimmed = Self::trimmed(pool).await?;
        if position <= trimmed.position {
            return trimmed.of(position);
        }
        let failed = "find a position";
        let seal: Option<SealRow> = sqlx::query_as(include_str!("sql/seal_at.sql"))
            .bind(position.0)
            .fetch_optional(pool)
            .await
            .map_err(Error::database(failed))?;
        let missing =
            |problem: &str| Error::LogBroken { position: position.0, problem: problem.to_owned() };
        let Some(seal) = seal else {
            Self::trimmed(pool).await?.of(position)?;
            return Err(missing("no seal holds it"));
        };
        if position.0 >= seal.first_position + seal.count {
            return Err(missing("it has not been given to a message yet"));
        }
        let seq: Option<i64> = sqlx::query_scalar(include_str!("sql/locate.sql"))
            .bind(seal.late_lo)
            .bind(seal.seq_hi)
            .bind(&seal.snapshot)
            .bind(seal.prev_hi)
            .bind(&seal.prev_snapshot)
            .bind(position.0 - seal.first_position)
            .fetch_optional(pool)
            .await
            .map_err(Error::database(failed))?;
        Self::trimmed(pool).await?.of(position)?;
        let seq = seq.ok_or_else(|| missing("its seal has fewer rows than it counted"))?;
        Ok(Cursor { position, seal: seal.seal, seq })
    }

    async fn check_durable(pool: &PgPool) -> Result<()> {
        let refuse = |setting, found, remedy| Err(Error::NotDurable { setting, found, remedy });
        // First: there the prepared statements of others are in the way of ours.
        if shares_sessions(pool).await.map_err(Error::database("look for a pooler"))? {
            let found = "shared with others by a pooler in transaction mode".to_owned();
            return refuse("the connection", found, "give the relay a direct URL of the server");
        }
        let (standby, fsync, full_pages): (bool, String, String) =
            sqlx::query_as(include_str!("sql/durability.sql"))
                .fetch_one(pool)
                .await
                .map_err(Error::database("read the durability settings"))?;
        if standby {
            return refuse("this server", "a standby".to_owned(), "connect to the primary");
        }
        if fsync != "on" {
            return refuse("fsync", fsync, "set fsync = on");
        }
        if full_pages != "on" {
            return refuse("full_page_writes", full_pages, "set full_page_writes = on");
        }
        Ok(())
    }

    async fn watch(pool: &PgPool, signal: Signal) -> Result<Box<dyn Watch>> {
        let listener = Listener::start(pool, channel(signal)).await;
        Ok(Box::new(listener.map_err(Error::database("listen for wake-ups"))?))
    }

    async fn signal(pool: &PgPool, signal: Signal) -> Result<()> {
        sqlx::query(include_str!("sql/signal.sql"))
            .bind(channel(signal))
            .execute(pool)
            .await
            .map_err(Error::database("wake other processes"))?;
        Ok(())
    }
}

/// Whether two connections that are open at once meet the same session, or one meets two: then what is
/// set for a session holds for nobody, and nobody can listen.
async fn shares_sessions(pool: &PgPool) -> sqlx::Result<bool> {
    let options = (*pool.connect_options()).clone().statement_cache_capacity(0);
    let (mut one, mut other) =
        (PgConnection::connect_with(&options).await?, PgConnection::connect_with(&options).await?);
    let mut shared = false;
    for _ in 0..3 {
        let before = backend(&mut one).await?;
        let mut held = other.begin().await?;
        let beside = backend(&mut held).await?;
        let after = backend(&mut one).await?;
        held.rollback().await?;
        shared |= before == beside || before != after;
    }
    one.close().await?;
    other.close().await?;
    Ok(shared)
}

async fn backend(connection: &mut PgConnection) -> sqlx::Result<i32> {
    let pid = sqlx::query_scalar(include_str!("sql/backend.sql")).persistent(false);
    pid.fetch_one(connection).await
}

/// A seal with what bounds it.
struct SealRow {
    seal: i64,
    first_position: i64,
    count: i64,
    late_lo: i64,
    seq_hi: i64,
    snapshot: String,
    prev_hi: i64,
    prev_snapshot: String,
}

impl FromRow<'_, PgRow> for SealRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            seal: row.try_get(0)?,
            first_position: row.try_get(1)?,
            count: row.try_get(2)?,
            late_lo: row.try_get(3)?,
            seq_hi: row.try_get(4)?,
            snapshot: row.try_get(5)?,
            prev_hi: row.try_get(6)?,
            prev_snapshot: row.try_get(7)?,
        })
    }
}

impl SealRow {
    /// How many of its rows a reader at `after` has not read.
    fn rest(&self, after: Cursor) -> i64 {
        unread(self.first_position, self.count, after)
    }

    /// The sequence value after which its rows stand, for a reader at `after`.
    fn after(&self, after: Cursor) -> i64 {
        if self.seal == after.seal { self.late_lo.max(after.seq) } else { self.late_lo }
    }
}

/// What a seal closed: its rows, or one without a message where they do not come with it.
fn sealed_rows(rows: &[PgRow]) -> sqlx::Result<Sealed> {
    let Some(first) = rows.first() else { return Ok(Sealed::default()) };
    let (seal, begins, count): (i64, i64, i64) =
        (first.try_get(9)?, first.try_get(10)?, first.try_get(11)?);
    let mut sealed = Sealed {
        count: count.unsigned_abs(),
        head: Some(Position(begins + count - 1)),
        rows: Vec::new(),
    };
    if rows.len() as i64 == count && first.try_get::<Option<i64>, _>(0)?.is_some() {
        for (row, position) in rows.iter().zip(begins..) {
            let mut row = log_row(row, seal)?;
            row.cursor.position = Position(position);
            sealed.rows.push(row);
        }
    }
    Ok(sealed)
}

/// What was read, and whether it is all that the seals hold; it is not when there is none.
struct Page {
    rows: Vec<LogRow>,
    whole: bool,
}

/// As [`read_many`], with one statement: where a round trip costs more than the rows.
async fn read_few(pool: &PgPool, after: Cursor, limit: PageLimit) -> Result<Page> {
    let (mut first, mut last, mut rest, mut seen) = (None, None, 0, 0);
    // How many rows came, and whether a seal lacked some when the next one began.
    let (mut held, mut lacks) = (0, false);
    let rows = sqlx::query(include_str!("sql/read_few.sql"))
        .bind(after.seal)
        .bind(after.position.0)
        .bind(after.seq)
        .bind(limit.rows)
        .fetch(pool)
        .map(|row| {
            let row = row?;
            let (seal, from, count): (i64, i64, i64) =
                (row.try_get(9)?, row.try_get(10)?, row.try_get(11)?);
            first.get_or_insert(from);
            if last.replace(seal) != Some(seal) {
                lacks |= held < rest;
                rest += unread(from, count, after);
            }
            seen += 1;
            // A seal may have no rows, or none that are left.
            let holds: Option<i64> = row.try_get(0)?;
            held += i64::from(holds.is_some());
            holds.map(|_| log_row(&row, seal)).transpose()
        })
        .filter_map(|row| std::future::ready(row.transpose()));
    let page = collect_page(rows, limit).await.map_err(Error::database("read the log"));
    let Some(first) = first else { return page.map(|(rows, _)| Page { rows, whole: false }) };
    begins(first, after)?;
    if lacks {
        let problem = "a seal there has fewer rows than it counted".to_owned();
        return Err(Error::LogBroken { position: after.position.0 + 1, problem });
    }
    let page = page.map(|(rows, full)| (rows, full || seen == limit.rows));
    number(page, after.position, rest, limit)
}

/// The rows after `after`, at least one while there are any, as far as the limit allows: of one
/// seal, or of many small ones.
async fn read_many(pool: &PgPool, after: Cursor, limit: PageLimit) -> Result<Page> {
    let seals: Vec<SealRow> = sqlx::query_as(include_str!("sql/seals_after.sql"))
        .bind(after.seal)
        .bind(after.position.0)
        .bind(SEALS_A_READ)
        .fetch_all(pool)
        .await
        .map_err(Error::database("read the seals"))?;
    let Some(first) = seals.first() else { return Ok(Page { rows: Vec::new(), whole: false }) };
    begins(first.first_position, after)?;
    let mut whole = 0;
    let fits = |seal: &&SealRow| {
        whole += seal.rest(after);
        whole <= limit.rows
    };
    match seals.iter().take_while(fits).count() {
        0 | 1 => read_seal(pool, first, after, limit).await,
        many => read_seals(pool, &seals[..many], after, limit).await,
    }
}

/// Checks that nothing is missing between a reader and the `first` position that it finds.
fn begins(first: i64, after: Cursor) -> Result<()> {
    let position = after.position.0 + 1;
    match first > position {
        true => Err(Error::LogBroken { position, problem: "no seal holds it".to_owned() }),
        false => Ok(()),
    }
}

/// How many of a seal's `count` rows, from position `first` on, a reader at `after` has not read.
fn unread(first: i64, count: i64, after: Cursor) -> i64 {
    first + count - first.max(after.position.0 + 1)
}

async fn read_seal(pool: &PgPool, seal: &SealRow, after: Cursor, limit: PageLimit) -> Result<Page> {
    let rows = sqlx::query(include_str!("sql/read_seal.sql"))
        .bind(seal.after(after))
        .bind(seal.late_lo)
        .bind(seal.seq_hi)
        .bind(&seal.snapshot)
        .bind(seal.prev_hi)
        .bind(&seal.prev_snapshot)
        .bind(limit.rows)
        .fetch(pool)
        .map(|row| row.and_then(|row| log_row(&row, seal.seal)));
    let page = collect_page(rows, limit).await.map_err(Error::database("read the log"));
    number(page, after.position, seal.rest(after), limit)
}

async fn read_seals(
    pool: &PgPool,
    seals: &[SealRow],
    after: Cursor,
    limit: PageLimit,
) -> Result<Page> {
    let rows = sqlx::query(include_str!("sql/read_seals.sql"))
        .bind(seals.iter().map(|s| s.seal).collect::<Vec<_>>())
        .bind(seals.iter().map(|s| s.after(after)).collect::<Vec<_>>())
        .bind(seals.iter().map(|s| s.seq_hi).collect::<Vec<_>>())
        .bind(seals.iter().map(|s| s.snapshot.as_str()).collect::<Vec<_>>())
        .bind(seals.iter().map(|s| s.prev_hi).collect::<Vec<_>>())
        .bind(seals.iter().map(|s| s.prev_snapshot.as_str()).collect::<Vec<_>>())
        .fetch(pool)
        .map(|row| row.and_then(|row| log_row(&row, row.try_get(9)?)));
    let page = collect_page(rows, limit).await.map_err(Error::database("read the log"));
    number(page, after.position, seals.iter().map(|seal| seal.rest(after)).sum(), limit)
}

/// Gives the rows of a page their positions: there must be all `rest` of the seals, or as many as
/// the limit allows.
fn number(
    page: Result<(Vec<LogRow>, bool)>,
    after: Position,
    rest: i64,
    limit: PageLimit,
) -> Result<Page> {
    let (mut page, full) = page?;
    let wanted = rest.min(limit.rows);
    if page.len() as i64 > wanted || (!full && page.len() as i64 != wanted) {
        return Err(Error::LogBroken {
            position: after.0 + 1,
            problem: format!("{wanted} rows are sealed there and {} were found", page.len()),
        });
    }
    for (row, position) in page.iter_mut().zip(after.0 + 1..) {
        row.cursor.position = Position(position);
    }
    let whole = page.len() as i64 == rest;
    Ok(Page { rows: page, whole })
}

fn log_row(row: &PgRow, seal: i64) -> sqlx::Result<LogRow> {
    let cursor = Cursor { position: Position::START, seal, seq: row.try_get(0)? };
    Ok(LogRow { cursor, message: Arc::new(readable(row.try_get(1), message(row))?) })
}

fn message(row: &PgRow) -> sqlx::Result<Message> {
    Ok(Message {
        id: row.try_get(1)?,
        topic: row.try_get(2)?,
        key: row.try_get(3)?,
        time: row.try_get(4)?,
        content_type: row.try_get(5)?,
        schema_version: row.try_get(6)?,
        headers: headers(row.try_get(7)?),
        data: Bytes::from(row.try_get::<Vec<u8>, _>(8)?),
        idempotency_key: None,
        due: None,
    })
}
