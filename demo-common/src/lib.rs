//! What the two demo services share. Not part of the framework.

mod config;
mod fields;
mod password;
mod problem;
mod service;
mod sync;

pub use config::{Config, HashCost};
pub use fields::{Fields, email_key};
pub use password::{Hashed, Passwords, Turn};
pub use problem::{Json, Problem, Segment};
pub use service::{Database, connect, hold_open, limits, main, migrate, stop_soon};
pub use sync::{Intake, feed_of, push_to};
