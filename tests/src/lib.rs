//! What the integration tests share.

#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod chance;
pub mod cut;
pub mod faulty;
pub mod gate;
pub mod isolation;
pub mod kit;
pub mod letters;
pub mod logged;
pub mod orders;
pub mod own_server;
pub mod pooler;
pub mod relays;
pub mod servers;
pub mod small_disk;
pub mod timed;
pub mod world;

#[doc(hidden)]
pub use sqlx::{MySql, Postgres, Sqlite};
