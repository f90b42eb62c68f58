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

use crate::text::escape;

/// How a command that ran to its end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// A check failed or nothing matched; the output says what.
    Not,
    /// The tables cannot be used; the output says why.
    Schema,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Not => 1,
            Outcome::Schema => 4,
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

    /// Whether the database was not reached, or busy.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.kind == Kind::Unreachable
    }

    /// The same, and what else is known of it.
    pub(crate) fn with(self, more: &str) -> Self {
        Self { message: format!("{}: {more}", self.message), ..self }
    }

    /// Not all is well, and the document on stdout says what is not.
    pub(crate) fn of_document(schema: bool) -> Self {
        let kind = if schema { Kind::Schema } else { Kind::Failed };
        let message = "a check failed or nothing matched: the document on stdout says what";
        Self { kind, message: message.to_owned() }
    }

    /// Says on stderr what went wrong.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        let (code, kind) = match self.kind {
            // Whoever read our output has seen enough.
            Kind::Closed => return ExitCode::SUCCESS,
            Kind::Failed => (1, "failed"),
            Kind::Usage => (2, "usage"),
            Kind::Unreachable => (3, "unreachable"),
            Kind::Schema => (4, "schema"),
        };
        let text = match json {
            true => {
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
