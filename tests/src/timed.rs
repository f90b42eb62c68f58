//! A saga whose first step fails once and is tried again, and whose second one gets no answer: it goes
//! back when its deadline has passed.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;
use syncline::{
    Message,
    saga::{Outcome, PlanError, Retry, Saga, SagaBuilder},
};

use crate::kit::Kit;

/// The saga's name.
pub const SAGA: &str = "timed";
/// As what its engine works.
pub const SOURCE: &str = "/timed";
/// The pause after the failure.
pub const PAUSE: Duration = Duration::from_millis(500);
/// The deadline of the step that gets no answer.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// The saga, whose input is any number. Its step fails once in each engine that is built with it.
///
/// # Errors
/// None: the definition is sound.
pub fn definition<DB: Kit>() -> Result<Saga<DB>, PlanError> {
    let mut saga = SagaBuilder::<DB, i64>::new(SAGA, 1);
    let failed = AtomicBool::new(false);
    saga.local::<_, i64, _>("open", (), move |_, call| {
        let fails = !failed.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            match fails {
                true => Err("it fails once".into()),
                false => Ok(Outcome::Done(call.input)),
            }
        })
    })
    .nothing_to_undo()
    .retry(Retry { attempts: 5, base: PAUSE, longest: PAUSE })
    .add();
    saga.remote::<_, Value>("ask", (), |call| Ok(Message::json("timed.ask", &call.input)?))
        .nothing_to_undo()
        .deadline(DEADLINE)
        .add();
    saga.local::<_, i64, _>("approve", (), |_, call| {
        Box::pin(async move { Ok(Outcome::Done(call.input)) })
    })
    .pivot()
    .add();
    saga.build()
}
