//! Suites for whoever adds a database or a transport, and parts for the tests of whoever uses one. Feature
//! `testing`.

mod reference;
pub mod saga;
pub mod storage_suite;
pub mod transport_suite;

pub use reference::{ReferenceReceiver, SampleSource, Temper};
