//! Asking before something is lost, and who is asked: the one shape of all commands that destroy.
//!
//! Such a command first shows what goes, after the checks that the act makes, too. Then a person on a
//! terminal is asked; a script says `--yes`. Without either nothing is changed, with an exit code of its own.

use std::{
    env, fs,
    io::{self, BufRead, IsTerminal, Write},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::builder::NonEmptyStringValueParser;
use sqlx::Pool;
use syncline::{Storage, operations};

use crate::{failure::Failure, output::Output};

/// The time that people took to answer, in milliseconds.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// The time that a person took to answer: a command's limit does not count it.
pub(crate) fn asked() -> Duration {
    Duration::from_millis(ASKED.load(Ordering::Relaxed))
}

/// Consent to an act that cannot be taken back.
#[derive(clap::Args)]
pub(crate) struct Consent {
    /// Yes, do it; without this a person on a terminal is asked, and nothing is changed elsewhere
    #[arg(long)]
    yes: bool,
    /// Check and show what would be done, and change nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

impl Consent {
    /// Whether it was given beforehand: nothing need be shown.
    pub(crate) fn is_given(&self) -> bool {
        self.yes
    }

    /// Asks, after what goes was written to `output`. True: do it. False: nothing more was wanted than
    /// to see it. `act` says what would be done, such as `drop 3 messages for good`.
    pub(crate) fn obtain(&self, output: &mut Output, act: &str) -> Result<bool, Failure> {
        if self.yes || self.dry_run {
            output.finish()?;
            return Ok(self.yes);
        }
        output.finish()?;
        if output.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::unconfirmed(format!(
                "nothing was changed: to {act}, add --yes (--dry-run only shows it)"
            )));
        }
        match answer(&format!("{act}? [y/N] "))? {
            true => Ok(true),
            false => Err(Failure::unconfirmed("nothing was changed: the answer was not yes")),
        }
    }
}

/// Whether a person says yes. Anything else, also the end of the input, is a no.
fn answer(question: &str) -> Result<bool, Failure> {
    let began = Instant::now();
    let mut stderr = io::stderr();
    write!(stderr, "{}", syncline::logs::escape(question))?;
    stderr.flush()?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let waited = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    ASKED.fetch_add(waited, Ordering::Relaxed);
    read.map_err(|error| Failure::unconfirmed(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// An operator and a reason: both are kept in the database, and `syncline operations` shows them.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// Why it is done
    #[arg(long, value_name = "REASON", default_value = "no reason was given")]
    pub(crate) why: String,
    /// The operator's name; the user of the operating system and the machine unless given
    #[arg(long, value_name = "NAME", default_value_t = operator(), hide_default_value = true,
        value_parser = NonEmptyStringValueParser::new())]
    pub(crate) by: String,
}

/// The user who runs this program, and on which machine.
pub(crate) fn operator() -> String {
    let named = ["USER", "LOGNAME", "USERNAME"].into_iter().filter_map(|name| env::var(name).ok());
    let mut named = named.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let user = named.next().or_else(account).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}@{}", syncline::processes::host())
}

/// The name of the account that this process belongs to, where files tell; else its number.
fn account() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let id = ids.split_whitespace().next()?;
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    };
    Some(accounts.lines().find_map(of).unwrap_or_else(|| format!("uid {id}")))
}

impl Who {
    /// Does `act`, which says how many things it has changed, and records that it begins and how it ends.
    pub(crate) async fn record<DB: Storage, T>(
        &self,
        pool: &Pool<DB>,
        command: &str,
        target: &str,
        act: impl Future<Output = Result<(u64, T), Failure>>,
    ) -> Result<T, Failure> {
        let begun = operations::begin(pool, &self.by, command, target, &self.why).await?;
        let done = act.await;
        let outcome = done.as_ref().map(|(affected, _)| *affected).map_err(Failure::message);
        // The act is done, or not: that its record has no end does not change that.
        if let Err(error) = begun.end(pool, outcome).await {
            tracing::warn!(%error, command, target, "that the operation has ended is not recorded");
        }
        done.map(|(_, value)| value)
    }
}
