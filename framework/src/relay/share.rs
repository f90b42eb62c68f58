//! Sharing the work: one task of each relay process announces it, holds the leases of its share
//! of all shards, starts a sender for each, and gives back what is another process's share now.

mod kept;
mod outdated;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use uuid::Uuid;

pub(super) use self::kept::Kept;
use self::{
    kept::STOPPING,
    outdated::{Stale, note_closed, note_pause, outdated_text},
};
use super::{
    Route, RouteState, Shared,
    assign::{Members, owner},
    carried::Carried,
    define::Defined,
    head::SEAL,
    mover::DELAYED,
    retain,
    route::{End, Hold, Sender},
    work::Work,
};
use crate::{
    Result, Storage,
    said::Said,
    storage::{Beating, Lease, RouteRow, ShardKey, StreamVersion},
    streams::takeover::{held_up, told},
};

/// A route and its stream.
pub(super) struct Line {
    pub(super) route: Route,
    pub(super) defined: Defined,
}

/// A sender that has a lease.
struct Running {
    lease: Lease,
    /// Until when the lease holds, if it is not renewed.
    until: Instant,
    hold: watch::Sender<Hold>,
    work: Arc<Work>,
}

pub(super) struct Share<DB: Storage> {
    shared: Arc<Shared<DB>>,
    source: String,
    incarnation: Uuid,
    lines: Vec<Line>,
    /// The routes of which it was said that their definition is outdated.
    outdated: HashSet<String>,
    /// The shards of which that is to be stored, for no other process carries them.
    stale: Vec<Stale>,
    running: HashMap<ShardKey, Running>,
    /// The routes that this process can carry.
    routes: Vec<String>,
    /// What its share was found from; nothing when that is to be found anew.
    seen: Vec<String>,
    /// Leases that are left to others until then: here their work got no answer.
    resting: HashMap<String, Instant>,
    ended: mpsc::UnboundedReceiver<(ShardKey, End)>,
    ends: mpsc::UnboundedSender<(ShardKey, End)>,
}

impl<DB: Storage> Share<DB> {
    pub(super) fn new(
        shared: Arc<Shared<DB>>,
        source: String,
        incarnation: Uuid,
        lines: Vec<Line>,
    ) -> Self {
        let (ends, ended) = mpsc::unbounded_channel();
        let (outdated, stale, running, routes, seen, resting) = Default::default();
        Self {
            shared,
            source,
            incarnation,
            lines,
            outdated,
            stale,
            running,
            routes,
            seen,
            resting,
            ended,
            ends,
        }
    }

    /// Works until the relay stops and every sender has come to its end.
    pub(super) async fn run(mut self) {
        let (shared, stop) = (Arc::clone(&self.shared), self.shared.stop.clone());
        let mut said = Said::default();
        loop {
            let pause = match shared.works.leases.step(self.tick()).await {
                Ok(pause) => pause,
                Err(error) => {
                    if let Some(left_out) = said.admit(&error.to_string()) {
                        tracing::warn!(%error, left_out, "leases could not be renewed; trying again");
                    }
                    self.drop_expired();
                    self.retry_pause()
                }
            };
            let stopping = stop.is_cancelled();
            if stopping {
                self.give_back().await;
                if self.running.is_empty() {
                    break;
                }
            }
            tokio::select! {
                () = sleep(pause) => {}
                Some(end) = self.ended.recv() => {
                    self.seen.clear();
                    self.end(end).await;
                    while let Ok(end) = self.ended.try_recv() {
                        self.end(end).await;
                    }
                }
                () = self.shared.renew.notified() => {}
                () = stop.cancelled(), if !stopping => {}
            }
        }
        let pool = shared.pool.now();
        drop(pool.limit_to(STOPPING, DB::withdraw(&pool, shared.holder)).await);
        self.shared.saved.cancel();
    }

    /// How soon to look again while something is to be had.
    fn retry_pause(&self) -> Duration {
        (self.shared.options.lease / 10)
            .clamp(Duration::from_millis(20), Duration::from_millis(500))
    }

    /// How soon after they were `asked` for the leases are renewed: just before a pulse, which is
    /// saved by that. There is one in `idle`.
    fn renew_pause(&self, asked: Instant) -> Duration {
        let (third, idle) = (self.shared.options.lease / 3, self.shared.options.idle);
        let pause = match third.as_nanos().checked_div(idle.as_nanos()) {
            None | Some(0) => third,
            Some(pulses) => idle * u32::try_from(pulses).unwrap_or(u32::MAX) - idle / 100,
        };
        pause.saturating_sub(asked.elapsed())
    }

