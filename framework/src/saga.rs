//! Sagas: local transactions of several services, one after the other; when one is refused, the
//! ones before it are compensated.
//!
//! | module | what it does |
//! |---|---|
//! | [`definition`] | a saga as users write it: typed steps |
//! | [`plan`] | which steps there are and how they hang together; checked when it is built |
//! | [`state`] | where an instance stands; stored by the names of its steps |
//! | [`mod@decide`] | what follows from an event: pure, without I/O |
//! | [`engine`] | decides what has happened to instances, and does what follows |
//! | [`operate`] | what an operator does with instances |
//! | [`participant`] | applies the commands of other services' sagas |
//! | [`wire`] | commands and replies |

pub mod decide;
pub mod definition;
pub mod engine;
mod kept;
pub mod operate;
pub mod participant;
pub mod plan;
pub mod state;
pub mod step;
pub mod wire;

pub use decide::{Answer, Decision, Effect, Event, Timer, UndoAnswer, decide};
pub use definition::{Call, Local, Outcome, Reads, Ref, Remote, Saga, SagaBuilder, StepBuilder};
pub(crate) use engine::source;
pub use engine::{
    Over, Replies, Sagas, SagasBuilder, SagasHandle, SagasStatus, StartError, Started,
};
pub use kept::MAX_DEPTH;
pub(crate) use participant::erased_record;
pub use participant::{SagaHandler, TccHandler, tcc};
pub use plan::{Plan, PlanBuilder, PlanError};
pub use state::{End, Left, Misfit, Phase, State, Status, StepState, Why};
pub use step::{Retry, Role, Step, Undo};
