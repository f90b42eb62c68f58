//! The processes that run a relay, a consumer or an engine of sagas on a database, as they tell of
//! themselves: who is alive, what each was built with, and what it does not get on with.
//!
//! Each writes its row every 15 seconds by the database's clock, and removes it when it stops in
//! order. One that was killed is seen as silent after 45 seconds, and forgotten after a day.

mod differing;
mod report;

use std::{fmt, sync::OnceLock, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Pool;
use uuid::Uuid;

use crate::{
    Result, Storage, cap,
    message::Position,
    storage::{HeldLease, ProcessRow},
};

pub use differing::{Differing, LASTING, differing};
pub(crate) use report::{Reporter, Tell, Told};

/// Interval at which a process writes its row.
pub(crate) const EVERY: Duration = Duration::from_secs(15);
/// A process that has not written its row for longer is taken for dead.
pub const SILENT: Duration = Duration::from_secs(45);
/// Retention of the row of one that did not stop in order.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// A consumer's problem begins with this where it itself refuses what comes.
pub(crate) const REFUSES: &str = "this consumer itself refuses messages of";
/// The longest name of a machine or a program, in bytes.
const NAME: usize = 200;

/// Role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Sends what is in the outbox.
    Relay,
    /// Applies messages.
    Consumer,
    /// Decides sagas.
    Engine,
}

impl Kind {
    /// `relay`, `consumer` or `engine`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Consumer => "consumer",
            Self::Engine => "engine",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::Relay, Self::Consumer, Self::Engine].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stream as a relay declares it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DefinedStream {
    /// Its name.
    pub name: String,
    /// The newest stored version that has this definition; 0 while none has.
    pub version: i32,
    /// The version that is in force.
    pub in_force: i32,
    /// Its topic patterns, in order.
    pub topics: Vec<String>,
    /// Its number of shards.
    pub shards: i32,
}

impl DefinedStream {
    /// Whether a newer definition is in force, so that the process carries nothing of the stream.
    pub fn is_outdated(&self) -> bool {
        self.version < self.in_force
    }
}

/// Readings of one shard that is in force and that no route carries, as far as a relay knows: by its own
/// feed and by those of other relays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Reading {
    /// The stream.
    pub stream: String,
    /// The version that is in force.
    pub version: i32,
    /// The shard.
    pub shard: i32,
    /// Position up to which it was read; none as long as nobody is known to have read it.
    pub read: Option<Position>,
    /// Seconds since a reader asked last or was at work on what it was given; since the relay has been
    /// waiting for one when there was none.
    pub quiet_seconds: u64,
    /// The first message that waits, of a shard that nobody has read for
    /// [`RelayOptions::unread_after`](crate::relay::RelayOptions::unread_after).
    pub unread: Option<Position>,
}

impl Reading {
    pub(crate) fn quiet(&self) -> Duration {
        Duration::from_secs(self.quiet_seconds)
    }
}

/// The definitions that a relay, a consumer or an engine was built with; only its own part is filled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Defined {
    /// A relay's streams, in the order in which they are declared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<DefinedStream>,
    /// A relay's routes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Readings of a relay's shards that no route carries, at most 256, those that nobody reads first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub readings: Vec<Reading>,
    /// A consumer's topic patterns, in order; those that it passes over end in ` (ignored)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// An engine's sagas, as `saga/version`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sagas: Vec<String>,
}

/// A process, as it told of itself last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its id; a relay's leases name it as their holder.
    pub id: Uuid,
    /// Its role.
    pub kind: Kind,
    /// The relay's or engine's source, the consumer's name.
    pub name: String,
    /// The machine.
    pub host: String,
    /// The operating system's number of the process.
    pub pid: i64,
    /// The program, with its version if that is known ([`set_program`]).
    pub program: String,
    /// When it began, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// When it was seen last, by the database's clock.
    pub seen_at: DateTime<Utc>,
    /// Time from its start to when it was seen last.
    pub ran: Duration,
    /// Time since it was seen last.
    pub unseen: Duration,
    /// The definitions that it was built with.
    pub defined: Defined,
    /// Its problems, at most 20.
    pub problems: Vec<String>,
}

impl Process {
    /// Whether it has told of itself lately ([`SILENT`]).
    pub fn is_alive(&self) -> bool {
        self.unseen <= SILENT
    }

