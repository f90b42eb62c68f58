//! For whoever tests a saga of their own: [`Scenario`] says what it decides, without a database.

mod draw;
mod scenario;

pub use draw::draw;
pub use scenario::{Planned, Scenario};
