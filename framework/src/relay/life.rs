//! Which life of the database server the relay's memory belongs to. Whoever fails over to a server
//! that lacks commits, or restores a backup, breaks every connection on the way: what this process
//! knew of the log before is then read again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::storage::{Met, Server};

/// Counts the lives of the server that were met.
#[derive(Clone)]
pub(super) struct Life(Arc<Lives>);

struct Lives {
    count: watch::Sender<u64>,
    met: Mutex<Option<Server>>,
}

impl Life {
    pub(super) fn new() -> Self {
        Self(Arc::new(Lives { count: watch::channel(0).0, met: Mutex::default() }))
    }

    /// The life that the newest connection is of.
    pub(super) fn now(&self) -> u64 {
        *self.0.count.borrow()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.count.subscribe()
    }

    /// What was known of the log holds no more.
    pub(super) fn next(&self, why: &str) {
        tracing::warn!("{why}: what the relay knows of the log is read again");
        self.0.count.send_modify(|count| *count += 1);
    }

    /// To be told of each new connection, before it is used.
    pub(super) fn met(&self) -> Met {
        let life = self.clone();
        Arc::new(move |server| {
            let mut met = life.0.met.lock().unwrap_or_else(PoisonError::into_inner);
            let other = met.as_ref().is_some_and(|before| !before.is_same(&server));
            *met = Some(server);
            drop(met);
            if other {
                life.next("the database server is another one, or was started anew");
            }
        })
    }
}
