//! The commits of one service's database: counted, and refused once its process is dead.
//!
//! SQLite asks before each commit. So a process can die at any commit with no word of it in the
//! code that is tried: the commit, and all later ones, are refused, and what the process still
//! does or answers in memory is lost with it when the explorer drops it.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

/// When a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// Before its commit of this number, from 1: the transaction is lost.
    BeforeCommit(u32),
    /// After it: the transaction stands, and nobody has learned of it.
    AfterCommit(u32),
}

#[derive(Debug)]
struct State {
    commits: u32,
    death: Option<Death>,
    dead: bool,
}

/// Counts the commits of one service's process, and ends it.
#[derive(Debug, Clone)]
pub(super) struct Valve(Arc<Mutex<State>>);

impl Valve {
    /// Of a process that dies so.
    pub(super) fn new(death: Option<Death>) -> Self {
        Self(Arc::new(Mutex::new(State { commits: 0, death, dead: false })))
    }

    pub(super) fn commits(&self) -> u32 {
        self.state().commits
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether the process has died right after a commit: it has answered nobody since.
    pub(super) fn died_after_commit(&self) -> bool {
        let state = self.state();
        state.dead && matches!(state.death, Some(Death::AfterCommit(_)))
    }

    /// Kills the process where it stands.
    pub(super) fn kill(&self) {
        self.state().dead = true;
    }

    /// Whether a commit may go on.
    fn commit(&self) -> bool {
        let mut state = self.state();
        if state.dead {
            return false;
        }
        state.commits += 1;
        match state.death {
            Some(Death::BeforeCommit(at)) if at == state.commits => {
                state.dead = true;
                false
            }
            Some(Death::AfterCommit(at)) if at == state.commits => {
                state.dead = true;
                true
            }
            _ => true,
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pool whose commits pass here.
    pub(super) fn pool(&self, options: SqliteConnectOptions) -> SqlitePool {
        let valve = self.clone();
        SqlitePoolOptions::new()
            .max_connections(4)
            .after_connect(move |connection, _| {
                let valve = valve.clone();
                Box::pin(async move {
                    let mut handle = connection.lock_handle().await?;
                    handle.set_commit_hook(move || valve.commit());
                    Ok(())
                })
            })
            .connect_lazy_with(options)
    }
}