    /// Problems of a consumer that itself refuses what comes, for its database takes no writes or it
    /// pauses: messages behind that are not missing, and are not to be skipped.
    pub fn refusals(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str).filter(|problem| problem.starts_with(REFUSES))
    }

    fn read(row: ProcessRow) -> Option<Self> {
        let ProcessRow { id, kind, name, host, pid, program, started_at, seen_at, now, .. } = row;
        let since = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).to_std();
        Some(Self {
            id,
            // A newer program's.
            kind: Kind::of(&kind)?,
            name,
            host,
            pid,
            program,
            started_at,
            seen_at,
            ran: since(started_at, seen_at).unwrap_or_default(),
            unseen: since(seen_at, now).unwrap_or_default(),
            defined: serde_json::from_str(&row.defined).unwrap_or_default(),
            problems: serde_json::from_str(&row.problems).unwrap_or_default(),
        })
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, host, pid, program, .. } = self;
        write!(f, "{kind} {name} ({program}, pid {pid} on {host})")
    }
}

/// The processes that have told of themselves on `pool`'s database, in order of kind, name and start;
/// also those that are silent ([`Process::is_alive`]).
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for process in syncline::processes::list(&pool).await? {
///     println!("{process}: {}", if process.is_alive() { "alive" } else { "silent" });
/// }
/// # Ok(()) }
/// ```
pub async fn list<DB: Storage>(pool: &Pool<DB>) -> Result<Vec<Process>> {
    Ok(DB::processes(pool).await?.into_iter().filter_map(Process::read).collect())
}

/// The leases that hold now, in order of name.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
pub async fn leases<DB: Storage>(pool: &Pool<DB>) -> Result<Vec<HeldLease>> {
    DB::leases(pool).await
}

static PROGRAM: OnceLock<String> = OnceLock::new();

/// Says which program this is, with its version, as operators shall see it; the name of the executable
/// unless set. Call it before anything is started; the first call counts.
///
/// ```
/// syncline::processes::set_program(concat!("orders ", env!("CARGO_PKG_VERSION")));
/// ```
pub fn set_program(program: impl Into<String>) {
    drop(PROGRAM.set(short(&program.into())));
}

fn program() -> &'static str {
    PROGRAM.get_or_init(|| {
        let path = std::env::current_exe().ok();
        let name = path.as_ref().and_then(|path| path.file_name());
        short(&name.map_or_else(|| "unknown".into(), |name| name.to_string_lossy()))
    })
}

/// The name of this machine, as far as the system tells it; `unknown` where it does not.
///
/// ```
/// assert!(!syncline::processes::host().is_empty());
/// ```
pub fn host() -> &'static str {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| {
        let files = ["/proc/sys/kernel/hostname", "/etc/hostname"].into_iter();
        let told = files.filter_map(|file| std::fs::read_to_string(file).ok());
        let named =
            ["HOSTNAME", "COMPUTERNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
        let found = told.chain(named).map(|name| short(name.trim())).find(|name| !name.is_empty());
        found.unwrap_or_else(|| "unknown".to_owned())
    })
}

/// A name that a row takes.
fn short(name: &str) -> String {
    let mut short = String::new();
    for c in cap::text(name).chars().filter(|c| !c.is_control()) {
        if short.len() + c.len_utf8() > NAME {
            break;
        }
        short.push(c);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_at_a_character_and_loses_what_steers_a_terminal() {
        assert_eq!(short("web\u{1b}[2J-1\n"), "web-1");
        assert_eq!(short(&"\u{e9}".repeat(300)).len(), NAME);
    }

    #[test]
    fn what_another_version_wrote_is_read_as_far_as_it_goes() {
        let row = |kind: &str, defined: &str, problems: &str| ProcessRow {
            id: Uuid::nil(),
            kind: kind.to_owned(),
            name: "login".to_owned(),
            host: "h".to_owned(),
            pid: 1,
            program: "p".to_owned(),
            defined: defined.to_owned(),
            problems: problems.to_owned(),
            started_at: DateTime::from_timestamp_millis(0).unwrap_or_default(),
            seen_at: DateTime::from_timestamp_millis(5_000).unwrap_or_default(),
            now: DateTime::from_timestamp_millis(51_000).unwrap_or_default(),
        };
        let more = r#"{"topics": ["a.*"], "lanes": 7}"#;
        let read = Process::read(row("consumer", more, r#"["slow"]"#)).expect("a consumer");
        assert_eq!(
            (read.defined.topics, read.problems),
            (vec!["a.*".to_owned()], vec!["slow".to_owned()])
        );
        assert_eq!((read.ran, read.unseen), (Duration::from_secs(5), Duration::from_secs(46)));
        let broken = Process::read(row("relay", "{", "7")).expect("a relay");
        assert!(broken.defined == Defined::default() && !broken.is_alive());
        assert_eq!(Process::read(row("cache", "{}", "[]")), None);
    }
}
