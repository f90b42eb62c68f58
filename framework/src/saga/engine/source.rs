//! Whether the engine and the relay of its database work as the same source: a participant replies to
//! the source that has sent it the command, and an engine of another one does not take that.

use std::{collections::HashMap, time::Duration};

use sqlx::{Pool, Transaction};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Inner;
use crate::{
    Error, Result, Storage,
    storage::{Own, SagaChanges, SagaLogLine, SourceRole},
};

/// A relay or an engine that was seen within this time is there.
const THERE: Duration = Duration::from_secs(150);
/// The time between two notes of a relay.
const SAY: Duration = Duration::from_secs(60);
/// The time that saying goodbye may take.
const STOPPING: Duration = Duration::from_secs(5);

/// Other sources as which is worked on this database, when nobody works as ours. A relay's is
/// held against engines, and the other way round.
pub(crate) async fn others<DB: Storage>(
    pool: &Pool<DB>,
    own: SourceRole,
    source: &str,
) -> Result<Option<String>> {
    let other = match own {
        SourceRole::Relay => SourceRole::Sagas,
        SourceRole::Sagas => SourceRole::Relay,
    };
    let seen = DB::sources_seen(pool, other, THERE).await?;
    let same = seen.is_empty() || seen.iter().any(|seen| seen == source);
    Ok((!same).then(|| seen.join(", ")))
}

/// Refuses to start as `source` beside those that work as another one, and says that it is there.
pub(crate) async fn check<DB: Storage>(
    pool: &Pool<DB>,
    own: SourceRole,
    source: &str,
) -> Result<()> {
    if let Some(others) = others(pool, own, source).await? {
        let (what, other) = match own {
            SourceRole::Relay => ("relay", "the saga engine"),
            SourceRole::Sagas => ("saga engine", "the relay"),
        };
        let problem = format!(
            "{other} of this database works as source {others:?}: replies go to the relay's source, and \
             would not reach the engine. Give both the same source; after a change, stop the old one \
             (one that was killed is forgotten after {} seconds)",
            THERE.as_secs()
        );
        return Err(Error::Definition { what, name: source.to_owned(), problem });
    }
    DB::note_source(pool, own, source).await?;
    DB::forget_sources(pool).await
}

/// Says again and again that a relay of `source` is there, until it stops.
pub(crate) async fn keep<DB: Storage>(pool: Own<DB>, source: String, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(SAY)).await.is_some() {
        let pool = pool.now();
        if let Err(error) = pool.limit(DB::note_source(&pool, SourceRole::Relay, &source)).await {
            tracing::debug!(source, %error, "the relay's source could not be noted");
        }
    }
    withdraw(&pool, SourceRole::Relay, &source).await;
}

/// Says that it has stopped, so that one of another source may start at once.
pub(super) async fn withdraw<DB: Storage>(pool: &Own<DB>, role: SourceRole, source: &str) {
    let pool = pool.now();
    let withdrawn = pool.limit_to(STOPPING, DB::withdraw_source(&pool, role, source)).await;
    if let Err(error) = withdrawn {
        tracing::debug!(source, %error, "the source could not be withdrawn");
    }
}

impl<DB: Storage> Inner<DB> {
    /// Says that it is there, and looks whether the relay is of another source by now.
    pub(super) async fn look_at_sources(&self) -> Result<()> {
        let pool = self.pool.now();
        let role = SourceRole::Sagas;
        pool.limit(DB::note_source(&pool, role, &self.source)).await?;
        let others = pool.limit(others(&pool, role, &self.source)).await?;
        if let Some(relay) = &others {
            tracing::error!(
                source = self.source,
                relay,
                "the relay of this database works as another source than the saga engine: replies do not \
                 reach the engine, and its sagas wait; give both the same source"
            );
        }
        self.status().relay_source = others;
        Ok(())
    }

    /// Replies `to` other sources. Other engines' own are none of ours; one for an instance of this
    /// database is a reply that it waits for in vain.
    pub(super) async fn tell_of_foreign(
        &self,
        tx: &mut Transaction<'_, DB>,
        foreign: &HashMap<Uuid, (String, String)>,
    ) -> Result<()> {
        let ids: Vec<Uuid> = foreign.keys().copied().collect();
        let ours = DB::known_sagas(tx, &ids).await?;
        let mut log = Vec::with_capacity(ours.len());
        for id in ours {
            let Some((to, step)) = foreign.get(&id) else { continue };
            let own = &self.source;
            // A line for each is in the instance's log.
            if log.is_empty()
                && let Some(left_out) = self.said.admit("foreign", to)
            {
                tracing::warn!(
                    %id, step, to, source = own, left_out,
                    "a reply to source {to:?} is for a saga of this engine, whose source is {own:?}: it is \
                     not taken, and the saga waits. Build the engine with the source that the relay \
                     sends as; what waits is then asked again"
                );
            }
            let detail = Some(format!("a reply to source {to:?}: this engine's is {own:?}"));
            let step = Some(step.clone());
            log.push(SagaLogLine { id, step, what: "ignored", attempt: None, detail });
        }
        match log.is_empty() {
            true => Ok(()),
            false => DB::save_sagas(tx, &SagaChanges { log, ..SagaChanges::default() }).await,
        }
    }
}
