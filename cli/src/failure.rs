//! What went wrong, and the exit code that scripts can trust.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use serde_json::json;
use syncline::Error;

use crate::database::about_files;

/// Exit codes of `--help`; docs/operating.md says what to do about each.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done, all is well
  1  refused or failed: the message says why, and what to do
  2  wrong usage or configuration
  3  the database cannot be reached, or is busy
  4  Syncline's tables cannot be used: not migrated, older, newer, edited
  5  not confirmed: it needs a yes (--yes, or an answer on a terminal); nothing was changed
  6  not found: what was named is not there
  7  nothing was changed: there was nothing to do
  8  something is failing: a check says what";

use crate::text::escape;

/// How a command that ran to its end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// It was refused; the output says why.
    Refused,
    /// The tables cannot be used; the output says why.
    Schema,
    /// Something that was named is not there; the output says what.
    NotFound,
    /// There was nothing to do.
    Unchanged,
    /// A check failed; the output says what.
    Failing,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Refused => Kind::Failed.code(),
            Outcome::Schema => Kind::Schema.code(),
            Outcome::NotFound => Kind::NotFound.code(),
            Outcome::Unchanged => Kind::Unchanged.code(),
            Outcome::Failing => Kind::Failing.code(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Closed,
    Failed,
    Usage,
    Unreachable,
    Schema,
    Unconfirmed,
    NotFound,
    Unchanged,
    Failing,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            // The reader of our output has seen enough.
            Self::Closed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Schema => 4,
            Self::Unconfirmed => 5,
            Self::NotFound => 6,
            Self::Unchanged => 7,
            Self::Failing => 8,
        }
    }

    /// The word for it in a JSON document.
    fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Schema => "schema",
            Self::Unconfirmed => "unconfirmed",
            Self::NotFound => "not_found",
            Self::Unchanged => "unchanged",
            Self::Failing => "failing",
        }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, message: message.into() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, message: message.into() }
    }

    /// There was no yes; nothing was changed.
    pub(crate) fn unconfirmed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unconfirmed, message: message.into() }
    }

    /// Something that was named is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { kind: Kind::NotFound, message: message.into() }
    }

    /// A check found something that fails.
    pub(crate) fn failing(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failing, message: message.into() }
    }

    /// There was nothing to do.
    pub(crate) fn unchanged(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unchanged, message: message.into() }
    }

    /// The text of it.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the database was not reached, or busy.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.kind == Kind::Unreachable
    }

    /// Whether it is none of the kinds that have a code of their own.
    pub(crate) fn is_failed(&self) -> bool {
        self.kind == Kind::Failed
    }

    /// The same, and what else is known of it.
    pub(crate) fn with(self, more: &str) -> Self {
        Self { message: format!("{}: {more}", self.message), ..self }
    }

    /// Not all is well, and the document on stdout says what is not; none for an outcome that is well.
    pub(crate) fn of_document(outcome: Outcome) -> Option<Self> {
        let (kind, message) = match outcome {
            Outcome::Done => return None,
            Outcome::Refused => (Kind::Failed, "refused: the document on stdout says why"),
            Outcome::Schema => {
                (Kind::Schema, "the tables cannot be used: the document on stdout says why")
            }
            Outcome::NotFound => (Kind::NotFound, "not found: the document on stdout says what"),
            Outcome::Unchanged => (Kind::Unchanged, "nothing was changed: there was nothing to do"),
            Outcome::Failing => (Kind::Failing, "a check failed: the document on stdout says what"),
        };
        Some(Self { kind, message: message.to_owned() })
    }

    /// Says on stderr what went wrong.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if self.kind == Kind::Closed {
            return ExitCode::SUCCESS;
        }
        let code = self.kind.code();
        let text = match json {
            true => {
                let kind = self.kind.word();
                let error = json!({"code": code, "kind": kind, "message": self.message});
                crate::text::json(&json!({ "error": error }), false).unwrap_or_default()
            }
            false => format!("error: {}", escape(&self.message)),
        };
        // Nobody is left to tell when stderr is closed, too.
        drop(writeln!(io::stderr(), "{text}"));
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe => Kind::Closed,
            _ => Kind::Failed,
        };
        Self { kind, message: format!("cannot write the output: {error}") }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if let Some((advice, unreadable)) = about_files(&error) {
            let message = format!("{error}: {advice}");
            return if unreadable { Self::unreachable(message) } else { Self::failed(message) };
        }
        let kind = match &error {
            Error::NotMigrated
            | Error::SchemaOlder { .. }
            | Error::SchemaNewer { .. }
            | Error::HistoryEdited { .. }
            | Error::MigrationInterrupted { .. } => Kind::Schema,
            error if error.is_read_only() => {
                let message = format!(
                    "{error}: the server takes no writes; it is a standby or a replica, or was made \
                     read-only: give the URL of the primary"
                );
                return Self::failed(message);
            }
            error if is_pooled(error) => {
                let message = format!(
                    "{error}: a pooler between here and PostgreSQL gives the session to others after \
                     each transaction: give a direct URL, or one that is pooled by session"
                );
                return Self::failed(message);
            }
            error if error.is_transient() => Kind::Unreachable,
            _ => Kind::Failed,
        };
        Self { kind, message: error.to_string() }
    }
}

/// Whether a prepared statement was missing, or there already, which only a pooler brings about.
fn is_pooled(error: &Error) -> bool {
    let Error::Database { source, .. } = error else { return false };
    let code = source.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "26000" | "42P05"))
}

/// Answers a command line that clap did not take: help, version, or wrong usage.
pub(crate) fn usage(mut error: clap::Error) -> ExitCode {
    if !error.use_stderr() {
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let json = std::env::args_os().any(|arg| arg == "--json");
    if !json && error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Help, which quotes no argument.
        drop(error.print());
        return ExitCode::from(2);
    }
    escape_arguments(&mut error);
    // Without clap's colours: an argument may hold the same sequences.
    let text = error.render().to_string();
    if json {
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        return Failure::usage(text.trim_end()).report(true);
    }
    let lines: Vec<String> = text.split('\n').map(escape).collect();
    drop(write!(io::stderr(), "{}", lines.join("\n")));
    ExitCode::from(2)
}

/// Escapes what clap quotes of the command line, so that a newline in it begins no line.
fn escape_arguments(error: &mut clap::Error) {
    let quoted: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter(|(kind, _)| *kind != ContextKind::Usage)
        .map(|(kind, value)| (kind, value.clone()))
        .collect();
    for (kind, value) in quoted {
        let plain = |text: StyledStr| StyledStr::from(escape(&text.to_string()));
        let value = match value {
            ContextValue::String(text) => ContextValue::String(escape(&text)),
            ContextValue::Strings(all) => {
                ContextValue::Strings(all.iter().map(|text| escape(text)).collect())
            }
            ContextValue::StyledStr(text) => ContextValue::StyledStr(plain(text)),
            ContextValue::StyledStrs(all) => {
                ContextValue::StyledStrs(all.into_iter().map(plain).collect())
            }
            other => other,
        };
        error.insert(kind, value);
    }
}
