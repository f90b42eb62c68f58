//! `syncline dead redrive`.

use sqlx::Pool;
use syncline::{Storage, held::redrive, message::TopicPattern, storage::HeldMessage};

use super::Undone;
use crate::{
    ask::Who,
    failure::{Failure, Outcome},
    output::Output,
    progress::Progress,
};

const PAGE: i64 = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ids that `dead list` shows
    #[arg(value_name = "ID", required_unless_present_any = ["all", "topic", "consumer"],
        conflicts_with_all = ["all", "topic", "consumer"])]
    ids: Vec<i64>,
    /// Every dead letter that is there now
    #[arg(long)]
    all: bool,
    /// Every dead letter of this topic: `user.registered`, `user.*`
    #[arg(long)]
    topic: Option<String>,
    /// Every dead letter of this consumer
    #[arg(long)]
    consumer: Option<String>,
    #[command(flatten)]
    who: Who,
}

impl Args {
    fn takes(&self, held: &HeldMessage) -> bool {
        let topic = self.topic.as_ref().map(|topic| TopicPattern::from(topic.as_str()));
        topic.is_none_or(|topic| topic.matches(&held.topic))
            && self.consumer.as_ref().is_none_or(|consumer| *consumer == held.consumer)
    }
}

pub(crate) async fn run<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let target = match args.ids.as_slice() {
        [] => {
            let of = |what: &str, name: &Option<String>| {
                name.as_ref().map_or_else(String::new, |name| format!(" of {what} {name}"))
            };
            format!("all{}{}", of("topic", &args.topic), of("consumer", &args.consumer))
        }
        ids => format!("messages {}", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")),
    };
    let act = async {
        let (done, missing, why) = redriven(args, pool, output).await?;
        Ok((done.len() as u64, (done, missing, why)))
    };
    let (done, missing, why) = args.who.record(pool, "dead redrive", &target, act).await?;
    super::report(output, "redriven", &done, &missing, why)
}

/// Has them tried: those that are, those that are not, and why there is none.
async fn redriven<DB: Storage>(
    args: &Args,
    pool: &Pool<DB>,
    output: &Output,
) -> Result<(Vec<i64>, Vec<Undone>, Option<String>), Failure> {
    let (mut done, mut missing) = (Vec::new(), Vec::new());
    for id in &args.ids {
        match redrive(pool, *id).await? {
            true => done.push(*id),
            false => missing.push(super::why_not(pool, *id).await?),
        }
    }
    let mut why = None;
    if args.ids.is_empty() {
        let (mut after, progress) = (0, Progress::new(output, "redriving"));
        loop {
            let page = DB::held(pool, false, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            progress.more(page.len());
            for held in &page {
                // One that is gone meanwhile was settled by somebody else.
                if args.takes(held) && redrive(pool, held.id).await? {
                    done.push(held.id);
                }
                progress.step();
            }
        }
        drop(progress);
        if done.is_empty() {
            let held = DB::held(pool, true, 0, 1).await?;
            why = Some(match held.is_empty() {
                true => "no dead letters".to_owned(),
                false => "no dead letters to redrive; what is held and not dead is tried again by \
                          itself, and `syncline held retry --all` has it tried now"
                    .to_owned(),
            });
        }
    }
    Ok((done, missing, why))
}
