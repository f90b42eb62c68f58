//! The world of one run: the services' processes and databases, what is under way between them,
//! and the one place that decides what happens next. Nothing runs by itself, so that a run can be
//! repeated exactly.

mod flight;
mod quiet;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use sqlx::{Sqlite, SqlitePool};
use uuid::Uuid;

use super::{
    Explorer,
    engine::Orchestrator,
    mutant::EarlyAck,
    run::{Lost, Order, Repeat, Run, Withheld},
    service::Process,
    watch::{Script, watched},
};
use crate::{
    message::{Envelope, Link, Message, Origin, Position, SAGA_REPLY},
    saga::{Phase, State, wire::Ask},
    storage::{Cursor, IncarnationStore, LogStore, PageLimit, sqlite::explored},
    testing::saga::{Mutant, draw},
    transport::Outcome,
};
use flight::{Flight, What, age, single};

/// A run that takes longer than so many moves does not end.
const MOVES: usize = 3_000;
const PAGE: PageLimit = PageLimit { rows: 1_000, bytes: usize::MAX };

/// What happened otherwise than promised.
pub(super) type Broken = String;

/// What a run has shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The commits of each service.
    pub(super) commits: Vec<u32>,
    /// How many messages were delivered.
    pub(super) deliveries: usize,
    /// How many messages were sent, repeats not counted.
    pub(super) messages: usize,
    /// At each choice between several messages: which one, of how many.
    pub(super) choices: Vec<(usize, usize)>,
    pub(super) deaths: usize,
    pub(super) repeats: usize,
    pub(super) faults: usize,
    pub(super) story: Vec<String>,
}

pub(super) struct World<'a> {
    pub(super) explorer: &'a Explorer,
    run: Run,
    folder: PathBuf,
    pub(super) script: Arc<Script>,
    processes: Vec<Process>,
    engine: Option<Orchestrator>,
    /// The orchestrator's database for others than its process: time, and the operator.
    own: SqlitePool,
    incarnations: Vec<Uuid>,
    /// How far each log was looked at.
    cursors: Vec<Cursor>,
    flights: Vec<Flight>,
    /// Everything that was ever sent.
    sent: Vec<Flight>,
    /// Places for messages that are sent anew, past those of any log.
    next_place: i64,
    elapsed: Duration,
    engine_due: bool,
    pub(super) id: Option<Uuid>,
    /// Steps whose compensation was given up, at least for a time: the others do not wait for it.
    pub(super) gave_up: BTreeSet<String>,
    pub(super) seen: Seen,
}

impl<'a> World<'a> {
    pub(super) async fn new(
        explorer: &'a Explorer,
        run: &Run,
        folder: PathBuf,
    ) -> Result<Self, Broken> {
        let services = explorer.services.len();
        let script = Arc::new(Script::new(&run.faults));
        let (_, own) = Process::open(&folder.join(&explorer.services[0].name), None);
        let mut world = Self {
            explorer,
            run: run.clone(),
            folder,
            script,
            processes: Vec::with_capacity(services),
            engine: None,
            own,
            incarnations: Vec::new(),
            cursors: vec![Cursor::default(); services],
            flights: Vec::new(),
            sent: Vec::new(),
            next_place: 1_000_000,
            elapsed: Duration::ZERO,
            engine_due: false,
            id: None,
            gave_up: BTreeSet::new(),
            seen: Seen { commits: vec![0; services], ..Seen::default() },
        };
        for at in 0..services {
            let process = world.process(at).await?;
            let incarnation = Sqlite::incarnation(&process.pool).await.map_err(broken)?;
            world.incarnations.push(incarnation);
            world.processes.push(process);
        }
        Ok(world)
    }

    /// Starts the process of a service. The orchestrator is the first one.
    async fn process(&mut self, at: usize) -> Result<Process, Broken> {
        let service = &self.explorer.services[at];
        let next = self.run.deaths.iter().position(|(service, _)| *service == at);
        let death = next.map(|next| self.run.deaths.remove(next).1);
        let file = self.folder.join(&service.name);
        let (valve, pool) = Process::open(&file, death);
        let mutant = self.explorer.mutant;
        let consumer = service.consumer(&pool, &self.script, mutant);
        let consumer = if at == 0 {
            let mut saga = watched(&self.explorer.saga, &self.script);
            saga.plan.mutant = mutant;
            let (engine, consumer) =
                Orchestrator::build(&service.source(), &pool, saga, consumer).map_err(broken)?;
            self.engine = Some(engine);
            self.engine_due = true;
            consumer
        } else {
            consumer.build().map_err(broken)?
        };
        let mut receive: Arc<dyn crate::transport::Receive> = Arc::new(consumer);
        if at == 0 && mutant == Some(Mutant::EarlyAck) {
            receive = Arc::new(EarlyAck(receive));
        }
        Ok(Process { valve, pool, receive })
    }

