//! Writing: tables and lines for people, one JSON document for programs. A reader that goes
//! away (`| head`) ends the command quietly.

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use syncline::logs;

use crate::{failure::Failure, text};

/// Where a command's results go.
pub(crate) struct Output {
    json: bool,
    terminal: bool,
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let stdout = io::stdout();
        Self { json, terminal: stdout.is_terminal(), stdout: BufWriter::new(stdout) }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// How many columns a line may have, if a terminal reads.
    pub(crate) fn columns(&self) -> Option<usize> {
        let width = if self.terminal { Table::new().width() } else { None };
        width.map(usize::from)
    }

    /// One line, or several of ours. What comes from the database must have been escaped where it may
    /// hold a newline; all else that a terminal would obey is escaped here.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", harmless(line.as_ref()))?)
    }

    /// A table; its cells are escaped here.
    pub(crate) fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if header.iter().any(|cell| !cell.is_empty()) {
            table.set_header(header);
        }
        for row in rows {
            table.add_row(row.iter().map(|cell| text::escape(cell)));
        }
        for line in table.lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
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

    /// Hands everything over.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }
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
