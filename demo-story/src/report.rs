//! What was promised, and whether it held.

use std::fmt::Display;

/// The promises so far.
#[derive(Default)]
pub(crate) struct Report {
    broken: Vec<String>,
    kept: usize,
    finished: bool,
}

impl Report {
    /// Notes a promise and what was seen of it: a row of the table.
    pub(crate) fn promise(&mut self, what: &str, held: bool, seen: impl Display) {
        println!("  {}  {what:<55}  {seen}", if held { "kept  " } else { "BROKEN" });
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

    /// A promise that there are none.
    pub(crate) fn none(&mut self, what: &str, seen: i64) {
        self.promise(what, seen == 0, seen);
    }

    /// Prints the sum.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        println!("{} promises kept, {} broken", self.kept, self.broken.len());
        for broken in &self.broken {
            println!("  BROKEN  {broken}");
        }
    }

    /// Whether the sum was printed: the story was told to its end.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether no promise was broken so far.
    pub(crate) fn good(&self) -> bool {
        self.broken.is_empty()
    }
}
