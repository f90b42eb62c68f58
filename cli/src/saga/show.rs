//! `syncline saga show`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    saga::{Phase, StepState, operate::Shown},
    storage::{SagaLogRow, SagaSummary},
};

use super::{Named, list::summary};
use crate::{
    delivery::{Delivery, last_of, unsealed},
    failure::{Failure, Outcome},
    outbox::lag::LOOK,
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
    let commands = commands(&shown, pool).await?;
    if output.is_json() {
        output.json(&document(&shown, &commands, args.data))?;
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
    draw(output, &branches(&shown, &commands, args.data))
}

/// Where the commands are whose answers are awaited, by step.
type Commands = BTreeMap<String, String>;

/// Looks for them: a step's log says only that its command was written.
async fn commands<DB: Storage>(shown: &Shown, pool: &Pool<DB>) -> Result<Commands, Failure> {
    const WRITTEN: [&str; 4] = ["sent", "resent", "compensating", "barring"];
    let mut commands = Commands::new();
    let Ok(state) = &shown.state else { return Ok(commands) };
    let awaits = |name: &str, step: &StepState| {
        let mut log = shown.log.iter();
        matches!(step.phase, Phase::Acting | Phase::Barring | Phase::Undoing)
            && log.any(|line| {
                line.step.as_deref() == Some(name) && WRITTEN.contains(&line.what.as_str())
            })
    };
    let steps: Vec<&str> = state
        .steps
        .iter()
        .filter(|(name, step)| awaits(name, step))
        .map(|(name, _)| &**name)
        .collect();
    if steps.is_empty() {
        return Ok(commands);
    }
    let id = shown.summary.id;
    let of = |key: &str| {
        let rest = key.strip_prefix(&format!("{id}/"))?.to_owned();
        steps.iter().find(|step| rest.starts_with(&format!("{step}/"))).copied()
    };
    let delivery = Delivery::read(pool).await?;
    for row in last_of(pool, LOOK.into(), |key| of(key).is_some()).await? {
        let step = row.message.key.as_deref().and_then(of);
        commands.extend(step.map(|step| (step.to_owned(), delivery.of(&row, &[]))));
    }
    // The last one written counts.
    let (unsealed, _) = unsealed(pool, |key| of(key).is_some()).await?;
    for step in unsealed.iter().filter_map(|row| row.key.as_deref().and_then(of)) {
        let text = "written, and not sealed yet: a running relay seals and sends it".to_owned();
        commands.insert(step.to_owned(), text);
    }
    Ok(commands)
}

/// What is drawn under the root: a line, and what is under it.
type Branch = (String, Vec<String>);

/// What has no step first, then the steps in the order in which they began.
fn branches(shown: &Shown, commands: &Commands, data: bool) -> Vec<Branch> {
    let own = |name: Option<&str>| {
        let of = shown.log.iter().filter(move |line| line.step.as_deref() == name);
        of.map(event).collect::<Vec<_>>()
    };
    let began = |name: &str| shown.log.iter().position(|line| line.step.as_deref() == Some(name));
    let mut steps: Vec<(usize, Branch)> = Vec::new();
    if let Ok(state) = &shown.state {
        for (name, step) in &state.steps {
            let at = began(name).unwrap_or(usize::MAX);
            let mut leaves = own(Some(name));
            leaves.extend(commands.get(name).map(|command| format!("its command: {command}")));
            steps.push((at, (step_line(name, step, data), leaves)));
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
    // The engine writes a command; a relay sends it.
    let what = match line.what.as_str() {
        "sent" => "command written",
        "resent" => "command written again",
        what => what,
    };
    let mut event = format!("{} {what}", text::time(line.at));
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

fn document(shown: &Shown, commands: &Commands, data: bool) -> Value {
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
    let commands = commands.iter().map(|(step, state)| json!({"step": step, "state": state}));
    document["commands"] = commands.collect();
    document
}