    /// Renews what this process has. While nothing has changed on which shares depend, that is all.
    /// Says how long to wait.
    async fn tick(&mut self) -> Result<Duration> {
        let shared = Arc::clone(&self.shared);
        let stopping = shared.stop.is_cancelled();
        let keys: Vec<ShardKey> = self.running.keys().cloned().collect();
        let mut names: Vec<String> = keys.iter().map(ShardKey::lease_name).collect();
        if stopping {
            self.routes.clear();
        } else {
            self.give_up().await;
            let rests = |name: &&str| !self.resting.contains_key(*name);
            names.extend([SEAL, DELAYED].into_iter().filter(rests).map(str::to_owned));
        }
        let (holder, ttl) = (shared.holder, shared.options.lease);
        let of = Beating { holder, leases: &names, routes: &self.routes, ttl };
        let asked = Instant::now();
        let mut beat = match shared.pulse.beat(&shared.pool, of).await {
            Ok(beat) => beat,
            Err(error) => {
                // A route's lease that somebody has locked must not keep the log from being sealed.
                let names = names.get(keys.len()..).unwrap_or_default();
                let (asked, pool) = (Instant::now(), shared.pool.now());
                let own = pool.limit_to(ttl, DB::acquire_all(&pool, names, holder, ttl)).await?;
                self.keep(asked, own);
                return Err(error);
            }
        };
        let own = beat.leases.split_off(keys.len());
        for (key, granted) in keys.iter().zip(beat.leases) {
            let Some(running) = self.running.get_mut(key) else { continue };
            match granted {
                Some(granted) if granted.epoch == running.lease.epoch => {
                    running.until = asked + ttl;
                }
                _ => {
                    running.hold.send_replace(Hold::Lost);
                }
            }
        }
        self.keep(asked, own);
        if beat.seen == self.seen && !stopping {
            return Ok(self.renew_pause(asked));
        }
        self.seen.clear();
        if self.take().await? {
            self.seen = beat.seen;
            return Ok(self.renew_pause(asked));
        }
        Ok(self.retry_pause())
    }

    /// Finds this process's share of the shards, takes what is missing of it and gives back the
    /// rest. False when another process still has some of it.
    async fn take(&mut self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let (pool, lease) = (&shared.pool.now(), shared.options.lease);
        let incarnation = pool.limit(DB::incarnation(pool)).await?;
        if std::mem::replace(&mut self.incarnation, incarnation) != incarnation {
            for running in self.running.values() {
                running.hold.send_replace(Hold::GiveBack);
            }
        }
        let wanted =
            if shared.stop.is_cancelled() { HashMap::new() } else { self.wanted().await? };
        for (key, running) in &self.running {
            if !wanted.contains_key(key) {
                running.hold.send_replace(Hold::GiveBack);
            }
        }
        let mut missing: Vec<ShardKey> =
            wanted.keys().filter(|key| !self.running.contains_key(*key)).cloned().collect();
        let all = missing.len();
        missing.retain(|key| !self.resting.contains_key(&key.lease_name()));
        let asked = Instant::now();
        let names: Vec<String> = missing.iter().map(ShardKey::lease_name).collect();
        let leases = match names.is_empty() {
            true => Vec::new(),
            false => pool.limit(DB::acquire_all(pool, &names, shared.holder, lease)).await?,
        };
        let mut all = all == missing.len() && self.note_stale().await?;
        for (key, granted) in missing.into_iter().zip(leases) {
            match granted {
                Some(granted) => self.start(key, &wanted, granted, asked + lease),
                None => all = false,
            }
        }
        Ok(all)
    }

