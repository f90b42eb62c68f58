//! Delivery of messages of the log: the routes that have sent them, and the consumers here that have
//! taken them in.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage, inboxes,
    message::Position,
    storage::{HeldMessage, Inbox, LogRow, PageLimit, UnsealedRow},
    streams::{Carrier, Carriers},
};
use uuid::Uuid;

use crate::{dead::state, failure::Failure};

const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: 4 << 20 };
/// The most messages without a position that are looked through.
const UNSEALED: i64 = 10_000;

/// Streams, routes and inboxes of a database at one moment.
pub(crate) struct Delivery {
    carriers: Carriers,
    incarnation: Uuid,
    pub(crate) inboxes: Vec<Inbox>,
}

impl Delivery {
    pub(crate) async fn read<DB: Storage>(pool: &Pool<DB>) -> Result<Self, Failure> {
        Ok(Self {
            carriers: Carriers::read(pool).await?,
            incarnation: DB::incarnation(pool).await?,
            inboxes: inboxes::list(pool, None).await?,
        })
    }

    fn carriers(&self, row: &LogRow) -> Vec<Carrier> {
        self.carriers.of(row.cursor.position, &row.message)
    }

    /// State of a message in words; `held` is what is held here.
    pub(crate) fn of(&self, row: &LogRow, held: &[HeldMessage]) -> String {
        let carriers = self.carriers(row);
        if carriers.is_empty() {
            return "sent nowhere: no stream carries its topic".to_owned();
        }
        let mut words: Vec<String> = carriers.iter().map(way).collect();
        words.extend(self.here(row, &carriers).map(|inbox| {
            let of = |one: &&HeldMessage| {
                one.consumer == inbox.consumer && one.message_id == row.message.id
            };
            match held.iter().find(of) {
                Some(held) => format!("{} here", in_words(held)),
                None => format!("applied here by {}", inbox.consumer),
            }
        }));
        words.dedup();
        words.join("; ")
    }

    /// Inboxes of this database that are past a message of its own log.
    fn here<'a>(
        &'a self,
        row: &'a LogRow,
        carriers: &'a [Carrier],
    ) -> impl Iterator<Item = &'a Inbox> {
        let has = |inbox: &&Inbox| {
            let of = |carrier: &Carrier| {
                let Inbox { origin, .. } = inbox;
                carrier.stream == origin.stream
                    && (carrier.version, carrier.shard) == (origin.version, origin.shard)
            };
            inbox.row.incarnation == self.incarnation
                && inbox.row.watermark >= row.cursor.position
                && carriers.iter().any(of)
        };
        self.inboxes.iter().filter(has)
    }

    /// The routes of a message, for programs.
    pub(crate) fn routes(&self, row: &LogRow) -> Vec<Value> {
        let carriers = self.carriers(row);
        let routes =
            carriers.iter().map(|Carrier { stream, version, shard, route, at, sent, .. }| {
                json!({
                    "stream": stream, "version": version, "shard": shard, "route": route,
                    "sent_up_to": at, "sent": sent,
                })
            });
        routes.collect()
    }
}

fn way(carrier: &Carrier) -> String {
    match (&carrier.route, carrier.sent, carrier.paused) {
        (None, ..) => format!("waits: stream {} has no route", carrier.stream),
        (Some(route), true, _) => format!("sent by route {route}"),
        (Some(route), false, true) => {
            format!("waits: route {route} is paused, it has sent up to {}", carrier.at)
        }
        (Some(route), false, false) => {
            format!("not sent yet: route {route} has sent up to {}", carrier.at)
        }
    }
}

/// State of a held message in words.
pub(crate) fn in_words(held: &HeldMessage) -> String {
    let at = &held.consumer;
    match state(held) {
        "dead" => format!("dead at {at}: it waits for an operator"),
        "failed" => format!("held at {at}: it failed, and is tried again"),
        "retry" => format!("held at {at}: its handler asked for another try"),
        "behind" => format!("held at {at}: behind an earlier one of its key"),
        "unknown" => format!("held at {at}: no handler takes it"),
        other => format!("held at {at}: {other}"),
    }
}

/// Committed messages without a position whose key is `wanted`, and whether there are more than were
/// looked through.
pub(crate) async fn unsealed<DB: Storage>(
    pool: &Pool<DB>,
    wanted: impl Fn(&str) -> bool,
) -> Result<(Vec<UnsealedRow>, bool), Failure> {
    let mut rows = DB::first_unsealed(pool, UNSEALED).await?;
    let more = rows.len() as i64 == UNSEALED;
    rows.retain(|row| row.key.as_deref().is_some_and(&wanted));
    Ok((rows, more))
}

/// The messages of the log's last `most` whose key is `wanted`.
pub(crate) async fn last_of<DB: Storage>(
    pool: &Pool<DB>,
    most: i64,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<LogRow>, Failure> {
    let (head, trimmed) = (DB::head(pool).await?, DB::trimmed(pool).await?);
    let mut at = match head.0 - most <= trimmed.position.0 {
        true => trimmed,
        false => DB::locate(pool, Position(head.0 - most)).await?,
    };
    let mut found = Vec::new();
    while at.position < head {
        let rows = DB::read(pool, at, PAGE).await?;
        let Some(last) = rows.last() else { break };
        at = last.cursor;
        found
            .extend(rows.into_iter().filter(|row| row.message.key.as_deref().is_some_and(&wanted)));
    }
    Ok(found)
}
