//! What a plan is held against when it is built.

use std::collections::{BTreeSet, HashMap};

use super::super::step::{Role, Step, Undo};
use crate::message::{Message, check_stream};

/// Why a plan is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The saga has a name that is not of the allowed form.
    #[error("saga {saga:?}: its name is not of the allowed form: {problem}")]
    Name {
        /// The saga.
        saga: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The version is lower than 1.
    #[error("saga {saga:?}: versions begin with 1")]
    Version {
        /// The saga.
        saga: String,
    },
    /// There is no step.
    #[error("saga {saga:?} has no step")]
    Empty {
        /// The saga.
        saga: String,
    },
    /// A step has a name that is not of the allowed form.
    #[error("saga {saga:?}: the name of step {step:?} is not of the allowed form: {problem}")]
    StepName {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two steps have the same name.
    #[error("saga {saga:?} has two steps {step:?}")]
    Twice {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// A step names another one that there is not.
    #[error("saga {saga:?}: step {step:?} names {unknown:?}, which is no step of it")]
    Unknown {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// The name that is no step.
        unknown: String,
    },
    /// Steps wait for each other in a circle.
    #[error("saga {saga:?}: steps wait for each other in a circle: {circle}")]
    Circle {
        /// The saga.
        saga: String,
        /// The steps of the circle.
        circle: String,
    },
    /// A step reads what need not be done before it.
    #[error(
        "saga {saga:?}: step {step:?} reads what {read:?} returns, which need not be done before it: name it with `after`"
    )]
    ReadsAhead {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// The step that is read.
        read: String,
    },
    /// Two steps are the pivot.
    #[error("saga {saga:?} has two pivots, {first:?} and {second:?}")]
    TwoPivots {
        /// The saga.
        saga: String,
        /// One of the two.
        first: String,
        /// The other one.
        second: String,
    },
    /// A step runs beside the pivot.
    #[error(
        "saga {saga:?}: step {step:?} runs beside the pivot {pivot:?}: put it before or after it"
    )]
    BesidePivot {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// The pivot.
        pivot: String,
    },
    /// A step before the pivot has no compensation.
    #[error(
        "saga {saga:?}: step {step:?} comes before the pivot and has no compensation: give it one, or say that there is nothing to undo"
    )]
    NoCompensation {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// A step after the pivot can be refused.
    #[error(
        "saga {saga:?}: step {step:?} comes after the pivot and can be refused: make it retriable, or put it before the pivot"
    )]
    RefusableAfterPivot {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// A compensation would never run.
    #[error(
        "saga {saga:?}: the compensation of step {step:?} would never run: the step is the pivot or comes after it"
    )]
    UselessCompensation {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// A reservation is confirmed by no step.
    #[error(
        "saga {saga:?}: step {step:?} reserves and no step confirms it: add one after the pivot, or make it an ordinary step with a compensation"
    )]
    Unconfirmed {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// Two steps confirm the same reservation.
    #[error("saga {saga:?}: steps {first:?} and {second:?} confirm the same step {step:?}")]
    ConfirmedTwice {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// One of the two.
        first: String,
        /// The other one.
        second: String,
    },
    /// A step confirms one that reserves nothing.
    #[error(
        "saga {saga:?}: step {step:?} confirms {reserved:?}, which is no step that reserves: declare that one so"
    )]
    NothingToConfirm {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// The step that it confirms.
        reserved: String,
    },
    /// A step confirms before there is no way back.
    #[error(
        "saga {saga:?}: step {step:?} confirms {reserved:?} and does not come after the pivot: until then it may have to be cancelled"
    )]
    ConfirmsTooEarly {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// The step that it confirms.
        reserved: String,
    },
    /// A step reserves after the pivot.
    #[error(
        "saga {saga:?}: step {step:?} reserves and does not come before the pivot: after it nothing is cancelled"
    )]
    ReservesTooLate {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// A local step reserves or confirms.
    #[error("saga {saga:?}: step {step:?} is local: only a participant reserves and confirms")]
    LocalReservation {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// A step declares a topic that its command cannot have.
    #[error("saga {saga:?}: step {step:?} cannot send a command with topic {topic:?}: {problem}")]
    Topic {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// The topic.
        topic: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A step has no time, or no attempt.
    #[error(
        "saga {saga:?}: step {step:?} needs a deadline, time for each try, and at least one attempt"
    )]
    NoTime {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
}

/// The topics that steps declare are topics, and of steps that send commands.
fn check_topic(saga: &str, step: &Step) -> Result<(), PlanError> {
    let Some(topic) = &step.topic else { return Ok(()) };
    let problem = match (
        step.local,
        Message::new(topic.as_str(), "text/plain", Vec::new()).validate_attributes(),
    ) {
        (true, _) => "it is local and sends no command".to_owned(),
        (false, Err(error)) => error.to_string(),
        (false, Ok(())) => return Ok(()),
    };
    let (saga, step, topic) = (saga.to_owned(), step.name.clone(), topic.clone());
    Err(PlanError::Topic { saga, step, topic, problem })
}

pub(super) fn check_names<'a>(
    saga: &str,
    version: i32,
    steps: &'a [Step],
) -> Result<HashMap<&'a str, usize>, PlanError> {
    let own = saga.to_owned();
    if let Err(error) = check_stream(saga) {
        return Err(PlanError::Name { saga: own, problem: error.to_string() });
    }
    if version < 1 {
        return Err(PlanError::Version { saga: own });
    }
    if steps.is_empty() {
        return Err(PlanError::Empty { saga: own });
    }
    let mut places = HashMap::new();
    for (index, one) in steps.iter().enumerate() {
        let Step { name, deadline, undo_deadline, try_limit, .. } = one;
        if let Err(error) = check_stream(name) {
            let (step, problem) = (name.clone(), error.to_string());
            return Err(PlanError::StepName { saga: own, step, problem });
        }
        if places.insert(name.as_str(), index).is_some() {
            return Err(PlanError::Twice { saga: own, step: name.clone() });
        }
        let attempts = [one.action_retry().attempts, one.compensation_retry().attempts];
        let times = [deadline, undo_deadline, try_limit];
        if times.iter().any(|time| time.is_zero()) || attempts.contains(&0) {
            return Err(PlanError::NoTime { saga: own, step: name.clone() });
        }
        check_topic(saga, one)?;
    }
    Ok(places)
}

