//! One step of a saga, as a definition says it.

use std::time::Duration;

/// Default time for a step: longer than an ordinary outage.
const DEADLINE: Duration = Duration::from_secs(6 * 60 * 60);
/// Default time for the answer to one attempt of a compensation.
const UNDO_DEADLINE: Duration = Duration::from_secs(60 * 60);
/// Default time for one try of a local step: it holds the transaction of other instances, too.
const TRY_LIMIT: Duration = Duration::from_secs(60);

/// How long a participant may be silent until its command is sent again, unless a step says otherwise.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest pause between two repeats, unless a step asks for a longer one.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);
/// Commands are sent again no sooner, whatever a step says.
const SHORTEST_SILENCE: Duration = Duration::from_millis(10);

/// How a technical failure is tried again. A refusal is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The most attempts, the first one counted.
    pub attempts: u32,
    /// The pause after the first attempt; it doubles after each further one.
    pub base: Duration,
    /// The longest pause.
    pub longest: Duration,
}

impl Default for Retry {
    /// An action's: 82 attempts, with pauses from one second to five minutes: more than six hours.
    fn default() -> Self {
        Self { attempts: 82, base: Duration::from_secs(1), longest: Duration::from_secs(300) }
    }
}

impl Retry {
    /// A compensation's: 84 attempts, with pauses from one second to one hour: three days.
    pub const COMPENSATION: Self =
        Self { attempts: 84, base: Duration::from_secs(1), longest: Duration::from_secs(60 * 60) };

    /// All pauses that are left after attempt number `attempt`, together.
    pub(super) fn pauses_after(&self, attempt: u32) -> Duration {
        // Doubling reaches the longest pause after at most 64 attempts, or never.
        let doubling = (attempt..self.attempts).take(64);
        let counted = u32::try_from(doubling.len()).unwrap_or(u32::MAX);
        let sum =
            doubling.fold(Duration::ZERO, |sum, attempt| sum.saturating_add(self.pause(attempt)));
        let rest = self.attempts.saturating_sub(attempt).saturating_sub(counted);
        sum.saturating_add(self.pause(u32::MAX).saturating_mul(rest))
    }

    /// The pause after attempt number `attempt`, from 1.
    pub fn pause(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.base.saturating_mul(doubled).min(self.longest)
    }
}

/// What takes a step back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Undo {
    /// Nobody has said.
    #[default]
    Unsaid,
    /// Its compensation.
    Compensation,
    /// It changes nothing that would have to be taken back.
    Nothing,
}

/// Which way a saga can go from a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Before the pivot: it can be refused, and is compensated when a later one is.
    Compensatable,
    /// When it is applied, the saga goes on to its end; when it is refused, back.
    Pivot,
    /// After the pivot: it is tried until it succeeds.
    Retriable,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its name, which stays the same as long as the saga has instances.
    pub name: String,
    /// Whether it runs in the orchestrator's own transaction; else another service has it.
    pub local: bool,
    /// The steps that must be done before it.
    pub after: Vec<String>,
    /// The steps whose results it reads.
    pub reads: Vec<String>,
    /// What takes it back.
    pub undo: Undo,
    /// Whether it is the pivot.
    pub pivot: bool,
    /// Whether it is never refused.
    pub retriable: bool,
    /// Whether it only reserves, and a later step confirms it (try, confirm, cancel).
    pub reserves: bool,
    /// The step whose reservation it confirms.
    pub confirms: Option<String>,
    /// Time for all attempts of its action (six hours); after the pivot, each of its
    /// attempts.
    pub deadline: Duration,
    /// Time for the answer to each attempt of its compensation (one hour, or the deadline that was
    /// set).
    pub undo_deadline: Duration,
    /// Time for one try of a local step (one minute, or its deadline if that is shorter).
    pub try_limit: Duration,
    /// Retries after technical failures of its action; of its compensation, too, unless
    /// `undo_retry` says otherwise. Unset: [`Retry::default`] and [`Retry::COMPENSATION`].
    pub retry: Option<Retry>,
    /// Retries after technical failures of its compensation.
    pub undo_retry: Option<Retry>,
    /// The topic of its command, if it was declared: the engine looks at its start whether a stream
    /// carries it.
    pub topic: Option<String>,
    /// How long its participant may be silent until the command is sent again.
    pub silence: Duration,
    /// Whether its result and its commands are erased when the instance ends.
    pub secret: bool,
}

