//! For whoever tests a saga of their own: a [`Scenario`] says what it decides, without a database;
//! an [`Explorer`] takes it, with its participants, through every failure, crash, repeat and order.

mod draw;
#[cfg(feature = "sqlite")]
mod explore;
mod mutant;
#[cfg(any(test, feature = "sqlite"))]
pub(crate) mod random;
mod scenario;

pub use draw::draw;
#[cfg(feature = "sqlite")]
pub use explore::{Databases, Explorer, Report, Service, Violation};
pub use mutant::Mutant;
pub use scenario::{Planned, Scenario};
