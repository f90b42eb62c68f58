//! What the two demo services share. Not part of the framework.

mod bounded;
mod client;
mod config;
mod fields;
mod guard;
mod names;
mod openapi;
mod password;
mod problem;
mod service;
mod sync;
mod tries;

pub use client::{Client, Network, Proxies, ProxyHeader};
pub use config::{Config, HashCost};
pub use fields::{Fields, Rule};
pub use guard::{Credentials, Guard};
pub use names::{display_key, email_key, id_form, is_visible, names_nobody};
pub use openapi::{Limit, described};
pub use password::{Hashed, Passwords, Turn};
pub use problem::{Json, Problem, Segment, object, single};
pub use service::{Database, connect, hold_open, limits, main, migrate, ready, stop_soon};
pub use sync::{Intake, feed_of, push_to};
