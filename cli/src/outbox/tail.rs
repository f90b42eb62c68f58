//! `syncline outbox tail`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
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
    /// Only messages of this ordering key; the whole log that is kept is looked through for them
    #[arg(long)]
    key: Option<String>,
    /// Show the payloads, which may hold what is nobody's business
    #[arg(long)]
    data: bool,
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
    let (head, trimmed) = (DB::head(pool).await?.0, DB::trimmed(pool).await?.position.0);
    let last = args.number.unwrap_or(LAST);
    let (start, older) = match (args.from, &args.key) {
        (Some(from), _) => (from - 1, false),
        (None, Some(key)) => last_of_key(pool, key, last, (trimmed, head)).await?,
        // What is no longer kept is not among the last ones.
        (None, None) => ((head - last).max(trimmed), head - last > trimmed),
    };
    let number = match (args.from, args.follow) {
        (Some(_), _) => args.number.unwrap_or(i64::MAX),
        (None, true) => i64::MAX,
        (None, false) => last,
    };
    let mut printer = Printer { output, args, form: Form::Lines, first: true, left: number };
    if args.follow {
        // Ending it by hand is how it ends.
        return tokio::select! {
            followed = follow(pool, start, &mut printer) => followed,
            _ = tokio::signal::ctrl_c() => Ok(Outcome::Done),
        };
    }
    if args.from.is_some() && start > 0 && start >= head {
        return Err(Failure::not_found(format!(
            "there is no message at position {} yet: the last one is at {head}",
            start + 1
        )));
    }
    printer.form = Form::List;
    let cursor = DB::locate(pool, Position(start)).await?;
    // What comes in while we read is for the next time.
    let from = args.from.is_some();
    let (_, newer) = print_some(pool, cursor, head, from, &mut printer).await?;
    printer.end(older || newer)?;
    let unsealed = DB::unsealed(pool).await?;
    if unsealed > 0 {
        output.note(&format!(
            "{unsealed} more {} committed and {} no position yet: a running relay gives it",
            text::verb(unsealed, "is", "are"),
            text::verb(unsealed, "has", "have")
        ))?;
    }
    Ok(Outcome::Done)
}

/// Where to begin, so that the last `number` messages of `key` follow, and whether there are others
/// before. The log is looked through after the first position, up to the second.
async fn last_of_key<DB: Storage>(
    pool: &Pool<DB>,
    key: &str,
    number: i64,
    (trimmed, head): (i64, i64),
) -> Result<(i64, bool), Failure> {
    let most = usize::try_from(number).unwrap_or(usize::MAX);
    let (mut found, mut older) = (VecDeque::new(), false);
    let mut cursor = DB::locate(pool, Position(trimmed)).await?;
    while cursor.position.0 < head {
        let page = DB::read(pool, cursor, PAGE).await?;
        let Some(last) = page.last() else { break };
        cursor = last.cursor;
        for row in page.iter().filter(|row| row.message.key.as_deref() == Some(key)) {
            found.push_back(row.cursor.position.0);
            if found.len() > most {
                found.pop_front();
                older = true;
            }
        }
    }
    Ok((found.front().map_or(head, |first| first - 1), older))
}

