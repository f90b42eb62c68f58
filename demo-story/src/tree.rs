//! A saga as a tree, with what happened to each step.

use serde_json::Value;
use syncline::saga::{Phase, operate::Shown};

/// Prints it.
pub(crate) fn print(shown: &Shown) {
    let saga = &shown.summary;
    println!("  {}@{} {}", saga.saga, saga.version, saga.status);
    let Ok(state) = &shown.state else { return };
    if let Some(reason) = &state.reason {
        println!("  because of {reason}");
    }
    let began = |name: &str| shown.log.iter().position(|line| line.step.as_deref() == Some(name));
    let mut steps: Vec<_> = state.steps.iter().collect();
    steps.sort_by_key(|(name, _)| began(name).unwrap_or(usize::MAX));
    for (n, (name, step)) in steps.iter().enumerate() {
        let joint = if n + 1 == steps.len() { "└─" } else { "├─" };
        let of = shown.log.iter().filter(|line| line.step.as_deref() == Some(name));
        let events: Vec<_> = of.map(|line| line.what.as_str()).collect();
        let line = format!("{joint} {name:<16} {:<10} {}", word(step.phase), events.join(", "));
        println!("  {}", line.trim_end());
    }
}

/// What a phase is called, as in the stored state.
fn word(phase: Phase) -> String {
    match serde_json::to_value(phase) {
        Ok(Value::String(word)) => word,
        _ => format!("{phase:?}"),
    }
}
