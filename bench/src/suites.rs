//! The suites. A new one is a file here and a line in [`ALL`].

mod apply;
mod delay;
mod delay_by_clock;
mod drain;
mod end_to_end;
mod held_xmin;
mod idle;
mod mysql;
mod open_transaction;
mod saga;
mod scale;
mod sqlite;
mod write;

use crate::bench::Suite;

pub(crate) const ALL: &[Suite] = &[
    write::SUITE,
    drain::SUITE,
    apply::SUITE,
    end_to_end::SUITE,
    delay::SUITE,
    open_transaction::SUITE,
    held_xmin::SUITE,
    scale::SUITE,
    saga::SUITE,
    idle::SUITE,
    mysql::SUITE,
    sqlite::SUITE,
];
