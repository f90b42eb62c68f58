//! What must hold at the end of every run, whatever the saga does.

use std::collections::{BTreeSet, HashMap};

use super::world::{Broken, World};
use crate::{
    saga::{End, Phase, Plan, Role, State, Status, Undo},
    storage::sqlite::explored::Effected,
};

/// When a step was applied and compensated, among all effects.
#[derive(Debug, Default, Clone, Copy)]
struct Times {
    applied: Option<i64>,
    undone: Option<i64>,
}

impl World<'_> {
    /// Each effect happened once, in order, and all steps are applied or all applied ones are
    /// compensated.
    pub(super) async fn check(&self, state: &State, expected: Option<End>) -> Result<End, Broken> {
        let plan = self.explorer.saga.plan();
        let Status::Ended(end) = state.status else { return Err("it is not over".to_owned()) };
        if let Some(expected) = expected.filter(|expected| *expected != end) {
            return Err(format!("it should have ended {expected:?}\n{}", self.drawn().await));
        }
        let times = times(&self.effects().await?)?;
        let problem = balance(plan, end, &times).or_else(|| order(plan, &times, &self.gave_up));
        match problem {
            Some(problem) => Err(format!("{problem}\n{}", self.drawn().await)),
            None => Ok(end),
        }
    }

    /// A stuck saga has run every compensation that could run.
    pub(super) async fn check_stuck(&self, state: &State) -> Result<(), Broken> {
        if !state.back {
            return Ok(());
        }
        let times = times(&self.effects().await?)?;
        for step in self.explorer.saga.plan().steps() {
            let own = times.get(&step.name).copied().unwrap_or_default();
            let gave_up = state.phase(&step.name) == Some(Phase::UndoFailed);
            let left = own.applied.is_some() && own.undone.is_none() && !gave_up;
            if left && step.undo == Undo::Compensation {
                let name = &step.name;
                let drawn = self.drawn().await;
                return Err(format!("it is stuck, and {name} was not compensated\n{drawn}"));
            }
        }
        Ok(())
    }
}

fn times(effects: &[Effected]) -> Result<HashMap<String, Times>, Broken> {
    let mut times = HashMap::<String, Times>::new();
    for effect in effects {
        let own = times.entry(effect.step.clone()).or_default();
        let (place, what) = match effect.undo {
            false => (&mut own.applied, "applied"),
            true => (&mut own.undone, "compensated"),
        };
        if place.replace(effect.at).is_some() {
            return Err(format!("{} was {what} twice", effect.step));
        }
    }
    match times.iter().find(|(_, own)| own.undone.is_some() && own.undone < own.applied) {
        Some((step, _)) => Err(format!("{step} was applied after it was compensated")),
        None => Ok(times),
    }
}

fn balance(plan: &Plan, end: End, times: &HashMap<String, Times>) -> Option<Broken> {
    plan.steps().iter().enumerate().find_map(|(at, step)| {
        let name = &step.name;
        let Times { applied, undone } = times.get(name).copied().unwrap_or_default();
        match (end, plan.role(at)) {
            _ if undone.is_some() && applied.is_none() => {
                Some(format!("{name} was compensated and never applied"))
            }
            (End::Completed, _) if applied.is_none() || undone.is_some() => {
                Some(format!("the saga is completed, and {name} is not applied"))
            }
            (End::Compensated, Role::Compensatable) if step.undo == Undo::Nothing => None,
            (End::Compensated, _) if applied.is_some() && undone.is_none() => {
                Some(format!("the saga is compensated, and {name} is still applied"))
            }
            _ => None,
        }
    })
}

/// Nothing was applied before what it waits for, nor compensated before what has built on it, unless
/// the compensation of that was given up.
fn order(
    plan: &Plan,
    times: &HashMap<String, Times>,
    gave_up: &BTreeSet<String>,
) -> Option<Broken> {
    let of = |name: &str| times.get(name).copied().unwrap_or_default();
    for step in plan.steps() {
        for before in &step.after {
            let (own, earlier) = (of(&step.name), of(before));
            if own.applied.is_some() && earlier.applied.is_none_or(|at| Some(at) > own.applied) {
                return Some(format!("{} was applied before {before}", step.name));
            }
            let both = own.undone.is_some() && earlier.undone.is_some();
            if both && earlier.undone < own.undone && !gave_up.contains(&step.name) {
                return Some(format!("{before} was compensated before {}", step.name));
            }
        }
    }
    None
}
