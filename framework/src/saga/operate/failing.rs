//! Which steps fail, how often they are tried still, and what happens then.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::Pool;

use super::{Act, By, act};
use crate::{
    Result, Storage,
    saga::{Phase, State, StepState},
    storage::{SagaSteps, SagaSummary},
};

/// The trouble of an instance that the engine has set aside begins so.
pub(crate) const SET_ASIDE: &str = "the database refuses what is decided of it: ";

/// A step whose last attempt has failed, or an instance that the engine cannot decide.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failing {
    /// The instance.
    pub saga: SagaSummary,
    /// The step; none when the instance itself cannot be decided, or is set aside because the database
    /// refuses what is decided of it.
    pub step: Option<String>,
    /// Whether it is the step's compensation that fails.
    pub compensation: bool,
    /// The error.
    pub error: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts that are left, one that is under way counted; none where that has no end.
    pub left: Option<u32>,
    /// When it is tried next; none while an attempt is under way, or when it is not tried any more.
    pub next: Option<DateTime<Utc>>,
    /// When it is given up at the latest, if every attempt fails at once; none when it is not known.
    pub until: Option<DateTime<Utc>>,
    /// The consequence.
    pub then: GivenUp,
}

/// The fate of an instance whose step is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GivenUp {
    /// It is rejected: what was done is compensated.
    Rejected,
    /// It is stuck, and waits for an operator.
    Stuck,
    /// It is stuck already.
    IsStuck,
    /// It goes on by itself, once the database takes what is decided of it.
    GoesOn,
}

/// Steps that fail, of up to `limit` instances, the longest failing first.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database).
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// for one in syncline::saga::operate::failing(&pool, 100).await? {
///     println!("{}: {:?} until {:?}: {}", one.saga.id, one.step, one.until, one.error);
/// }
/// # Ok(()) }
/// ```
pub async fn failing<DB: Storage>(pool: &Pool<DB>, limit: u32) -> Result<Vec<Failing>> {
    let sagas = DB::failing_sagas(pool, limit.into()).await?;
    let ids: Vec<_> = sagas.iter().map(|saga| saga.id).collect();
    let steps = DB::saga_steps(pool, &ids).await?;
    let mut steps: HashMap<_, _> = steps.into_iter().map(|steps| (steps.id, steps)).collect();
    Ok(sagas.into_iter().flat_map(|saga| of_one(saga.clone(), steps.remove(&saga.id))).collect())
}

fn of_one(saga: SagaSummary, steps: Option<SagaSteps>) -> Vec<Failing> {
    let state = steps.as_ref().and_then(|steps| serde_json::from_str::<State>(&steps.state).ok());
    if saga.problem.is_some() || state.is_none() {
        let error = saga.problem.clone().or_else(|| saga.trouble.clone()).unwrap_or_default();
        return vec![whole(saga, error, GivenUp::IsStuck)];
    }
    let refused = saga.trouble.as_deref().filter(|trouble| trouble.starts_with(SET_ASIDE));
    if let Some(refused) = refused {
        return vec![whole(saga.clone(), refused.to_owned(), GivenUp::GoesOn)];
    }
    let timers = steps.map(|steps| steps.timers).unwrap_or_default();
    let states = state.map(|state| state.steps).unwrap_or_default();
    let failing = states.into_iter().filter(|(_, own)| own.is_failing());
    failing.map(|(step, own)| of_step(&saga, step, &own, &timers)).collect()
}

/// An instance that fails as a whole.
fn whole(saga: SagaSummary, error: String, then: GivenUp) -> Failing {
    let left = (then == GivenUp::IsStuck).then_some(0);
    let (step, compensation, attempts, next, until) = Default::default();
    Failing { saga, step, compensation, error, attempts, left, next, until, then }
}

