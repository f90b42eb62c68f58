//! `syncline saga list --failing` and `syncline saga retry --failing`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Pool;
use syncline::{
    Storage,
    saga::operate::{self, Failing, GivenUp},
};

use super::{Who, list::summary};
use crate::{
    failure::{Failure, Outcome},
    layout::{cut, spare, text as whole_text, whole},
    output::Output,
    text,
};

/// Failing steps with the same step and error.
struct Group<'a> {
    all: Vec<&'a Failing>,
}

impl Group<'_> {
    fn first(&self) -> &Failing {
        self.all[0]
    }

    /// The soonest of some times.
    fn soonest(&self, of: impl Fn(&Failing) -> Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        self.all.iter().filter_map(|one| of(one)).min()
    }

    fn numbers(&self, of: impl Fn(&Failing) -> Option<u32>) -> String {
        let numbers: Vec<u32> = self.all.iter().filter_map(|one| of(one)).collect();
        match (numbers.iter().min(), numbers.iter().max()) {
            (Some(least), Some(most)) if least == most => least.to_string(),
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "-".to_owned(),
        }
    }

    fn document(&self) -> Value {
        let first = self.first();
        let instances = self.all.iter().map(|one| {
            let mut document = summary(&one.saga);
            document["attempts"] = json!(one.attempts);
            document["attempts_left"] = json!(one.left);
            document["next_try_at"] = text::at(one.next);
            document["given_up_at"] = text::at(one.until);
            document
        });
        json!({
            "saga": first.saga.saga,
            "version": first.saga.version,
            "step": first.step,
            "compensation": first.compensation,
            "error": first.error,
            "then": then(first.then),
            "instances": instances.collect::<Vec<_>>(),
        })
    }

    fn row(&self) -> [String; 9] {
        let first = self.first();
        let step = match (&first.step, first.compensation) {
            (None, _) => "-".to_owned(),
            (Some(step), false) => step.clone(),
            (Some(step), true) => format!("{step} (compensation)"),
        };
        [
            format!("{}@{}", first.saga.saga, first.saga.version),
            step,
            self.all.len().to_string(),
            self.numbers(|one| Some(one.attempts)),
            self.numbers(|one| one.left),
            at(self.soonest(|one| one.next)),
            at(self.soonest(|one| one.until)),
            then(first.then).to_owned(),
            first.error.clone(),
        ]
    }
}

fn at(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "-".to_owned(), text::time)
}

fn then(then: GivenUp) -> &'static str {
    match then {
        GivenUp::Rejected => "rejected",
        GivenUp::Stuck => "stuck",
        GivenUp::IsStuck => "is stuck",
        GivenUp::GoesOn => "goes on by itself",
    }
}

fn groups(found: &[Failing]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<_, Vec<&Failing>> = BTreeMap::new();
    for one in found {
        let Failing { saga, step, compensation, error, then, .. } = one;
        let key = (&saga.saga, saga.version, step, compensation, error, then);
        groups.entry(key).or_default().push(one);
    }
    let mut groups: Vec<_> = groups.into_values().map(|all| Group { all }).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.all.len()));
    groups
}

pub(super) async fn run<DB: Storage>(
    saga: Option<&str>,
    number: u32,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut found = operate::failing(pool, number + 1).await?;
    // Several steps may be one instance's.
    let instances: BTreeSet<_> = found.iter().map(|one| one.saga.id).collect();
    let more = instances.len() > number as usize;
    if let Some(last) = found.last().map(|one| one.saga.id).filter(|_| more) {
        found.retain(|one| one.saga.id != last);
    }
    found.retain(|one| saga.is_none_or(|saga| saga == one.saga.saga));
    let groups = groups(&found);
    if output.is_json() {
        output.list(groups.iter().map(Group::document), more)?;
        return Ok(Outcome::Done);
    }
    if groups.is_empty() {
        output.line("no saga has a step that fails")?;
        return Ok(Outcome::Done);
    }
    let columns = [
        cut("saga"),
        cut("step"),
        whole("instances"),
        whole("attempts"),
        whole("attempts_left"),
        spare("next_try_at"),
        spare("given_up_at"),
        whole("then"),
        whole_text("error"),
    ];
    output.table(columns, groups.iter().map(Group::row))?;
    output.note(
        "when the cause is gone: `syncline saga retry --failing --why TEXT` has all of it tried now",
    )?;
    if more {
        output.note("there are more: -n")?;
    }
    Ok(Outcome::Done)
}

/// The most instances that are tried again by one command.
const MOST: u32 = 10_000;

pub(super) async fn retry<DB: Storage>(
    saga: Option<&str>,
    who: &Who,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let act = async {
        let asked = operate::retry_failing(pool, saga, MOST, &who.by()).await?;
        Ok((asked, asked))
    };
    let target = saga.map_or("all".to_owned(), |saga| format!("all of {saga}"));
    let asked = who.operator().record(pool, "saga retry --failing", &target, act).await?;
    match (output.is_json(), asked) {
        (true, _) => output.json(&json!({"asked": "retry", "steps": asked}))?,
        (false, 0) => output.line("no saga has a step that fails and waits")?,
        (false, _) => {
            output.line(format!(
                "the engine is asked to try again what fails: {}",
                text::count(asked, "step")
            ))?;
            output.note("what comes of it: `syncline saga list --failing`")?;
        }
    }
    Ok(if asked > 0 { Outcome::Done } else { Outcome::Unchanged })
}
