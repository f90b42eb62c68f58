//! Writing: tables and lines for people, one JSON document for programs. A reader that goes
//! away (`| head`) ends the command quietly.

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
};

use comfy_table::Table;
use serde::Serialize;
use serde_json::{Value, json};
use syncline::logs;

use crate::{
    failure::Failure,
    layout::{self, Column},
    text,
};

/// Where a command's results go.
pub(crate) struct Output {
    json: bool,
    columns: Option<usize>,
    stdout: BufWriter<Stdout>,
    warned: bool,
}

/// Cuts `found`, which was read with one more than `limit`, to it; whether there was more.
pub(crate) fn cut_off<T>(found: &mut Vec<T>, limit: usize) -> bool {
    let more = found.len() > limit;
    found.truncate(limit);
    more
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let terminal = || {
            let width = if stdout.is_terminal() { Table::new().width() } else { None };
            width.map(usize::from)
        };
        let columns = given_columns().or_else(terminal);
        Self { json, columns, stdout: BufWriter::new(stdout), warned: false }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// The columns that a line may have, if a terminal reads or `COLUMNS` says it.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// One line, or several of ours. What comes from the database must have been escaped where it may
    /// hold a newline; all else that a terminal would obey is escaped here.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", harmless(line.as_ref()))?)
    }

    /// A table; its cells are escaped here.
    pub(crate) fn table<const N: usize>(
        &mut self,
        columns: [impl Into<Column>; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        let columns: [Column; N] = columns.map(Into::into);
        let rows: Vec<[String; N]> =
            rows.into_iter().map(|row| row.map(|cell| text::escape(&cell))).collect();
        for line in layout::lines(&columns, &rows, self.columns) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Names with their values; these are escaped here.
    pub(crate) fn fields<const N: usize>(
        &mut self,
        fields: [(&str, String); N],
    ) -> Result<(), Failure> {
        let fields = fields.map(|(name, value)| (name, text::escape(&value)));
        for line in layout::fields(&fields, self.columns) {
            self.line(line)?;
        }
        Ok(())
    }

    /// The one JSON document of a command that lists: `more` is whether there are others that were asked
    /// for.
    pub(crate) fn list(
        &mut self,
        items: impl IntoIterator<Item = Value>,
        more: bool,
    ) -> Result<(), Failure> {
        let items: Vec<Value> = items.into_iter().collect();
        self.json(&json!({"items": items, "more": more}))
    }

    /// The one JSON document of this command.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = text::json(document, true).map_err(io::Error::from)?;
        Ok(writeln!(self.stdout, "{text}")?)
    }

    /// A JSON document on one line, with what stands before and after it.
    pub(crate) fn json_line(
        &mut self,
        before: &str,
        document: &impl Serialize,
        after: &str,
    ) -> Result<(), Failure> {
        self.stdout.write_all(before.as_bytes())?;
        let text = text::json(document, false).map_err(io::Error::from)?;
        self.stdout.write_all(text.as_bytes())?;
        Ok(self.stdout.write_all(after.as_bytes())?)
    }

    /// Something that a person should know and that is not the result.
    pub(crate) fn note(&mut self, note: &str) -> Result<(), Failure> {
        self.finish()?;
        if !self.json {
            drop(writeln!(io::stderr(), "{}", harmless(note)));
        }
        Ok(())
    }

    /// Something that may make the result wrong, on stderr also for programs.
    pub(crate) fn warn(&mut self, kind: &str, warning: &str) -> Result<(), Failure> {
        self.finish()?;
        self.warned = true;
        let text = match self.json {
            true => {
                let document = json!({"warning": {"kind": kind, "message": warning}});
                text::json(&document, false).map_err(io::Error::from)?
            }
            false => format!("warning: {}", text::escape(warning)),
        };
        drop(writeln!(io::stderr(), "{text}"));
        Ok(())
    }

    /// Whether something was warned of.
    pub(crate) fn has_warned(&self) -> bool {
        self.warned
    }

    /// Hands everything over.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }
}

/// The columns that the environment says, as for other programs: also where no terminal reads.
fn given_columns() -> Option<usize> {
    env::var("COLUMNS").ok()?.trim().parse().ok().filter(|columns| *columns > 0)
}

/// Lines of ours, with everything but newlines and tabs escaped.
fn harmless(lines: &str) -> String {
    let mut harmless = String::with_capacity(lines.len());
    for character in lines.chars() {
        match character {
            '\n' | '\t' => harmless.push(character),
            character => logs::push(&mut harmless, character),
        }
    }
    harmless
}
