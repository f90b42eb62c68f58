//! As much of PostgreSQL as sealing rests on: transaction ids, snapshots, sequence values.

/// A transaction id, from 1 in the order in which they were assigned.
pub(crate) type Xid = u8;
/// A sequence value.
pub(crate) type Seq = u8;

/// How a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Running,
    /// It was the so-many-th to commit.
    Committed(u8),
    Aborted,
}

/// One row of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) seq: Seq,
    pub(crate) xid: Xid,
    pub(crate) key: u8,
}

/// What `pg_current_snapshot()` returns: `xmax` is the latest *completed* id plus one, so ids
/// from there on may be running and are not in `xip`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Snapshot {
    pub(crate) xmax: Xid,
    pub(crate) xip: Vec<Xid>,
}

impl Snapshot {
    /// `pg_visible_in_snapshot`.
    pub(crate) fn sees(&self, xid: Xid) -> bool {
        xid < self.xmax && !self.xip.contains(&xid)
    }
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Database {
    /// By id, from 1.
    fates: Vec<Fate>,
    pub(crate) rows: Vec<Row>,
    latest_completed: Xid,
    commits: u8,
}

impl Database {
    /// Assigns a transaction id.
    pub(crate) fn assign(&mut self) -> Xid {
        self.fates.push(Fate::Running);
        self.fates.len() as Xid
    }

    /// Inserts a row: its sequence value is assigned here, after the transaction's id.
    pub(crate) fn insert(&mut self, xid: Xid, key: u8) {
        let seq = self.rows.len() as Seq + 1;
        self.rows.push(Row { seq, xid, key });
    }

    pub(crate) fn end(&mut self, xid: Xid, commit: bool) {
        self.commits += u8::from(commit);
        let fate = if commit { Fate::Committed(self.commits) } else { Fate::Aborted };
        self.fates[usize::from(xid) - 1] = fate;
        self.latest_completed = self.latest_completed.max(xid);
    }

    pub(crate) fn fate(&self, xid: Xid) -> Fate {
        self.fates[usize::from(xid) - 1]
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let xmax = self.latest_completed + 1;
        let running = |xid: &Xid| self.fate(*xid) == Fate::Running;
        Snapshot { xmax, xip: (1..xmax).filter(running).collect() }
    }

    /// The committed rows, in order of seq: what any statement may see of the table now.
    pub(crate) fn committed(&self) -> impl Iterator<Item = Row> + '_ {
        self.rows.iter().copied().filter(|row| matches!(self.fate(row.xid), Fate::Committed(_)))
    }
}
