//! The suites. A new one is a file here and a line in [`ALL`].

mod write;

use crate::bench::Suite;

pub(crate) const ALL: &[Suite] = &[write::SUITE];