impl Step {
    fn new(name: impl Into<String>, local: bool) -> Self {
        Self {
            name: name.into(),
            local,
            after: Vec::new(),
            reads: Vec::new(),
            undo: Undo::Unsaid,
            pivot: false,
            retriable: false,
            reserves: false,
            confirms: None,
            deadline: DEADLINE,
            undo_deadline: UNDO_DEADLINE,
            try_limit: TRY_LIMIT,
            retry: None,
            undo_retry: None,
            topic: None,
            silence: SILENCE,
            secret: false,
        }
    }

    /// Retries of its action.
    pub fn action_retry(&self) -> Retry {
        self.retry.unwrap_or_default()
    }

    /// Retries of its compensation.
    pub fn compensation_retry(&self) -> Retry {
        self.undo_retry.or(self.retry).unwrap_or(Retry::COMPENSATION)
    }

    /// The pause after which a command that was sent again `resent` times is sent once more.
    pub(super) fn silence_after(&self, resent: u32) -> Duration {
        let base = self.silence.max(SHORTEST_SILENCE);
        let longest = LONGEST_SILENCE.max(base);
        Retry { attempts: u32::MAX, base, longest }.pause(resent.saturating_add(1))
    }

    /// A step in the orchestrator's own transaction.
    pub fn local(name: impl Into<String>) -> Self {
        Self::new(name, true)
    }

    /// A step of another service.
    pub fn remote(name: impl Into<String>) -> Self {
        Self::new(name, false)
    }

    /// It begins when `step` is done, too. Without a word it begins after the one before it.
    #[must_use]
    pub fn after(mut self, step: impl Into<String>) -> Self {
        self.after.push(step.into());
        self
    }

    /// It reads what `step` returned.
    #[must_use]
    pub fn reads(mut self, step: impl Into<String>) -> Self {
        self.reads.push(step.into());
        self
    }

    /// It has a compensation.
    #[must_use]
    pub fn compensated(mut self) -> Self {
        self.undo = Undo::Compensation;
        self
    }

    /// There is nothing to take back of it.
    #[must_use]
    pub fn nothing_to_undo(mut self) -> Self {
        self.undo = Undo::Nothing;
        self
    }

    /// It is the pivot: once it is applied, there is no way back.
    #[must_use]
    pub fn pivot(mut self) -> Self {
        self.pivot = true;
        self
    }

    /// It is never refused; technical failures are tried again.
    #[must_use]
    pub fn retriable(mut self) -> Self {
        self.retriable = true;
        self
    }

    /// It reserves, before the pivot; a step after the pivot [confirms](Self::confirms) it, and its
    /// compensation is the cancellation.
    #[must_use]
    pub fn reserves(mut self) -> Self {
        self.reserves = true;
        self.undo = Undo::Compensation;
        self
    }

    /// It confirms what `step` has reserved, which its cancellation would give back: it comes after
    /// the pivot, and is never refused.
    #[must_use]
    pub fn confirms(mut self, step: impl Into<String>) -> Self {
        self.confirms = Some(step.into());
        self.retriable = true;
        self
    }

