//! What was promised, and whether it held.

use std::fmt::Display;

/// The promises so far.
#[derive(Default)]
pub(crate) struct Report {
    broken: Vec<String>,
    kept: usize,
}

impl Report {
    /// Notes a promise and what was seen of it.
    pub(crate) fn promise(&mut self, what: &str, held: bool, seen: impl Display) {
        println!("  {} {what}: {seen}", if held { "kept  " } else { "BROKEN" });
        if held {
            self.kept += 1;
        } else {
            self.broken.push(format!("{what}: {seen}"));
        }
    }

    /// A promise about a number.
    pub(crate) fn count<N: PartialEq + Display>(&mut self, what: &str, seen: N, expected: N) {
        let held = seen == expected;
        self.promise(what, held, format!("{seen} of {expected}"));
    }

    /// Prints the sum; true when every promise held.
    pub(crate) fn finish(&self) -> bool {
        println!("\n{} promises kept, {} broken", self.kept, self.broken.len());
        for broken in &self.broken {
            println!("  BROKEN {broken}");
        }
        self.broken.is_empty()
    }
}
