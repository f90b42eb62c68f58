//! What a suite has measured, as it is written into its JSON file.

use serde::{Deserialize, Serialize};

use crate::{
    machine::{Load, Machine},
    stats::{median, median_interval, quantile},
};

/// One run of one suite.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) suite: String,
    pub(crate) title: String,
    /// What ours is held against.
    pub(crate) floor: String,
    pub(crate) command: String,
    /// With `-dirty` behind it where the tree was not that of the commit.
    pub(crate) commit: String,
    /// In UTC.
    pub(crate) began: String,
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
    pub(crate) machine: Machine,
    /// The server's version and settings.
    pub(crate) server: Vec<(String, String)>,
    pub(crate) load: Load,
    pub(crate) lines: Vec<Line>,
    pub(crate) counts: Vec<Count>,
    pub(crate) plots: Vec<Plot>,
    /// What was checked in the same runs.
    pub(crate) checks: Vec<String>,
    pub(crate) notes: Vec<String>,
}

/// One figure of ours, with the floor's of the same rounds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) unit: String,
    /// One figure a round.
    pub(crate) ours: Vec<f64>,
    /// In the same order; empty where there is no floor.
    pub(crate) floor: Vec<f64>,
    pub(crate) goal: Option<Goal>,
}

/// What we aim for: of the median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// Of ours to the floor.
    RatioAtLeast(f64),
    /// Of ours to the floor.
    RatioAtMost(f64),
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
}

impl Line {
    /// Ours to the floor, round by round.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.floor).map(|(ours, floor)| ours / floor).collect()
    }

    /// What the goal speaks of.
    fn judged(&self) -> f64 {
        match self.goal {
            Some(Goal::RatioAtLeast(_) | Goal::RatioAtMost(_)) => median(&self.ratios()),
            _ => median(&self.ours),
        }
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let value = self.judged();
        let met = match self.goal? {
            Goal::RatioAtLeast(least) | Goal::AtLeast(least) => value >= least,
            Goal::RatioAtMost(most) | Goal::AtMost(most) => value <= most,
        };
        Some(if met { Verdict::Met } else { Verdict::Missed })
    }

    /// The cells of its row in a table, see [`Line::HEADER`].
    pub(crate) fn cells(&self) -> [String; 7] {
        let ratios = self.ratios();
        let (ratio, spread) = match ratios.is_empty() {
            true => (String::new(), range(&self.ours, number)),
            false => (format!("{:.2}", median(&ratios)), range(&ratios, |v| format!("{v:.2}"))),
        };
        let interval = median_interval(if ratios.is_empty() { &self.ours } else { &ratios });
        let spread = match interval {
            Some((low, high)) if !ratios.is_empty() => {
                format!("{spread} (95 %: {low:.2} to {high:.2})")
            }
            _ => spread,
        };
        let floor = match self.floor.is_empty() {
            true => String::new(),
            false => format!("{} {}", number(median(&self.floor)), self.unit),
        };
        [
            self.what.clone(),
            format!("{} {}", number(median(&self.ours)), self.unit),
            floor,
            ratio,
            format!("{spread}, n = {}", self.ours.len()),
            self.goal.map_or(String::new(), |goal| goal.text(&self.unit)),
            self.verdict().map_or("", Verdict::text).to_owned(),
        ]
    }

    pub(crate) const HEADER: [&'static str; 7] =
        ["what", "ours", "floor", "ratio", "spread", "goal", "verdict"];
}

impl Goal {
    pub(crate) fn text(self, unit: &str) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("at least {least} of the floor"),
            Self::RatioAtMost(most) => format!("at most {most} of the floor"),
            Self::AtLeast(least) => format!("at least {} {unit}", number(least)),
            Self::AtMost(most) => format!("at most {} {unit}", number(most)),
        }
    }
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
        }
    }
}

/// What the database counted, for each of something: it does not depend on the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) what: String,
    /// Such as `message`.
    pub(crate) per: String,
    /// `(what was counted, ours, the floor's)`.
    pub(crate) figures: Vec<(String, f64, Option<f64>)>,
}

/// A drawing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plot {
    /// Part of its file's name.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// Both axes in powers of ten, or none.
    pub(crate) log_x: bool,
    pub(crate) log_y: bool,
    pub(crate) series: Vec<(String, Vec<(f64, f64)>)>,
}

/// Three digits that count, with the thousands apart.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        abs if abs >= 100.0 => 0,
        abs if abs >= 10.0 => 1,
        abs if abs >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((&text[..], None), |(w, r)| (w, Some(r)));
    let mut grouped = String::new();
    for (at, char) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(char);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

fn range(values: &[f64], text: impl Fn(f64) -> String) -> String {
    format!("{} to {}", text(quantile(values, 0.0)), text(quantile(values, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::{Goal, Line, Verdict, number};

    fn line(ours: &[f64], floor: &[f64], goal: Goal) -> Line {
        let (what, unit) = ("a".to_owned(), "/s".to_owned());
        Line { what, unit, ours: ours.to_vec(), floor: floor.to_vec(), goal: Some(goal) }
    }

    #[test]
    fn a_goal_is_held_against_the_median_of_the_ratios_and_not_the_ratio_of_the_medians() {
        // The ratios are 0.5, 1.0 and 0.9; the medians are 90 and 100.
        let line = line(&[50.0, 1_000.0, 90.0], &[100.0, 1_000.0, 100.0], Goal::RatioAtLeast(0.9));
        assert_eq!(line.verdict(), Some(Verdict::Met));
        let missed = Line { goal: Some(Goal::RatioAtLeast(0.91)), ..line };
        assert_eq!(missed.verdict(), Some(Verdict::Missed));
    }

    #[test]
    fn a_goal_without_a_floor_is_held_against_the_figure() {
        assert_eq!(line(&[2.0], &[], Goal::AtMost(1.0)).verdict(), Some(Verdict::Missed));
        assert_eq!(line(&[0.5], &[], Goal::AtMost(1.0)).verdict(), Some(Verdict::Met));
        assert_eq!(line(&[f64::NAN], &[], Goal::AtMost(1.0)).verdict(), Some(Verdict::Missed));
    }

    #[test]
    fn numbers_have_three_digits_that_count_and_their_thousands_apart() {
        let all = [0.1234, 1.234, 12.34, 123.4, 1_234.4, 1_234_567.0, -1_234.0, 5.0];
        let text = ["0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "-1,234", "5"];
        assert_eq!(all.map(number), text);
    }
}
