//! Copies of messages that came in: held ones, and those that wait past a watermark.

use std::collections::BTreeSet;

use sqlx::Transaction;

use super::{Erase, Erased};
use crate::{
    Result, Storage,
    message::{Envelope, Message, decode_envelope},
    storage::{HeldCopy, Whose},
};

/// Held messages that are looked through at once.
const PAGE: i64 = 200;

impl Erase {
    /// Whether a copy that came in is to go.
    fn takes(&self, all: &[Whose], envelope: &Envelope, key: &str) -> bool {
        let own = envelope.key.as_deref();
        let of = all.iter().any(|whose| whose.has(key) || own.is_some_and(|own| whose.has(own)));
        of && self.before.as_ref().is_none_or(|(origin, position)| {
            let same = envelope.origin.source == origin.source
                && envelope.origin.stream == origin.stream
                && envelope.origin.version == origin.version
                && envelope.origin.shard == origin.shard;
            !same || envelope.position < *position
        })
    }

    /// The held messages that are to go.
    pub(super) async fn held<DB: Storage>(
        &self,
        tx: &mut Transaction<'_, DB>,
        all: &[Whose],
    ) -> Result<Vec<HeldCopy>> {
        let (mut after, mut found) = (0, Vec::new());
        loop {
            let page = DB::held_copies(tx, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.id;
            let takes = |copy: &HeldCopy| match decode_envelope(&copy.envelope) {
                Ok(envelope) => self.takes(all, &envelope, &copy.key),
                // Nothing but its key says whose it is.
                Err(_) => all.iter().any(|whose| whose.has(&copy.key)),
            };
            let page = page.into_iter().filter(takes);
            found.extend(page.map(|copy| HeldCopy { envelope: Vec::new(), ..copy }));
        }
    }

    pub(super) async fn erase_held<DB: Storage>(
        &self,
        tx: &mut Transaction<'_, DB>,
        all: &[Whose],
        erased: &mut Erased,
    ) -> Result<()> {
        let mut keys = BTreeSet::new();
        for HeldCopy { id, consumer, source, key, .. } in self.held(tx, all).await? {
            // The key first, as consumers do it: it may have been parked since the others were locked.
            if keys.insert((consumer.clone(), source.clone(), key.clone())) {
                DB::lock_parked(tx, &consumer, &source, &key).await?;
            }
            DB::unhold(tx, id).await?;
            erased.held += 1;
        }
        for (consumer, source, key) in keys {
            match DB::held_of_key(tx, &consumer, &source, &key, true, 1).await?.first() {
                None => DB::unpark(tx, &consumer, &source, &key).await?,
                Some(next) if next.dead => {}
                Some(_) => {
                    let now = Some(std::time::Duration::ZERO);
                    DB::park(tx, &consumer, &source, &key, now).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn erase_ahead<DB: Storage>(
        &self,
        tx: &mut Transaction<'_, DB>,
        all: &[Whose],
        erased: &mut Erased,
    ) -> Result<()> {
        for (consumer, envelope) in DB::ahead_copies(tx).await? {
            // One that cannot be read is told of by the consumer, whose turn it stops.
            let Ok(mut envelope) = decode_envelope(&envelope) else { continue };
            let key = envelope.key.clone().unwrap_or_default();
            if self.takes(all, &envelope, &key) {
                envelope.message = Message::link(envelope.id).into();
                erased.ahead += DB::erase_ahead(tx, &consumer, &envelope).await?;
            }
        }
        Ok(())
    }
}
