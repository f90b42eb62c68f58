//! Suites for whoever adds a transport, and parts for the tests of whoever uses one. Feature
//! `testing`.

mod reference;
pub mod transport_suite;

pub use reference::{ReferenceReceiver, SampleSource, Temper};
