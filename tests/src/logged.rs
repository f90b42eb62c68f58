//! Reads what a test's program logs.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{filter::LevelFilter, fmt, util::SubscriberInitExt};

/// The log of a test's program, which only one test of it can set.
#[derive(Clone, Default)]
pub struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    /// From now on, down to `level`.
    ///
    /// # Panics
    /// When the program's subscriber is set already.
    pub fn start(level: LevelFilter) -> Self {
        let logged = Self::default();
        let writer = logged.clone();
        fmt()
            .with_ansi(false)
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish()
            .init();
        logged
    }

    /// The log of this program, of all its tests when they share a process: from the first call on, down
    /// to the `level` of that.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn shared(level: LevelFilter) -> &'static Self {
        static LOG: OnceLock<Logged> = OnceLock::new();
        LOG.get_or_init(|| Self::start(level))
    }

    /// The lines that have all of `parts`.
    pub fn lines(&self, parts: &[&str]) -> Vec<String> {
        let text = self.text();
        let has = |line: &&str| parts.iter().all(|part| line.contains(part));
        text.lines().filter(has).map(str::to_owned).collect()
    }

    /// All of it.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