    /// The shards that are this process's to send now.
    async fn wanted(&mut self) -> Result<HashMap<ShardKey, Carried>> {
        let Shared { pool, holder, options, board, .. } = &*self.shared;
        let pool = &pool.now();
        let rows = pool.limit(DB::shards(pool)).await?;
        let stored = pool.limit(DB::streams(pool)).await?;
        for line in &mut self.lines {
            if let Some(at) = line.defined.follow(&line.route.stream, &stored) {
                note_closed(&line.route, at);
            }
        }
        let newest: HashMap<&str, i32> =
            stored.iter().map(|version| (version.name.as_str(), version.version)).collect();
        let outdated = |line: &Line| {
            let ours = line.defined.versions.last().map_or(0, |version| version.version);
            let newest = newest.get(line.route.stream.as_str()).copied().unwrap_or(ours);
            (!line.defined.current || newest > ours).then_some(newest)
        };
        let current = self.lines.iter().filter(|line| outdated(line).is_none());
        self.routes = current.map(|line| line.route.name.clone()).collect();
        let mut members = Members::new();
        let announced = DB::announce(pool, *holder, &self.routes, options.lease);
        for (route, member) in pool.limit(announced).await? {
            members.entry(route).or_default().push(member);
        }
        let mut wanted = HashMap::new();
        self.stale.clear();
        for line in &self.lines {
            let of_route: Vec<&RouteRow> =
                rows.iter().filter(|row| row.key.route == line.route.name).collect();
            let open: HashSet<i32> =
                of_route.iter().filter(|row| !row.closed).map(|row| row.key.version).collect();
            let oldest = open.iter().min().copied().unwrap_or(0);
            let outdated = outdated(line);
            let route = &line.route.name;
            match outdated {
                None => drop(self.outdated.remove(route)),
                Some(newest) => {
                    let why = outdated_text(newest);
                    if self.outdated.insert(route.clone()) {
                        tracing::warn!(route, "the route is not carried here: {why}");
                    }
                    if !members.contains_key(route) {
                        self.stale.extend(of_route.iter().filter_map(|row| Stale::of(row, &why)));
                    }
                }
            }
            for row in of_route {
                let RouteRow { key, paused, closed, checkpoint, .. } = row;
                if *closed {
                    board.forget(key);
                    continue;
                }
                let state = match outdated {
                    Some(newest) => RouteState::Outdated { error: outdated_text(newest) },
                    None if *paused => RouteState::Paused,
                    None => RouteState::Standby,
                };
                let of = |known: &&StreamVersion| {
                    known.name == line.route.stream && known.version == key.version
                };
                let version = stored.iter().find(of);
                let waits = version.and_then(|version| held_up(&stored, &rows, version));
                let ours = state == RouteState::Standby
                    && key.version == oldest
                    && waits.is_none()
                    && owner(key, &members) == Some(*holder);
                let index =
                    line.defined.versions.iter().position(|known| known.version == key.version);
                match index {
                    Some(index) if ours => {
                        let versions = &line.defined.versions;
                        let (source, shard) = (&self.source, key.shard);
                        let carried =
                            Carried::new(source, self.incarnation, versions, index, shard)
                                .from(told(&stored, &versions[index]))
                                .sent(&versions[index]);
                        wanted.insert(key.clone(), carried);
                    }
                    _ if self.running.contains_key(key) => {}
                    _ => board.tell(key, Some(checkpoint.cursor.position), state),
                }
                note_pause(board, row);
                if board.alarm(key, retain::alarm(row).or(waits.clone()))
                    && let Some(waits) = waits
                {
                    let (route, shard) = (&key.route, key.shard);
                    tracing::warn!(route, shard, "the shard waits: {waits}");
                }
            }
        }
        Ok(wanted)
    }

    fn start(
        &mut self,
        key: ShardKey,
        wanted: &HashMap<ShardKey, Carried>,
        lease: Lease,
        until: Instant,
    ) {
        let line = self.lines.iter().find(|line| line.route.name == key.route);
        let (Some(line), Some(carried)) = (line, wanted.get(&key)) else { return };
        let (hold, held) = watch::channel(Hold::Held);
        let work = Arc::new(Work::new(self.shared.options.answer_within));
        let sender = Sender::new(
            Arc::clone(&self.shared),
            key.clone(),
            Arc::clone(&line.route.publisher),
            carried.clone(),
            lease.clone(),
            held,
            Arc::clone(&work),
        );
        let (ends, ended) = (self.ends.clone(), key.clone());
        tokio::spawn(async move {
            // Also when the sender panics, its lease is given back.
            let end = tokio::spawn(sender.run()).await.unwrap_or(End::GivenBack);
            drop(ends.send((ended, end)));
        });
        self.running.insert(key, Running { lease, until, hold, work });
    }

    /// Gives the lease of a sender back that came to its end.
    async fn end(&mut self, (key, end): (ShardKey, End)) {
        let Some(running) = self.running.remove(&key) else { return };
        match end {
            End::Closed => self.shared.board.forget(&key),
            End::Lost | End::GivenBack => self.shared.board.tell(&key, None, RouteState::Standby),
        }
        let pool = self.shared.pool.now();
        if end != End::Lost
            && let Err(error) = pool.limit_to(STOPPING, DB::release(&pool, &running.lease)).await
        {
            tracing::warn!(%error, lease = running.lease.name, "a lease was not given back");
        }
    }

    /// Whose lease could not be renewed in time must not go on.
    fn drop_expired(&mut self) {
        let now = Instant::now();
        for running in self.running.values().filter(|running| running.until <= now) {
            running.hold.send_replace(Hold::Lost);
        }
    }
}
