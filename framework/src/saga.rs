//! Sagas: local transactions of several services, one after the other; when one is refused, the
//! ones before it are compensated.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | which steps there are and how they hang together; checked when it is built |
//! | [`state`] | where an instance stands; stored by the names of its steps |
//! | [`decide`] | what follows from an event: pure, without I/O |

pub mod decide;
pub mod plan;
pub mod state;
pub mod step;

pub use decide::{Answer, Decision, Effect, Event, Timer, UndoAnswer, decide};
pub use plan::{Plan, PlanBuilder, PlanError};
pub use state::{End, Misfit, Phase, State, Status, StepState};
pub use step::{Retry, Role, Step, Undo};
