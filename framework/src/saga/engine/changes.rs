//! What states and events are called in the tables.

use uuid::Uuid;

use crate::{
    saga::{Answer, End, Event, Status, Timer, UndoAnswer},
    storage::SagaLogLine,
};

pub(super) fn status_word(status: Status) -> &'static str {
    match status {
        Status::New => "new",
        Status::Running => "running",
        Status::Compensating => "compensating",
        Status::Stuck => "stuck",
        Status::Ended(end) => end_word(end),
    }
}

fn end_word(end: End) -> &'static str {
    match end {
        End::Completed => "completed",
        End::Compensated => "compensated",
        End::Resolved => "resolved",
    }
}

/// The end that a status tells of.
pub(super) fn end_of_word(status: &str) -> Option<End> {
    let ends = [End::Completed, End::Compensated, End::Resolved];
    ends.into_iter().find(|end| end_word(*end) == status)
}

/// What the log says of an event, and why it was ignored if it was.
pub(super) fn event_line(id: Uuid, event: &Event, ignored: Option<&str>) -> SagaLogLine {
    let (what, step, attempt, detail) = words(event);
    let (step, detail) = (step.map(str::to_owned), detail.map(str::to_owned));
    match ignored {
        None => SagaLogLine { id, step, what, attempt, detail },
        Some(reason) => {
            let detail = Some(format!("{what}: {reason}"));
            SagaLogLine { id, step, what: "ignored", attempt, detail }
        }
    }
}

type Words<'a> = (&'static str, Option<&'a str>, Option<u32>, Option<&'a str>);

fn words(event: &Event) -> Words<'_> {
    match event {
        Event::Started => ("started", None, None, None),
        Event::Answered { step, attempt, answer } => {
            let (what, detail) = answer_words(answer);
            (what, Some(step), Some(*attempt), detail)
        }
        Event::BarAnswered { step, answer } => {
            let (what, detail) = answer_words(answer);
            (what, Some(step), None, detail)
        }
        Event::UndoAnswered { step, attempt, answer: UndoAnswer::Undone } => {
            ("compensated", Some(step), Some(*attempt), None)
        }
        Event::UndoAnswered { step, attempt, answer: UndoAnswer::Failed(error) } => {
            ("compensation failed", Some(step), Some(*attempt), Some(error))
        }
        Event::Due(Timer::Deadline(step)) => ("deadline", Some(step), None, None),
        Event::Due(Timer::Retry(step)) => ("due", Some(step), None, None),
        Event::Due(Timer::Saga) => ("deadline", None, None, None),
        Event::Cancelled { reason } => ("cancelled", None, None, Some(reason)),
        Event::Retried { step } => ("retried", Some(step), None, None),
        Event::Resent { step } => ("resend", Some(step), None, None),
        Event::Skipped { step, reason } => ("skipped", Some(step), None, Some(reason)),
        Event::Resolved { reason } => ("resolved", None, None, Some(reason)),
    }
}

fn answer_words(answer: &Answer) -> (&'static str, Option<&str>) {
    match answer {
        Answer::Applied(_) => ("applied", None),
        Answer::Refused(reason) => ("refused", Some(reason)),
        Answer::Failed(error) => ("failed", Some(error)),
        Answer::Barred => ("barred", None),
    }
}
