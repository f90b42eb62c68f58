//! What an exploration has tried, and the run that broke a promise.

use std::fmt;

/// What was tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many runs there were, from start to end.
    pub runs: usize,
    /// How often a process died at a commit.
    pub crash_points: usize,
    /// How often one died before its answer left it.
    pub lost_answers: usize,
    /// How many orders of arrival were tried one by one.
    pub orders: usize,
    /// How many runs were made by chance.
    pub chances: usize,
    /// How many messages came more than once.
    pub repeats: usize,
    /// How many steps were refused or failed.
    pub faults: usize,
    /// How many runs ended with all steps applied.
    pub completed: usize,
    /// How many ended with all applied ones compensated.
    pub compensated: usize,
    /// What decides the runs by chance.
    pub seed: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, crash_points, lost_answers, orders, chances, repeats, faults, .. } = self;
        let Self { completed, compensated, seed, .. } = self;
        write!(
            f,
            "{runs} runs: {crash_points} crashes at a commit, {lost_answers} before an answer, \
             {orders} orders one by one, {chances} by chance (seed {seed}), {repeats} messages \
             repeated, {faults} faults; {completed} completed, {compensated} compensated"
        )
    }
}

/// A run that broke a promise.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{problem}\n\nin the run in which {run} (seed {seed})\nits story:\n    {}\n\nuntil then: {report}",
    story.join("\n    ")
)]
#[non_exhaustive]
pub struct Violation {
    /// What is wrong.
    pub problem: String,
    /// What went wrong in that run on purpose.
    pub run: String,
    /// What happened in it.
    pub story: Vec<String>,
    /// What was tried until then.
    pub report: Report,
    /// What decides the runs by chance.
    pub seed: u64,
}
