//! What the integration tests share.

#![allow(clippy::expect_used, clippy::unwrap_used)]

pub mod cut;
pub mod kit;
pub mod letters;
pub mod relays;
pub mod servers;