fn of_step(
    saga: &SagaSummary,
    step: String,
    own: &StepState,
    timers: &[(String, DateTime<Utc>)],
) -> Failing {
    let due = |what: &str| {
        let subject = format!("{} {what} {step}", saga.id.simple());
        timers.iter().find(|(timer, _)| *timer == subject).map(|(_, at)| *at)
    };
    let phase = own.phase;
    let compensation = matches!(phase, Phase::Undoing | Phase::UndoResting | Phase::UndoFailed);
    let resting = matches!(phase, Phase::Resting | Phase::UndoResting);
    let given_up = matches!(phase, Phase::Failed | Phase::UndoFailed);
    let back = own.left.is_some_and(|left| left.back);
    let next = due("retry").filter(|_| resting);
    let pauses = own.left.map(|left| Duration::from_millis(left.pauses));
    let tried_out = next.zip(pauses).and_then(|(next, pauses)| {
        next.checked_add_signed(chrono::TimeDelta::from_std(pauses).ok()?)
    });
    // Up to the pivot the deadline is one for all attempts.
    let deadline = due("deadline").filter(|_| back);
    let until = [tried_out, deadline].into_iter().flatten().min();
    let then = match (given_up, back) {
        (true, _) => GivenUp::IsStuck,
        (false, true) => GivenUp::Rejected,
        (false, false) => GivenUp::Stuck,
    };
    let left = if given_up { Some(0) } else { own.left.map(|left| left.attempts) };
    Failing {
        saga: saga.clone(),
        compensation,
        error: own.error.clone().unwrap_or_else(|| "no answer".to_owned()),
        attempts: own.attempts,
        left,
        next,
        until,
        then,
        step: Some(step),
    }
}

/// Has every step that fails tried again now, of up to `limit` instances and, if it is given, of one
/// saga: a pause is not waited for, what was given up begins anew, and instances that could not be
/// decided are looked at again. Returns of how many steps the engines were asked.
///
/// # Errors
/// [`Error::Database`](crate::Error::Database); the steps before the one that failed are asked for.
pub async fn retry_failing<DB: Storage>(
    pool: &Pool<DB>,
    saga: Option<&str>,
    limit: u32,
    by: &By,
) -> Result<u64> {
    let mut asked = 0;
    for Failing { saga: of, step, next, then, .. } in failing(pool, limit).await? {
        // What is set aside needs nobody.
        if then == GivenUp::GoesOn {
            continue;
        }
        let waits = step.is_none() || next.is_some() || then == GivenUp::IsStuck;
        if waits && saga.is_none_or(|saga| saga == of.saga) {
            asked += u64::from(act(pool, of.id, Act::Retry(step), by).await?);
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::saga::Left;

    fn saga() -> SagaSummary {
        let at = DateTime::<Utc>::UNIX_EPOCH;
        SagaSummary {
            id: Uuid::nil(),
            saga: "order".to_owned(),
            version: 1,
            key: "k".to_owned(),
            status: "running".to_owned(),
            problem: None,
            started_at: at,
            updated_at: at,
            stuck_at: None,
            ended_at: None,
            trouble: None,
            failing_at: Some(at),
        }
    }

    fn found(phase: Phase, left: Option<Left>, timers: &[(&str, i64)]) -> Failing {
        let own = StepState { phase, attempts: 3, left, ..StepState::default() };
        let id = Uuid::nil().simple();
        let timers: Vec<_> = timers
            .iter()
            .map(|(what, at)| {
                (format!("{id} {what} pay"), DateTime::UNIX_EPOCH + TimeDelta::seconds(*at))
            })
            .collect();
        of_step(&saga(), "pay".to_owned(), &own, &timers)
    }

    #[test]
    fn a_step_is_given_up_when_its_attempts_or_its_deadline_end_whichever_is_sooner() {
        let left = |back| Some(Left { attempts: 5, pauses: 60_000, back });
        let at = |seconds| Some(DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds));
        let both = [("retry", 10), ("deadline", 50)];
        let found_now = found(Phase::Resting, left(true), &both);
        assert_eq!((found_now.next, found_now.until), (at(10), at(50)));
        assert_eq!((found_now.left, found_now.then), (Some(5), GivenUp::Rejected));
        let late = found(Phase::Resting, left(true), &[("retry", 10), ("deadline", 500)]);
        assert_eq!(late.until, at(70));
        // The deadline of a compensation is that of one attempt.
        let undo = found(Phase::UndoResting, left(false), &both);
        assert_eq!((undo.until, undo.then, undo.compensation), (at(70), GivenUp::Stuck, true));
        // An attempt is under way: its timer is that of a silence.
        let acting = found(Phase::Acting, left(true), &both);
        assert_eq!((acting.next, acting.until, acting.left), (None, at(50), Some(5)));
        let failed = found(Phase::UndoFailed, None, &[]);
        assert_eq!((failed.until, failed.left, failed.then), (None, Some(0), GivenUp::IsStuck));
    }
}
