//! What is said now and then: what keeps rows from being removed, and what is removed without having
//! been sent anywhere.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Task;
use crate::{Result, Storage, message::Position, streams};

/// How often it is said.
const SAY: Duration = Duration::from_secs(30);
/// What has held retention back for so long counts.
const HELD: Duration = Duration::from_secs(60);
/// No more messages are looked through each time: of a log that grows faster, the last ones.
const LOOK: i64 = 4_000;
/// The most topics without a stream that are remembered.
const TOPICS: usize = 1_000;

impl<DB: Storage> Task<DB> {
    /// Says what is to be said, if that is due.
    pub(super) async fn say(&mut self) -> Result<()> {
        if self.said.is_some_and(|said| said.elapsed() < SAY) {
            return Ok(());
        }
        self.said = Some(Instant::now());
        let pool = &self.shared.pool.now();
        for (what, age) in pool.limit(DB::kept(pool, HELD)).await?.held_back {
            let open_for_seconds = age.as_secs();
            tracing::warn!(what, open_for_seconds, "retention waits until it ends");
        }
        self.say_unsent().await?;
        self.say_uncarried().await
    }

    /// Where nothing is trimmed, what stands still is said all the same, by each process.
    pub(super) async fn only_say(mut self) {
        let stop = self.shared.stop.clone();
        while stop.run_until_cancelled(sleep(SAY)).await.is_some() {
            if let Some(Err(error)) = stop.run_until_cancelled(self.say()).await {
                tracing::warn!(%error, "it could not be looked for what is not sent; trying again");
            }
        }
    }

    /// Tells of routes that no running process sends, this time and the last time.
    async fn say_unsent(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let (pool, lease) = (&shared.pool.now(), shared.options.lease);
        // Announces nothing.
        let members = pool.limit(DB::announce(pool, Uuid::nil(), &[], lease)).await?;
        let carried: HashSet<String> = members.into_iter().map(|(route, _)| route).collect();
        let head = *shared.head.borrow();
        let mut behind: BTreeMap<String, i64> = BTreeMap::new();
        for row in pool.limit(DB::shards(pool)).await? {
            let positions = head.0 - row.checkpoint.cursor.position.0;
            if !row.closed && !row.paused && positions > 0 && !carried.contains(&row.key.route) {
                let most = behind.entry(row.key.route).or_default();
                *most = positions.max(*most);
            }
        }
        let before = std::mem::replace(&mut self.unsent, behind.keys().cloned().collect());
        for (route, behind) in behind.into_iter().filter(|(route, _)| before.contains(route)) {
            tracing::warn!(
                route,
                behind,
                "no running relay sends this route: start the program that declares it; what it has not \
                 sent waits in the log until then"
            );
        }
        Ok(())
    }

    /// Counts what no stream carries in what is new of the log.
    async fn say_uncarried(&mut self) -> Result<()> {
        let pool = &self.shared.pool.now();
        let head = pool.limit(DB::head(pool)).await?;
        let least = Position(head.0 - LOOK);
        let after = self.looked.map_or(least, |looked| looked.max(least));
        let known =
            !self.shared.uncarried.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        let found = match after < head {
            true => pool.limit(streams::uncarried_after(pool, after)).await?,
            // A definition may carry by now what is known.
            false if known => Vec::new(),
            false => return Ok(()),
        };
        self.looked = Some(head);
        for streams::Uncarried { topic, messages, first, last, carried_after } in &found {
            if carried_after.is_none() && is_first(&mut self.uncarried, topic) {
                tracing::warn!(
                    topic, messages, %first, %last,
                    "no stream carries these messages: they are sent nowhere, and removed by \
                     retention; let a stream carry the topic"
                );
            }
        }
        let trimmed = pool.limit(DB::trimmed(pool)).await?.position;
        let versions = pool.limit(DB::streams(pool)).await?;
        let mut known = self.shared.uncarried.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.last > trimmed);
        for new in found {
            if let Some(known) = known.iter_mut().find(|known| known.topic == new.topic) {
                known.messages += new.messages;
                known.last = new.last;
            } else if known.len() < TOPICS {
                known.push(new);
            }
        }
        for known in known.iter_mut() {
            known.carried_after = streams::carried_after(&versions, &known.topic);
            if known.carried_after.is_some() && self.uncarried.remove(&known.topic) {
                let (topic, messages, last) = (&known.topic, known.messages, known.last);
                tracing::info!(
                    topic, messages, %last,
                    "a stream carries this topic now; its messages up to the last one were sent to \
                     nobody: enqueue again what is needed"
                );
            }
        }
        known.sort_by(|one, other| one.topic.cmp(&other.topic));
        Ok(())
    }
}

/// Whether nothing was said of `topic` yet; so many topics are remembered.
fn is_first(said: &mut HashSet<String>, topic: &str) -> bool {
    if said.len() >= TOPICS {
        said.clear();
    }
    said.insert(topic.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_no_stream_carries_is_told_once() {
        let mut said = HashSet::new();
        let told = ["a", "b", "a", "a", "b"].map(|topic| is_first(&mut said, topic));
        assert_eq!(told, [true, true, false, false, false]);
        for n in 0..TOPICS * 3 {
            is_first(&mut said, &n.to_string());
            assert!(said.len() <= TOPICS);
        }
    }
}