    /// Time for all attempts of its action (six hours), and for each attempt of its
    /// compensation (one hour). Up to the pivot, an action that is not done by then turns the saga
    /// back: it should be longer than an outage that is waited out.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        (self.deadline, self.undo_deadline) = (deadline, deadline);
        self
    }

    /// Time for one try of a local step (one minute, and never longer than its deadline). It
    /// holds the engine's transaction, with the other instances in it.
    #[must_use]
    pub fn try_limit(mut self, limit: Duration) -> Self {
        self.try_limit = limit;
        self
    }

    /// The topic of its command. The engine warns at its start when no stream carries it, and a command
    /// with another topic is an error of the attempt.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// How long its participant may be silent until the command is sent again (30 s). The pause doubles
    /// with each repeat, up to ten minutes; the deadline is not moved by it.
    #[must_use]
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Drops its result from the state, and the payloads of its commands from the log, when the instance
    /// ends.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Retries after technical failures of its action and of its compensation. Unset, an action
    /// is tried for more than six hours ([`Retry::default`]; its deadline may end that sooner), and a
    /// compensation for three days ([`Retry::COMPENSATION`]).
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Retries after technical failures of its compensation, when not as for its action.
    #[must_use]
    pub fn undo_retry(mut self, retry: Retry) -> Self {
        self.undo_retry = Some(retry);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (base, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        let retry = Retry { attempts: 8, base, longest };
        let seconds: Vec<u64> = (1..=8).map(|attempt| retry.pause(attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        for attempt in [0, 31, 32, 33, u32::MAX] {
            assert!(retry.pause(attempt) <= longest, "{attempt}");
        }
        let odd = Retry { base: longest, longest: base, ..retry };
        assert_eq!(odd.pause(1), base, "never longer than the longest");
    }

    #[test]
    fn an_action_outlasts_an_outage_of_hours_and_a_compensation_one_of_days() {
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        let step = Step::remote("s");
        assert_eq!([step.deadline, step.undo_deadline], [hours(6), hours(1)]);
        assert!(step.action_retry().pauses_after(1) >= step.deadline);
        let undo = step.compensation_retry();
        assert_eq!(undo, Retry::COMPENSATION);
        assert!(undo.pauses_after(1) >= hours(72), "{:?}", undo.pauses_after(1));
        // Also when its participant is silent, it ends long before the barrier forgets (30 days).
        let silent = undo.pauses_after(1) + step.undo_deadline * undo.attempts;
        assert!(silent <= hours(24 * 10), "{silent:?}");
        assert_eq!(undo.pause(1), Duration::from_secs(1));
        assert_eq!(undo.pause(60), hours(1));
    }

    #[test]
    fn what_a_step_says_of_its_deadline_and_its_retries_is_true_of_its_compensation_too() {
        let (once, twice) = (Retry { attempts: 1, ..Retry::default() }, Retry::COMPENSATION);
        let second = Duration::from_secs(1);
        let step = Step::remote("s").deadline(second).retry(once);
        assert_eq!([step.deadline, step.undo_deadline], [second; 2]);
        assert_eq!([step.action_retry(), step.compensation_retry()], [once; 2]);
        for step in
            [step.clone().undo_retry(twice), Step::remote("s").undo_retry(twice).retry(once)]
        {
            assert_eq!([step.action_retry(), step.compensation_retry()], [once, twice]);
        }
    }

    #[test]
    fn the_pauses_that_are_left_are_counted_without_their_number() {
        let retry = |attempts| Retry {
            attempts,
            base: Duration::from_secs(1),
            longest: Duration::from_secs(4),
        };
        let left = |attempts, after| retry(attempts).pauses_after(after).as_secs();
        assert_eq!([left(5, 1), left(5, 3), left(5, 5), left(5, 9)], [1 + 2 + 4 + 4, 8, 0, 0]);
        assert_eq!(left(104, 4), 400);
        assert!(retry(u32::MAX).pauses_after(1) > Duration::from_secs(1 << 33));
        let long = Retry { longest: Duration::MAX, base: Duration::MAX, attempts: u32::MAX };
        assert_eq!(long.pauses_after(1), Duration::MAX);
    }

    #[test]
    fn a_silence_doubles_up_to_ten_minutes_or_what_the_step_asks_for() {
        let after = |silence, resent| {
            let step = Step::remote("s").silence(Duration::from_secs(silence));
            step.silence_after(resent).as_secs()
        };
        assert_eq!([after(30, 0), after(30, 1), after(30, 4), after(30, 5)], [30, 60, 480, 600]);
        assert_eq!([after(3_600, 0), after(3_600, u32::MAX)], [3_600, 3_600]);
        let none = Step::remote("s").silence(Duration::ZERO).silence_after(0);
        assert_eq!(none, SHORTEST_SILENCE, "commands are not sent without end");
    }
}