/// For each step the places of all steps that are done before it.
pub(super) fn ancestors(
    saga: &str,
    steps: &[Step],
    needs: &[Vec<usize>],
) -> Result<Vec<BTreeSet<usize>>, PlanError> {
    let mut ancestors: Vec<Option<BTreeSet<usize>>> = vec![None; steps.len()];
    loop {
        let mut moved = false;
        for index in 0..steps.len() {
            if ancestors[index].is_some() {
                continue;
            }
            let known: Option<Vec<_>> =
                needs[index].iter().map(|&before| ancestors[before].as_ref()).collect();
            if let Some(known) = known {
                let mut all: BTreeSet<usize> = known.into_iter().flatten().copied().collect();
                all.extend(&needs[index]);
                ancestors[index] = Some(all);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let stuck = || (0..steps.len()).filter(|&index| ancestors[index].is_none());
    if let Some(mut index) = stuck().next() {
        // Each of them waits for another one of them: going back often enough ends in a circle.
        let back = |index: usize| stuck().find(|other| needs[index].contains(other));
        for _ in steps {
            index = back(index).unwrap_or(index);
        }
        let (first, mut names) = (index, Vec::new());
        loop {
            names.push(steps[index].name.as_str());
            index = back(index).unwrap_or(first);
            if index == first {
                break;
            }
        }
        names.push(names[0]);
        return Err(PlanError::Circle { saga: saga.to_owned(), circle: names.join(" after ") });
    }
    Ok(ancestors.into_iter().flatten().collect())
}

/// Which way the saga can go from each step, and whether the step is fit for it.
pub(super) fn roles(
    saga: &str,
    steps: &[Step],
    ancestors: &[BTreeSet<usize>],
) -> Result<Vec<Role>, PlanError> {
    let own = || saga.to_owned();
    let name = |index: usize| steps[index].name.clone();
    let mut pivots = (0..steps.len()).filter(|&index| steps[index].pivot);
    let pivot = pivots.next();
    if let (Some(first), Some(second)) = (pivot, pivots.next()) {
        let (first, second) = (name(first), name(second));
        return Err(PlanError::TwoPivots { saga: own(), first, second });
    }
    let mut roles = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let role = match pivot {
            Some(pivot) if pivot == index => Role::Pivot,
            Some(pivot) if ancestors[index].contains(&pivot) => Role::Retriable,
            Some(pivot) if !ancestors[pivot].contains(&index) => {
                let (step, pivot) = (name(index), name(pivot));
                return Err(PlanError::BesidePivot { saga: own(), step, pivot });
            }
            _ => Role::Compensatable,
        };
        let undo = step.undo;
        let step = step.name.clone();
        match role {
            Role::Compensatable if undo == Undo::Unsaid => {
                return Err(PlanError::NoCompensation { saga: own(), step });
            }
            Role::Pivot | Role::Retriable if undo == Undo::Compensation => {
                return Err(PlanError::UselessCompensation { saga: own(), step });
            }
            Role::Retriable if !steps[index].retriable => {
                return Err(PlanError::RefusableAfterPivot { saga: own(), step });
            }
            _ => roles.push(role),
        }
    }
    Ok(roles)
}

/// Every reservation has its confirmation, and the pivot stands between them.
pub(super) fn reservations(
    saga: &str,
    steps: &[Step],
    ancestors: &[BTreeSet<usize>],
) -> Result<(), PlanError> {
    let own = || saga.to_owned();
    let pivot = steps.iter().position(|step| step.pivot);
    for (index, step) in steps.iter().enumerate() {
        let name = || step.name.clone();
        if step.local && (step.reserves || step.confirms.is_some()) {
            return Err(PlanError::LocalReservation { saga: own(), step: name() });
        }
        if let Some(reserved) = &step.confirms {
            let reserves = |other: &Step| other.name == *reserved && other.reserves;
            let (step, reserved) = (name(), reserved.clone());
            if !steps.iter().any(reserves) {
                return Err(PlanError::NothingToConfirm { saga: own(), step, reserved });
            }
            if pivot.is_none_or(|pivot| !ancestors[index].contains(&pivot)) {
                return Err(PlanError::ConfirmsTooEarly { saga: own(), step, reserved });
            }
        }
        if step.reserves {
            let confirms = |other: &&Step| other.confirms.as_ref() == Some(&step.name);
            let mut confirming = steps.iter().filter(confirms);
            let Some(first) = confirming.next() else {
                return Err(PlanError::Unconfirmed { saga: own(), step: name() });
            };
            if let Some(second) = confirming.next() {
                let (first, second) = (first.name.clone(), second.name.clone());
                return Err(PlanError::ConfirmedTwice { saga: own(), step: name(), first, second });
            }
            // Without a pivot it is the confirmation that has no place.
            if pivot.is_some_and(|pivot| !ancestors[pivot].contains(&index)) {
                return Err(PlanError::ReservesTooLate { saga: own(), step: name() });
            }
        }
    }
    Ok(())
}
