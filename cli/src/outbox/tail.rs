//! `syncline outbox tail`.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::Pool;
use syncline::{
    Message, Storage,
    message::Position,
    storage::{Cursor, LogRow, PageLimit},
};
use uuid::Uuid;

use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

/// How many of the last messages are shown.
const LAST: i64 = 20;
/// How often new messages are looked for.
const POLL: Duration = Duration::from_millis(500);
const PAGE: PageLimit = PageLimit { rows: 500, bytes: 4 << 20 };
/// Columns of a line when no terminal reads.
const COLUMNS: usize = 160;
/// A payload gets at least so many.
const ROOM: usize = 40;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Begin with this position, instead of the last messages
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    from: Option<i64>,
    /// How many messages: the last ones (20 unless given), or at most so many with --from
    #[arg(short = 'n', value_name = "MESSAGES", value_parser = clap::value_parser!(i64).range(0..))]
    number: Option<i64>,
    /// Wait for more; with --json, one document a line
    #[arg(long)]
    follow: bool,
}

impl Args {
    /// Whether it goes on until it is stopped.
    pub(crate) fn follows(&self) -> bool {
        self.follow
    }
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let head = DB::head(pool).await?.0;
    let start = match args.from {
        Some(from) => from - 1,
        // What is no longer kept is not among the last ones.
        None => (head - args.number.unwrap_or(LAST)).max(DB::trimmed(pool).await?.position.0),
    };
    let number = match (args.from, args.follow) {
        (Some(_), _) => args.number.unwrap_or(i64::MAX),
        (None, true) => i64::MAX,
        (None, false) => head - start,
    };
    if args.follow {
        let mut printer = Printer { output, form: Form::Lines, first: true };
        // Ending it by hand is how it ends.
        return tokio::select! {
            followed = follow(pool, start, number, &mut printer) => followed,
            _ = tokio::signal::ctrl_c() => Ok(Outcome::Done),
        };
    }
    if args.from.is_some() && start > 0 && start >= head {
        return Err(Failure::not_found(format!(
            "there is no message at position {} yet: the last one is at {head}",
            start + 1
        )));
    }
    let mut printer = Printer { output, form: Form::Array, first: true };
    let cursor = DB::locate(pool, Position(start)).await?;
    // What comes in while we read is for the next time.
    print_some(pool, cursor, number.min(head - start), &mut printer).await?;
    printer.end()?;
    let unsealed = DB::unsealed(pool).await?;
    if unsealed > 0 {
        output.note(&format!(
            "{unsealed} more are committed and have no position yet: a running relay gives it"
        ))?;
    }
    Ok(Outcome::Done)
}

async fn follow<DB: Storage>(
    pool: &Pool<DB>,
    start: i64,
    mut number: i64,
    printer: &mut Printer<'_>,
) -> Result<Outcome, Failure> {
    while DB::head(pool).await?.0 < start {
        tokio::time::sleep(POLL).await;
    }
    let mut cursor = DB::locate(pool, Position(start)).await?;
    loop {
        let before = cursor.position.0;
        cursor = print_some(pool, cursor, number, printer).await?;
        printer.output.finish()?;
        number -= cursor.position.0 - before;
        if number <= 0 {
            return Ok(Outcome::Done);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Prints what is there after `cursor`, at most `number` messages, a page at a time.
async fn print_some<DB: Storage>(
    pool: &Pool<DB>,
    mut cursor: Cursor,
    mut number: i64,
    printer: &mut Printer<'_>,
) -> Result<Cursor, Failure> {
    while number > 0 {
        let limit = PageLimit { rows: PAGE.rows.min(number), ..PAGE };
        let page = DB::read(pool, cursor, limit).await?;
        let Some(last) = page.last() else { break };
        cursor = last.cursor;
        number -= page.len() as i64;
        for row in &page {
            printer.row(row)?;
        }
    }
    Ok(cursor)
}

/// How JSON documents are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Array,
    Lines,
}

struct Printer<'a> {
    output: &'a mut Output,
    form: Form,
    first: bool,
}

impl Printer<'_> {
    fn row(&mut self, row: &LogRow) -> Result<(), Failure> {
        let first = std::mem::replace(&mut self.first, false);
        if !self.output.is_json() {
            let columns = self.output.columns().unwrap_or(COLUMNS);
            return self.output.line(line(row, columns));
        }
        let document = Document::new(row);
        match self.form {
            Form::Lines => self.output.json_line("", &document, "\n"),
            Form::Array => self.output.json_line(if first { "[\n" } else { ",\n" }, &document, ""),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        match (self.output.is_json() && self.form == Form::Array, self.first) {
            (false, _) => Ok(()),
            (true, true) => self.output.line("[]"),
            (true, false) => self.output.line("\n]"),
        }
    }
}

/// A line for a person; the payload on a second one where the first has no room for it.
fn line(row: &LogRow, columns: usize) -> String {
    let message = &row.message;
    let place = format!(
        "{:>8}  {}  {}  {}  {}",
        row.cursor.position.0,
        text::time(message.time),
        message.topic,
        message.key.as_deref().unwrap_or("-"),
        message.id,
    );
    let payload = text::payload(&message.data);
    let room = columns.saturating_sub(place.chars().count() + 2);
    match room < ROOM {
        true => {
            let payload = text::cut(&payload, columns.saturating_sub(10));
            format!("{}\n{:10}{payload}", text::cut(&place, columns), "")
        }
        false => format!("{}  {}", text::escape(&place), text::cut(&payload, room)),
    }
}

/// A message for programs; JSON payloads as they are, others as text or base64.
#[derive(Serialize)]
struct Document<'a> {
    position: Position,
    id: Uuid,
    topic: &'a str,
    key: Option<&'a str>,
    time: DateTime<Utc>,
    content_type: &'a str,
    schema_version: i32,
    headers: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Document<'a> {
    fn new(row: &'a LogRow) -> Self {
        let message = &row.message;
        let data = data(message);
        Self {
            position: row.cursor.position,
            id: message.id,
            topic: &message.topic,
            key: message.key.as_deref(),
            time: message.time,
            content_type: &message.content_type,
            schema_version: message.schema_version,
            headers: &message.headers,
            data_base64: data.is_none().then(|| STANDARD.encode(&message.data)),
            data,
        }
    }
}

fn data(message: &Message) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(&message.data).ok()?;
    if message.content_type == syncline::message::JSON {
        // Line ends stand only between tokens; a document must stay on its line.
        if let Ok(json) = RawValue::from_string(text.replace(['\n', '\r'], " ")) {
            return Some(json);
        }
    }
    serde_json::value::to_raw_value(text).ok()
}
