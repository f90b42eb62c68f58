//! Messages of producers that are not Syncline's: they carry no position, so each is remembered
//! by its id, for a time. They get positions of their own as they arrive.

use std::sync::Arc;

use sqlx::Transaction;
use uuid::Uuid;

use super::{
    Inner,
    apply::{Mode, Part},
    start::beginning,
    stop::Stop,
};
use crate::{
    Storage,
    message::{Envelope, FOREIGN_ID, ForeignMessage, Limits, Link, Origin, Position, check_source},
    storage::InboxRow,
    transport::{Ack, Outcome, ReceiveError},
};

/// The stream of foreign messages; no stream of Syncline's may have this name.
const STREAM: &str = "~foreign";

impl<DB: Storage> Inner<DB> {
    pub(super) async fn receive_foreign(
        &self,
        source: &str,
        messages: Vec<ForeignMessage>,
    ) -> Result<Ack, ReceiveError> {
        let refused = |error: &dyn std::fmt::Display| ReceiveError::Refused(error.to_string());
        check_source(source).map_err(|error| refused(&error))?;
        let origin = Arc::new(Origin {
            source: source.to_owned(),
            incarnation: Uuid::nil(),
            stream: STREAM.to_owned(),
            version: 1,
            shard: 0,
        });
        let mut envelopes = Vec::with_capacity(messages.len());
        for foreign in messages {
            let message = foreign.into_message(&Limits::DEFAULT).map_err(|e| refused(&e))?.into();
            // The place in the order of arrival is given in the transaction.
            let (origin, position) = (Arc::clone(&origin), Position::START);
            envelopes.push(Envelope { origin, position, prev: Link::START, message });
        }
        if envelopes.is_empty() {
            let row = self.inbox(&origin).await?;
            return Ok(row.unwrap_or(beginning(&origin)).ack(Outcome::Complete));
        }
        let turn = self.turn(&origin);
        let _applying = turn.begin(self.patience()).await?;
        let (through, last) = (Position::START, Link::START);
        let all = Part {
            origin: &origin,
            messages: &envelopes,
            through,
            last,
            handover: None,
            mode: Mode::Foreign,
        };
        match self.apply_split(all).await {
            Ok(row) => {
                self.refused.passed(&origin, row.watermark);
                Ok(row.ack(Outcome::Complete))
            }
            Err(stop) => self.stopped(all, stop).await,
        }
    }

    /// The messages of `part` that were not seen before, with their places.
    pub(super) async fn take_foreign(
        &self,
        tx: &mut Transaction<'_, DB>,
        part: Part<'_>,
    ) -> Result<(Vec<Envelope>, InboxRow), Stop> {
        let source = &part.origin.source;
        let first = beginning(part.origin);
        let mut row = DB::lock_inbox(tx, &self.name, part.origin, first).await?;
        let mut fresh = Vec::new();
        for message in part.messages {
            let id = message.headers.get(FOREIGN_ID).map_or("", String::as_str);
            if DB::mark_seen(tx, &self.name, source, id).await? {
                let position = Position(row.watermark.0.saturating_add(1));
                let message = Envelope { position, prev: row.last, ..message.clone() };
                (row.watermark, row.last) = (position, message.link());
                fresh.push(message);
            }
        }
        Ok((fresh, row))
    }
}