    /// Buries the dead process of a service and starts another one on the same database.
    async fn restart(&mut self, at: usize) -> Result<(), Broken> {
        self.tell(format!("{} dies and is started anew", self.explorer.services[at].name));
        self.seen.deaths += 1;
        self.seen.commits[at] += self.processes[at].valve.commits();
        self.processes[at].valve.kill();
        if at == 0 {
            self.engine = None;
        }
        self.processes[at].pool.close().await;
        self.processes[at] = self.process(at).await?;
        if at == 0 && self.explorer.mutant == Some(Mutant::TimersLost) {
            explored::lose_timers(&self.own).await.map_err(broken)?;
        }
        self.collect(at).await
    }

    /// Runs the saga to its end, and checks that nothing is left.
    pub(super) async fn run(&mut self) -> Result<State, Broken> {
        self.start().await?;
        let mut moves = 0;
        loop {
            moves += 1;
            if moves > MOVES {
                return Err(format!("it does not end\n{}", self.drawn().await));
            }
            if self.engine_due && self.engine_goes_first() {
                self.work().await?;
                continue;
            }
            let may = self.deliverable();
            if may.is_empty() {
                match self.idle().await? {
                    Some(state) => break self.finish(state).await,
                    None => continue,
                }
            }
            if self.let_time_pass_early().await? {
                continue;
            }
            let pick = may[self.choose(may.len())];
            self.deliver(pick).await?;
        }
    }

    /// What a client does: it starts the saga, and again with the same key when it is not told that
    /// it was started.
    async fn start(&mut self) -> Result<(), Broken> {
        loop {
            let Some(engine) = &self.engine else { return Err("no engine".to_owned()) };
            let process = &self.processes[0];
            let started = engine.start(&process.pool, &self.explorer.input).await;
            if process.valve.is_dead() {
                self.restart(0).await?;
                continue;
            }
            self.id = Some(started?);
            self.engine_due = true;
            self.tell("it is started".to_owned());
            return self.collect(0).await;
        }
    }

    /// Lets the engine decide what it has stored.
    async fn work(&mut self) -> Result<(), Broken> {
        let Some(engine) = &self.engine else { return Err("no engine".to_owned()) };
        let worked = engine.work().await;
        if self.processes[0].valve.is_dead() {
            return self.restart(0).await;
        }
        worked.map_err(broken)?;
        self.engine_due = false;
        self.tell("the engine decides".to_owned());
        if self.run.may_give_up() {
            let state = self.state().await?;
            let failed = state.steps.iter().filter(|(_, own)| own.phase == Phase::UndoFailed);
            self.gave_up.extend(failed.map(|(name, _)| name.clone()));
        }
        self.collect(0).await
    }

    fn engine_goes_first(&mut self) -> bool {
        match &mut self.run.order {
            Order::Chance(random) => self.flights.is_empty() || !random.one_in(4),
            _ => true,
        }
    }

    /// The places of what may arrive now.
    fn deliverable(&self) -> Vec<usize> {
        let held = |flight: &Flight| match (&self.run.withheld, &flight.what) {
            (
                Some(Withheld { step, answer: false }),
                What::Command { step: of, ask: Ask::Apply },
            ) => step == of,
            (Some(Withheld { step, answer: true }), What::Reply { step: of, acted: true }) => {
                step == of
            }
            _ => false,
        };
        (0..self.flights.len()).filter(|&at| !held(&self.flights[at])).collect()
    }

    fn choose(&mut self, of: usize) -> usize {
        let place = self.seen.choices.len();
        let choice = match &mut self.run.order {
            Order::Chance(random) => return random.below(of),
            Order::Choices(choices) => choices.get(place).copied().unwrap_or(0).min(of - 1),
            Order::Sent => 0,
        };
        if of > 1 {
            self.seen.choices.push((choice, of));
        }
        choice
    }

    async fn deliver(&mut self, pick: usize) -> Result<(), Broken> {
        let mut flight = self.flights[pick].clone();
        let twice = match &mut self.run.order {
            Order::Chance(random) => random.one_in(8),
            _ => self.run.repeat == Repeat::Messages && flight.tries == 0,
        };
        self.tell(format!("{} gets {}", self.explorer.services[flight.to].name, flight.name()));
        // The time that has passed here has not passed for the participant's clock.
        let late = self.elapsed.saturating_sub(flight.sent);
        for message in &mut flight.batch.messages {
            age(message, late);
        }
        let number = self.seen.deliveries;
        self.seen.deliveries += 1;
        let process = &self.processes[flight.to];
        let answer = process.receive.receive(flight.batch.clone()).await;
        let unanswered = self.run.unanswered == Some(number);
        let died = process.valve.is_dead() || unanswered;
        let taken = matches!(&answer, Ok(ack) if ack.outcome == Outcome::Complete);
        let told = taken && !unanswered && !process.valve.died_after_commit();
        if told {
            // Whatever was acknowledged must be there, whoever dies now.
            let reached = process.receive.reached(&flight.batch.origin).await.map_err(broken)?;
            if reached.is_none_or(|reached| reached.watermark < flight.batch.through) {
                let name = flight.name();
                return Err(format!("{name} was acknowledged before it was stored"));
            }
        }
        if flight.to == 0 {
            self.engine_due = true;
        }
        if let (false, false, Err(error)) = (died, taken, &answer) {
            return Err(format!("{} was not taken in: {error}", flight.name()));
        }
        match told {
            true if twice => {
                self.seen.repeats += 1;
                self.flights[pick].tries += 1;
            }
            true => drop(self.flights.remove(pick)),
            false => self.flights[pick].tries += 1,
        }
        match died {
            true => self.restart(flight.to).await,
            false => self.collect(flight.to).await,
        }
    }

