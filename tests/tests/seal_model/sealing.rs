//! The writers, the sealers and the promises.

use std::collections::BTreeMap;

use stateright::{Model, Property};

use crate::database::{Database, Fate, Row, Seq, Snapshot, Xid};

/// How many writers with how many rows of which key, and how many fresh rows a seal holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) rows: &'static [u8],
    pub(crate) keys: &'static [u8],
    pub(crate) limit: usize,
}

/// What is left out of the algorithm, or done in the wrong order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    NoLateRows,
    /// Of the previous seal's list alone: not of those that were too new to be in it.
    NoPreviousBound,
    /// Only of those that were too new.
    NoListed,
    NoLows,
    /// One that is met for the first time is taken to have written nothing before the last seal.
    LowsTooHigh,
    XidBeforeSnapshot,
    /// The snapshot is taken in a statement of its own, before the one that looks at the rows.
    TwoStatements,
    NoFence,
}

#[derive(Debug, Clone)]
pub(crate) struct Sealing {
    pub(crate) size: Size,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Writer {
    New,
    /// Has an id; the lock on its key's row, once it has that; and rows still to write.
    Open {
        xid: Xid,
        locked: bool,
        left: u8,
    },
    Ended,
}

/// A row of the seal table, with what its sealer counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Seal {
    seq_hi: Seq,
    prev_hi: Seq,
    prev2_hi: Seq,
    late_lo: Seq,
    snapshot: Snapshot,
    lows: BTreeMap<Xid, Seq>,
    pub(crate) first_position: usize,
    pub(crate) members: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sealer {
    Idle,
    /// The mutant has written before its seal, and so has an id.
    HasXid(Xid),
    /// The mutant has taken its snapshot.
    HasSnapshot(Snapshot),
    /// The statement has run: a seal with this number waits for its commit.
    Inserted {
        xid: Xid,
        number: usize,
        seal: Seal,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    pub(crate) writers: Vec<Writer>,
    pub(crate) sealers: [Sealer; 2],
    /// Committed seals, by number; more than one of a number only without the fence.
    pub(crate) seals: Vec<Vec<Seal>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    TakeXid(usize),
    Lock(usize),
    Insert(usize),
    End(usize, bool),
    SealerXid(usize),
    Snapshot(usize),
    Statement(usize),
    CommitSeal(usize),
}

impl Sealer {
    fn snapshot(&self) -> Option<&Snapshot> {
        if let Self::HasSnapshot(snapshot) = self { Some(snapshot) } else { None }
    }
}

impl State {
    fn key_is_free(&self, size: &Size, key: u8) -> bool {
        self.writers.iter().zip(size.keys).all(|(writer, other)| {
            *other != key || !matches!(writer, Writer::Open { locked: true, .. })
        })
    }

    /// The sealing statement of `seal.sql`: snapshot and rows at one instant.
    fn statement(
        &self,
        size: &Size,
        mutant: Option<Mutant>,
        taken: Option<&Snapshot>,
    ) -> Option<(usize, Seal)> {
        let prev = self.seals.last()?.first()?;
        let snapshot = taken.cloned().unwrap_or_else(|| self.database.snapshot());
        let low = |xid: &Xid| match mutant {
            Some(Mutant::NoLows) => prev.prev2_hi,
            Some(Mutant::LowsTooHigh) => prev.lows.get(xid).copied().unwrap_or(prev.seq_hi),
            _ => prev.lows.get(xid).copied().unwrap_or(prev.prev2_hi),
        };
        let running = |xid: &Xid| snapshot.xip.contains(xid);
        let pending = prev.snapshot.xip.iter().copied();
        let lows = pending.clone().filter(running).map(|xid| (xid, low(&xid))).collect();
        let finished = pending.filter(|xid| !running(xid)).map(|xid| low(&xid)).min();
        let bound = match mutant {
            Some(Mutant::NoPreviousBound) => finished.unwrap_or(prev.seq_hi),
            Some(Mutant::NoListed) => prev.prev_hi,
            _ => finished.unwrap_or(prev.prev_hi).min(prev.prev_hi),
        };
        let seen =
            || self.database.committed().filter(|row| taken.is_some() || snapshot.sees(row.xid));
        let late: Vec<Row> = seen()
            .filter(|row| row.seq > bound && row.seq <= prev.seq_hi)
            .filter(|row| !prev.snapshot.sees(row.xid))
            .filter(|_| mutant != Some(Mutant::NoLateRows))
            .collect();
        let fresh: Vec<Row> = seen().filter(|row| row.seq > prev.seq_hi).take(size.limit).collect();
        let seal = Seal {
            seq_hi: fresh.last().map_or(prev.seq_hi, |row| row.seq),
            prev_hi: prev.seq_hi,
            prev2_hi: prev.prev_hi,
            late_lo: if late.is_empty() { prev.seq_hi } else { bound },
            first_position: prev.first_position + prev.members.len(),
            members: [late, fresh].concat(),
            snapshot,
            lows,
        };
        (!seal.members.is_empty()).then_some((self.seals.len(), seal))
    }

    /// What `read_seal.sql` returns for seal `number` now.
    fn read(&self, number: usize, seal: &Seal) -> Vec<Row> {
        let Some(prev) = self.seals[number - 1].first() else { return Vec::new() };
        self.database
            .committed()
            .filter(|row| row.seq > seal.late_lo && row.seq <= seal.seq_hi)
            .filter(|row| seal.snapshot.sees(row.xid))
            .filter(|row| row.seq > prev.seq_hi || !prev.snapshot.sees(row.xid))
            .collect()
    }

    pub(crate) fn log(&self) -> impl Iterator<Item = Row> + '_ {
        self.seals.iter().flatten().flat_map(|seal| seal.members.iter().copied())
    }

    /// Nothing happens any more: writers have ended, and a seal would be empty.
    fn quiet(&self, size: &Size, mutant: Option<Mutant>) -> bool {
        self.writers.iter().all(|writer| *writer == Writer::Ended)
            && !self.sealers.iter().any(|sealer| matches!(sealer, Sealer::Inserted { .. }))
            && self.statement(size, mutant, None).is_none()
    }
}

impl Model for Sealing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let database = Database::default();
        let first = Seal { snapshot: database.snapshot(), ..Seal::default() };
        vec![State {
            database,
            writers: vec![Writer::New; self.size.rows.len()],
            sealers: [Sealer::Idle, Sealer::Idle],
            seals: vec![vec![first]],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, writer) in state.writers.iter().enumerate() {
            match writer {
                Writer::New => actions.push(Action::TakeXid(at)),
                // An UPDATE assigns the id first and then waits for the row's lock.
                Writer::Open { locked: false, .. } => {
                    if state.key_is_free(&self.size, self.size.keys[at]) {
                        actions.push(Action::Lock(at));
                    }
                }
                Writer::Open { left: 0, .. } => {
                    actions.extend([Action::End(at, true), Action::End(at, false)]);
                }
                Writer::Open { .. } => actions.push(Action::Insert(at)),
                Writer::Ended => {}
            }
        }
        for (at, sealer) in state.sealers.iter().enumerate() {
            match sealer {
                Sealer::Idle if self.mutant == Some(Mutant::XidBeforeSnapshot) => {
                    if !state.quiet(&self.size, self.mutant) {
                        actions.push(Action::SealerXid(at));
                    }
                }
                Sealer::Idle if self.mutant == Some(Mutant::TwoStatements) => {
                    if !state.quiet(&self.size, self.mutant) {
                        actions.push(Action::Snapshot(at));
                    }
                }
                // An empty statement changes nothing: the sealer looks again later.
                sealer @ (Sealer::Idle | Sealer::HasXid(_) | Sealer::HasSnapshot(_)) => {
                    if state.statement(&self.size, self.mutant, sealer.snapshot()).is_some() {
                        actions.push(Action::Statement(at));
                    }
                }
                Sealer::Inserted { .. } => actions.push(Action::CommitSeal(at)),
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::TakeXid(at) => {
                let xid = state.database.assign();
                state.writers[at] = Writer::Open { xid, locked: false, left: self.size.rows[at] };
            }
            Action::Lock(at) => {
                if let Writer::Open { locked, .. } = &mut state.writers[at] {
                    *locked = true;
                }
            }
            Action::Insert(at) => {
                let Writer::Open { xid, left, .. } = &mut state.writers[at] else { return None };
                *left -= 1;
                state.database.insert(*xid, self.size.keys[at]);
            }
            Action::End(at, commit) => {
                let Writer::Open { xid, .. } = state.writers[at] else { return None };
                state.database.end(xid, commit);
                state.writers[at] = Writer::Ended;
            }
            Action::SealerXid(at) => state.sealers[at] = Sealer::HasXid(state.database.assign()),
            Action::Snapshot(at) => {
                state.sealers[at] = Sealer::HasSnapshot(state.database.snapshot());
            }
            Action::Statement(at) => {
                let taken = state.sealers[at].snapshot();
                let (number, seal) = state.statement(&self.size, self.mutant, taken)?;
                // The INSERT comes after the snapshot, and so does its id.
                let xid = match state.sealers[at] {
                    Sealer::HasXid(xid) => xid,
                    _ => state.database.assign(),
                };
                state.sealers[at] = Sealer::Inserted { xid, number, seal };
            }
            Action::CommitSeal(at) => {
                let sealer = std::mem::replace(&mut state.sealers[at], Sealer::Idle);
                let Sealer::Inserted { xid, number, seal } = sealer else { return None };
                let taken = number < state.seals.len();
                let fails = taken && self.mutant != Some(Mutant::NoFence);
                state.database.end(xid, !fails);
                if !taken {
                    state.seals.push(vec![seal]);
                } else if !fails {
                    state.seals[number].push(seal);
                }
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "a committed row is in exactly one seal",
                |model: &Self, state: &State| {
                    let log: Vec<Row> = state.log().collect();
                    let times = |row: &Row| log.iter().filter(|other| *other == row).count();
                    let committed =
                        |row: &Row| matches!(state.database.fate(row.xid), Fate::Committed(_));
                    log.iter().all(|row| times(row) == 1 && committed(row))
                        && (!state.quiet(&model.size, model.mutant)
                            || state.database.committed().all(|row| times(&row) == 1))
                },
            ),
            Property::always("a seal reads the same at any later time", |_, state: &State| {
                let seals = state.seals.iter().enumerate().skip(1);
                seals
                    .flat_map(|(number, seals)| seals.iter().map(move |seal| (number, seal)))
                    .all(|(number, seal)| state.read(number, seal) == seal.members)
            }),
            Property::always("a key's rows stand in commit order", |_, state: &State| {
                let mut last = BTreeMap::new();
                state.log().all(|row| {
                    let Fate::Committed(order) = state.database.fate(row.xid) else { return true };
                    last.insert(row.key, order).is_none_or(|before| before <= order)
                })
            }),
            Property::always("positions are dense", |_, state: &State| {
                let mut next = 0;
                state.seals.iter().flatten().all(|seal| {
                    let dense = seal.first_position == next;
                    next += seal.members.len();
                    dense
                })
            }),
        ]
    }
}