async fn follow<DB: Storage>(
    pool: &Pool<DB>,
    start: i64,
    printer: &mut Printer<'_>,
) -> Result<Outcome, Failure> {
    while DB::head(pool).await?.0 < start {
        tokio::time::sleep(POLL).await;
    }
    let mut cursor = DB::locate(pool, Position(start)).await?;
    loop {
        (cursor, _) = print_some(pool, cursor, i64::MAX, false, printer).await?;
        printer.output.finish()?;
        if printer.left <= 0 {
            return Ok(Outcome::Done);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Prints what is there after `cursor` up to position `to`, as many as are left, a page at a time;
/// returns how far that was, and whether there is more, for which `to_the_next` looks on.
async fn print_some<DB: Storage>(
    pool: &Pool<DB>,
    mut cursor: Cursor,
    to: i64,
    to_the_next: bool,
    printer: &mut Printer<'_>,
) -> Result<(Cursor, bool), Failure> {
    let args = printer.args;
    let key = args.key.as_deref();
    while cursor.position.0 < to && (printer.left > 0 || to_the_next) {
        let rows = PAGE.rows.min(to - cursor.position.0);
        // Of one key more must be read than is shown.
        let rows = if key.is_none() { rows.min(printer.left.max(1)) } else { rows };
        let page = DB::read(pool, cursor, PageLimit { rows, ..PAGE }).await?;
        if page.is_empty() {
            break;
        }
        for row in &page {
            let wanted = key.is_none_or(|key| row.message.key.as_deref() == Some(key));
            match (printer.left > 0, wanted) {
                (false, _) if !to_the_next => return Ok((cursor, false)),
                (false, true) => return Ok((cursor, true)),
                (true, true) => printer.row(row)?,
                (_, false) => {}
            }
            cursor = row.cursor;
        }
    }
    Ok((cursor, false))
}

/// How JSON documents are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    List,
    Lines,
}

struct Printer<'a> {
    output: &'a mut Output,
    args: &'a Args,
    form: Form,
    first: bool,
    /// Messages that are still wanted.
    left: i64,
}

impl Printer<'_> {
    fn row(&mut self, row: &LogRow) -> Result<(), Failure> {
        let first = std::mem::replace(&mut self.first, false);
        self.left -= 1;
        if !self.output.is_json() {
            let columns = self.output.columns().unwrap_or(COLUMNS);
            return self.output.line(line(row, columns, self.args.data));
        }
        let document = Document::new(row, self.args.data);
        match self.form {
            Form::Lines => self.output.json_line("", &document, "\n"),
            Form::List => {
                let before = if first { "{\"items\":[\n" } else { ",\n" };
                self.output.json_line(before, &document, "")
            }
        }
    }

    /// Ends the list; `more` is whether there are others that were asked for.
    fn end(&mut self, more: bool) -> Result<(), Failure> {
        match (self.output.is_json() && self.form == Form::List, self.first) {
            (false, _) => Ok(()),
            (true, true) => self.output.line(format!("{{\"items\":[],\"more\":{more}}}")),
            (true, false) => self.output.line(format!("\n],\"more\":{more}}}")),
        }
    }
}

/// A line for a person, or two where one has no room for all of it: the id stays whole.
fn line(row: &LogRow, columns: usize, data: bool) -> String {
    let message = &row.message;
    let (position, time) = (row.cursor.position.0, text::time(message.time));
    let names = format!("{}  {}", message.topic, message.key.as_deref().unwrap_or("-"));
    let payload = match data {
        true => text::payload(&message.data),
        false => text::count(message.data.len(), "byte"),
    };
    let place = format!("{position:>8}  {time}  {names}  {}", message.id);
    let used = place.chars().count() + 2;
    // A short text needs no more room than its own.
    let needed = if data { ROOM } else { payload.len() };
    match columns.saturating_sub(used) < needed {
        true => {
            let more = text::cut(&format!("{names}  {payload}"), columns.saturating_sub(10));
            format!("{position:>8}  {time}  {}\n{:10}{more}", message.id, "")
        }
        false => format!("{}  {}", text::escape(&place), text::cut(&payload, columns - used)),
    }
}

/// A message for programs; JSON payloads as they are, others as text or base64.
#[derive(Serialize)]
struct Document<'a> {
    position: Position,
    id: Uuid,
    topic: &'a str,
    key: Option<&'a str>,
    occurred_at: String,
    content_type: &'a str,
    schema_version: i32,
    headers: &'a BTreeMap<String, String>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Document<'a> {
    /// Its payload only with `shown`.
    fn new(row: &'a LogRow, shown: bool) -> Self {
        let message = &row.message;
        let data = if shown { data(message) } else { None };
        Self {
            position: row.cursor.position,
            id: message.id,
            topic: &message.topic,
            key: message.key.as_deref(),
            occurred_at: text::time(message.time),
            content_type: &message.content_type,
            schema_version: message.schema_version,
            headers: &message.headers,
            bytes: message.data.len(),
            data_base64: (shown && data.is_none()).then(|| STANDARD.encode(&message.data)),
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