    /// Looks for what the service at `from` has committed to its outbox.
    async fn collect(&mut self, from: usize) -> Result<(), Broken> {
        let rows = Sqlite::read(&self.processes[from].pool, self.cursors[from], PAGE).await;
        for row in rows.map_err(broken)? {
            self.cursors[from] = row.cursor;
            let message = row.message;
            let origin = self.origin(from, row.cursor.position.0);
            let position = row.cursor.position;
            let message = Message::sent(message);
            let message = Envelope { origin, position, prev: Link::START, message };
            let to = match message.topic == SAGA_REPLY {
                true => Some(0),
                false => self.explorer.services.iter().position(|to| to.takes(&message.topic)),
            };
            // What nobody of these services takes is not of this saga.
            let (Some(to), Some(what)) = (to, What::of(&message)) else { continue };
            let (batch, sent) = (single(message), self.elapsed);
            let flight = Flight { from, to, batch, what, sent, tries: 0 };
            self.seen.messages += 1;
            if let (Some(Lost { step, ask }), What::Command { step: of, ask: asked }) =
                (&self.run.lost, &flight.what)
                && (step, ask) == (of, asked)
            {
                self.run.lost = None;
                self.tell(format!("{} is lost", flight.name()));
                continue;
            }
            self.sent.push(flight.clone());
            let more = match (self.run.repeat, &flight.what) {
                (Repeat::Commands, What::Command { .. }) => 2,
                (Repeat::Compensations, What::Command { ask: Ask::Compensate, .. }) => 2,
                _ => 0,
            };
            self.flights.push(flight.clone());
            for _ in 0..more {
                self.send_again(&flight);
            }
        }
        Ok(())
    }

    /// Sends a message once more, as one of its own.
    fn send_again(&mut self, flight: &Flight) {
        self.seen.repeats += 1;
        self.next_place += 1;
        let mut flight = flight.clone();
        if let Some(mut message) = flight.batch.messages.pop() {
            message.origin = self.origin(flight.from, self.next_place);
            message.position = Position(self.next_place);
            Arc::make_mut(&mut message.message).id = Uuid::now_v7();
            flight.batch = single(message);
        }
        self.flights.push(flight);
    }

    /// Each message is a stream of its own: so any order is one that the inbox must take.
    fn origin(&self, from: usize, place: i64) -> Arc<Origin> {
        Arc::new(Origin {
            source: self.explorer.services[from].source(),
            incarnation: self.incarnations[from],
            stream: format!("explored-{place}"),
            version: 1,
            shard: 0,
        })
    }

    pub(super) async fn state(&self) -> Result<State, Broken> {
        let id = self.id.ok_or("it was not started")?;
        Orchestrator::state(&self.own, id).await
    }

    /// The effects of all services, in order.
    pub(super) async fn effects(&self) -> Result<Vec<explored::Effected>, Broken> {
        let mut all = Vec::new();
        for process in &self.processes {
            all.extend(explored::list(&process.pool).await.map_err(broken)?);
        }
        all.sort_by_key(|effect| effect.at);
        Ok(all)
    }

    pub(super) fn pools(&self) -> Vec<(String, SqlitePool)> {
        let names = self.explorer.services.iter().map(|service| service.name.clone());
        names.zip(self.processes.iter().map(|process| process.pool.clone())).collect()
    }

    pub(super) async fn drawn(&self) -> String {
        match self.state().await {
            Ok(state) => draw(self.explorer.saga.plan(), &state),
            Err(error) => error,
        }
    }

    fn tell(&mut self, what: String) {
        self.seen.story.push(what);
    }

    /// Ends all processes.
    pub(super) async fn close(&mut self) {
        self.seen.faults = self.script.faults_had();
        self.engine = None;
        self.own.close().await;
        for (at, process) in self.processes.iter().enumerate() {
            self.seen.commits[at] += process.valve.commits();
            process.valve.kill();
            process.pool.close().await;
        }
    }
}

pub(super) fn broken(error: impl std::fmt::Display) -> Broken {
    error.to_string()
}
