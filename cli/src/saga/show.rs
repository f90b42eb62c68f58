//! `syncline saga show`.

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    saga::{Phase, StepState, operate::Shown},
    storage::{SagaLogRow, SagaSummary},
};

use super::{Named, list::summary};
use crate::{
    failure::{Failure, Outcome},
    output::Output,
    text,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The id that `saga list` shows, the beginning of it, or the key that it was started with
    #[arg(value_name = "ID")]
    id: Named,
    /// Show what it started with and what its steps returned, too: it may be secret
    #[arg(long)]
    data: bool,
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let shown = super::instance(pool, args.id.find(pool).await?).await?;
    if output.is_json() {
        output.json(&document(&shown, args.data))?;
        return Ok(Outcome::Done);
    }
    let saga = &shown.summary;
    let mut root = vec![
        format!("{}@{} {} (key {:?})", saga.saga, saga.version, saga.id, saga.key),
        standing(saga),
    ];
    root.extend(saga.problem.iter().map(|problem| format!("cannot be decided: {problem}")));
    match &shown.state {
        Ok(state) => root.extend(state.reason.iter().map(|reason| format!("because: {reason}"))),
        Err(error) => root.push(format!("its steps cannot be read: {error}")),
    }
    root.push(match args.data {
        true => format!("input: {}", shown.input),
        false => format!("input: {}; --data shows it", text::count(shown.input.len(), "byte")),
    });
    for line in root {
        output.line(text::escape(&line))?;
    }
    draw(output, &branches(&shown, args.data))
}

/// What is drawn under the root: a line, and what is under it.
type Branch = (String, Vec<String>);

/// What has no step first, then the steps in the order in which they began.
fn branches(shown: &Shown, data: bool) -> Vec<Branch> {
    let own = |name: Option<&str>| {
        let of = shown.log.iter().filter(move |line| line.step.as_deref() == name);
        of.map(event).collect::<Vec<_>>()
    };
    let began = |name: &str| shown.log.iter().position(|line| line.step.as_deref() == Some(name));
    let mut steps: Vec<(usize, Branch)> = Vec::new();
    if let Ok(state) = &shown.state {
        for (name, step) in &state.steps {
            let at = began(name).unwrap_or(usize::MAX);
            steps.push((at, (step_line(name, step, data), own(Some(name)))));
        }
    } else {
        for (at, line) in shown.log.iter().enumerate() {
            if let Some(name) = &line.step
                && began(name) == Some(at)
            {
                steps.push((at, (name.clone(), own(Some(name)))));
            }
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    let whole = ("the saga".to_owned(), own(None));
    std::iter::once(whole).chain(steps.into_iter().map(|(_, branch)| branch)).collect()
}

fn draw(output: &mut Output, branches: &[Branch]) -> Result<Outcome, Failure> {
    for (n, (line, leaves)) in branches.iter().enumerate() {
        let (joint, trunk) = match n + 1 == branches.len() {
            true => ("└─", "  "),
            false => ("├─", "│ "),
        };
        output.line(format!("{joint} {}", text::escape(line)))?;
        for (m, leaf) in leaves.iter().enumerate() {
            let joint = if m + 1 == leaves.len() { "└─" } else { "├─" };
            output.line(format!("{trunk} {joint} {}", text::escape(leaf)))?;
        }
    }
    Ok(Outcome::Done)
}

fn standing(saga: &SagaSummary) -> String {
    let started = format!("started {}", text::time(saga.started_at));
    let since = match (saga.stuck_at, saga.ended_at) {
        (_, Some(ended)) => format!("ended {}", text::time(ended)),
        (Some(stuck), None) => format!("stuck since {}", text::time(stuck)),
        (None, None) => format!("changed {}", text::time(saga.updated_at)),
    };
    format!("{}: {started}, {since}", saga.status)
}

fn step_line(name: &str, step: &StepState, data: bool) -> String {
    let mut line = format!("{name}: {}", word(step.phase));
    if step.attempts > 0 {
        line.push_str(&format!(", {}", text::count(step.attempts, "attempt")));
    }
    if let Some(error) = &step.error {
        line.push_str(&format!(": {error}"));
    }
    if let Some(returned) = step.output.as_ref().filter(|_| data) {
        line.push_str(&format!(", returned {returned}"));
    }
    line
}

fn event(line: &SagaLogRow) -> String {
    let mut event = format!("{} {}", text::time(line.at), line.what);
    if let Some(attempt) = line.attempt {
        event.push_str(&format!(" (attempt {attempt})"));
    }
    if let Some(detail) = &line.detail {
        event.push_str(&format!(": {detail}"));
    }
    event
}

/// What a phase is called, as in the stored state.
pub(super) fn word(phase: Phase) -> String {
    match serde_json::to_value(phase) {
        Ok(Value::String(word)) => word,
        _ => format!("{phase:?}"),
    }
}

fn document(shown: &Shown, data: bool) -> Value {
    let mut document = summary(&shown.summary);
    let log = shown.log.iter().map(|line| {
        json!({
            "logged_at": text::at(line.at),
            "step": line.step,
            "what": line.what,
            "attempt": line.attempt,
            "detail": line.detail,
        })
    });
    if data {
        let input = serde_json::from_str(&shown.input);
        document["input"] = input.unwrap_or_else(|_| Value::from(shown.input.clone()));
    }
    match &shown.state {
        Ok(state) => {
            document["back"] = json!(state.back);
            document["reason"] = json!(state.reason);
            document["steps"] = json!(state.steps);
            if let Some(steps) = document["steps"].as_object_mut().filter(|_| !data) {
                steps.values_mut().filter_map(Value::as_object_mut).for_each(|step| {
                    step.remove("output");
                });
            }
        }
        Err(error) => document["unreadable"] = json!(error),
    }
    document["log"] = log.collect();
    document
}
