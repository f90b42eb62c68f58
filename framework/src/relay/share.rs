//! Sharing the work: one task of each relay process announces it, holds the leases of its share
//! of all shards, starts a sender for each, and gives back what is another process's share now.

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

use super::{
    Route, RouteState, Shared,
    assign::{Members, owner},
    carried::Carried,
    define::Defined,
    head::SEAL,
    mover::DELAYED,
    retain,
    route::{End, Hold, Sender},
};
use crate::{
    Result, Storage,
    storage::{Beating, Lease, RouteRow, ShardKey},
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
}

/// The leases that are a process's own, and when they were asked for.
#[derive(Debug)]
pub(super) struct Kept {
    asked: Instant,
    seal: Option<Lease>,
    delayed: Option<Lease>,
}

impl Kept {
    pub(super) fn nothing() -> Self {
        Self { asked: Instant::now(), seal: None, delayed: None }
    }

    /// When they were asked for: those are good, however late a part of the relay begins.
    pub(super) fn asked(&self) -> Instant {
        self.asked
    }

    /// The lease to seal, if it was asked for after `void`.
    pub(super) fn seal_since(&self, void: Instant) -> Option<Lease> {
        self.seal.clone().filter(|_| self.asked >= void)
    }

    /// The lease to move delayed messages, if it was asked for after `void`.
    pub(super) fn delayed_since(&self, void: Instant) -> Option<Lease> {
        self.delayed.clone().filter(|_| self.asked >= void)
    }
}

pub(super) struct Share<DB: Storage> {
    shared: Arc<Shared<DB>>,
    source: String,
    incarnation: Uuid,
    lines: Vec<Line>,
    running: HashMap<ShardKey, Running>,
    /// The routes that this process can carry.
    routes: Vec<String>,
    /// What its share was found from; nothing when that is to be found anew.
    seen: Vec<String>,
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
        let (running, routes, seen) = Default::default();
        Self { shared, source, incarnation, lines, running, routes, seen, ended, ends }
    }

    /// Works until the relay stops and every sender has come to its end.
    pub(super) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        loop {
            let pause = match self.tick().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "leases could not be renewed; trying again");
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
        drop(DB::withdraw(&self.shared.pool, self.shared.holder).await);
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
            names.extend([SEAL.to_owned(), DELAYED.to_owned()]);
        }
        let (holder, ttl) = (shared.holder, shared.options.lease);
        let of = Beating { holder, leases: &names, routes: &self.routes, ttl };
        let asked = Instant::now();
        let mut beat = match shared.pulse.beat(&shared.pool, of).await {
            Ok(beat) => beat,
            Err(error) => {
                // A route's lease that somebody has locked must not keep the log from being sealed.
                let names = names.get(keys.len()..).unwrap_or_default();
                let asked = Instant::now();
                self.keep(asked, DB::acquire_all(&shared.pool, names, holder, ttl).await?);
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

    /// The leases to seal and to move delayed messages; none when the relay stops.
    fn keep(&self, asked: Instant, own: Vec<Option<Lease>>) {
        if let Ok([seal, delayed]) = <[_; 2]>::try_from(own) {
            self.shared.kept.send_replace(Kept { asked, seal, delayed });
        }
    }

    /// Finds this process's share of the shards, takes what is missing of it and gives back the
    /// rest. False when another process still has some of it.
    async fn take(&mut self) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let (pool, lease) = (&shared.pool, shared.options.lease);
        let incarnation = DB::incarnation(pool).await?;
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
        let missing: Vec<ShardKey> =
            wanted.keys().filter(|key| !self.running.contains_key(*key)).cloned().collect();
        let asked = Instant::now();
        let names: Vec<String> = missing.iter().map(ShardKey::lease_name).collect();
        let leases = match names.is_empty() {
            true => Vec::new(),
            false => DB::acquire_all(pool, &names, shared.holder, lease).await?,
        };
        let mut all = true;
        for (key, granted) in missing.into_iter().zip(leases) {
            match granted {
                Some(granted) => self.start(key, &wanted, granted, asked + lease),
                None => all = false,
            }
        }
        Ok(all)
    }

    /// What is this process's own is the next one's.
    async fn give_back(&self) {
        let kept = self.shared.kept.send_replace(Kept::nothing());
        for lease in [kept.seal, kept.delayed].into_iter().flatten() {
            drop(DB::release(&self.shared.pool, &lease).await);
        }
    }

    /// The shards that are this process's to send now.
    async fn wanted(&mut self) -> Result<HashMap<ShardKey, Carried>> {
        let Shared { pool, holder, options, board, .. } = &*self.shared;
        let rows = DB::shards(pool).await?;
        let stored = DB::streams(pool).await?;
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
        for (route, member) in DB::announce(pool, *holder, &self.routes, options.lease).await? {
            members.entry(route).or_default().push(member);
        }
        let mut wanted = HashMap::new();
        for line in &self.lines {
            let of_route: Vec<&RouteRow> =
                rows.iter().filter(|row| row.key.route == line.route.name).collect();
            let open: HashSet<i32> =
                of_route.iter().filter(|row| !row.closed).map(|row| row.key.version).collect();
            let oldest = open.iter().min().copied().unwrap_or(0);
            let outdated = outdated(line);
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
                let ours = state == RouteState::Standby
                    && key.version == oldest
                    && owner(key, &members) == Some(*holder);
                let index =
                    line.defined.versions.iter().position(|known| known.version == key.version);
                match index {
                    Some(index) if ours => {
                        let versions = &line.defined.versions;
                        let (source, shard) = (&self.source, key.shard);
                        let carried =
                            Carried::new(source, self.incarnation, versions, index, shard);
                        wanted.insert(key.clone(), carried);
                    }
                    _ if self.running.contains_key(key) => {}
                    _ => board.tell(key, Some(checkpoint.cursor.position), state),
                }
                board.alarm(key, retain::alarm(row));
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
        let sender = Sender::new(
            Arc::clone(&self.shared),
            key.clone(),
            Arc::clone(&line.route.publisher),
            carried.clone(),
            lease.clone(),
            held,
        );
        let (ends, ended) = (self.ends.clone(), key.clone());
        tokio::spawn(async move {
            // Also when the sender panics, its lease is given back.
            let end = tokio::spawn(sender.run()).await.unwrap_or(End::GivenBack);
            drop(ends.send((ended, end)));
        });
        self.running.insert(key, Running { lease, until, hold });
    }

    /// Gives the lease of a sender back that came to its end.
    async fn end(&mut self, (key, end): (ShardKey, End)) {
        let Some(running) = self.running.remove(&key) else { return };
        match end {
            End::Closed => self.shared.board.forget(&key),
            End::Lost | End::GivenBack => self.shared.board.tell(&key, None, RouteState::Standby),
        }
        if end != End::Lost
            && let Err(error) = DB::release(&self.shared.pool, &running.lease).await
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

fn outdated_text(newest: i32) -> String {
    format!(
        "version {newest} of the stream's definition is in force, and this process has an older \
         one: start its newer program, or see `Stream::replaces`"
    )
}
