//! Sagas that are broken on purpose: the tests of the explorer hold it against each of them.

use crate::saga::{Answer, Decision, Effect, Event, Phase, Plan, Status, Timer, Undo, decide};

/// What is broken. An exploration of it must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// What was done first is compensated first.
    ReversedOrder,
    /// A reply is acknowledged before it is stored.
    EarlyAck,
    /// Participants call their handlers without a barrier.
    NoBarrier,
    /// Timers are kept in memory.
    TimersLost,
    /// When a compensation has failed, the ones after it are not run.
    SkipsAfterFailure,
    /// A pivot that does not answer is taken for not applied, and nobody asks.
    GuessesPivot,
}

impl Mutant {
    /// What the broken saga decides instead.
    pub(crate) fn twist(self, plan: &Plan, decision: Decision) -> Decision {
        match self {
            Self::ReversedOrder => reversed(plan, decision),
            Self::SkipsAfterFailure => skipping(decision),
            Self::GuessesPivot => guessing(plan, decision),
            Self::EarlyAck | Self::NoBarrier | Self::TimersLost => decision,
        }
    }
}

fn reversed(plan: &Plan, mut decision: Decision) -> Decision {
    if !decision.state.back || decision.state.is_ended() {
        return decision;
    }
    let mut first = Vec::new();
    for step in plan.steps() {
        let Some(own) = decision.state.steps.get_mut(&step.name) else { continue };
        if own.phase != Phase::Done || step.undo != Undo::Compensation {
            continue;
        }
        (own.phase, own.attempts, own.forgiven) = (Phase::Undoing, 1, 0);
        if !step.local {
            let timer = Timer::Deadline(step.name.clone());
            first.push(Effect::Arm { timer, after: step.undo_deadline });
        }
        first.push(Effect::Undo { step: step.name.clone(), attempt: 1 });
    }
    first.append(&mut decision.effects);
    Decision { effects: first, ..decision }
}

fn skipping(mut decision: Decision) -> Decision {
    let failed = decision.state.steps.values().any(|own| own.phase == Phase::UndoFailed);
    if !failed || decision.state.is_ended() {
        return decision;
    }
    decision.effects.retain(|effect| match effect {
        Effect::Undo { step, attempt: 1 } => {
            if let Some(own) = decision.state.steps.get_mut(step) {
                own.phase = Phase::Undone;
            }
            false
        }
        _ => true,
    });
    for own in decision.state.steps.values_mut() {
        if own.phase == Phase::Done {
            own.phase = Phase::Undone;
        }
    }
    let going = decision.state.steps.values().any(|own| own.phase.is_under_way());
    if !going && decision.state.status != Status::Stuck {
        decision.state.status = Status::Stuck;
        decision.effects.push(Effect::Stuck);
    }
    decision
}

fn guessing(plan: &Plan, decision: Decision) -> Decision {
    let asks = decision.effects.iter().find_map(|effect| match effect {
        Effect::Bar { step, .. } => Some(step.clone()),
        _ => None,
    });
    let Some(step) = asks else { return decision };
    let guess = Event::BarAnswered { step, answer: Answer::Barred };
    let Ok(guessed) = decide(plan, &decision.state, &guess) else { return decision };
    let mut effects = decision.effects;
    effects.retain(|effect| !matches!(effect, Effect::Bar { .. }));
    effects.extend(guessed.effects);
    Decision { state: guessed.state, effects }
}
