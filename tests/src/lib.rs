//! What the integration tests share.

#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod kit;
pub mod letters;
pub mod relays;
pub mod servers;
pub mod world;

#[doc(hidden)]
pub use sqlx::{MySql, Postgres, Sqlite};
