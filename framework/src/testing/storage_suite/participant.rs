//! Participants: every command against everything that can have become of its step.

mod world;

use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::json;
use sqlx::Pool;
use uuid::Uuid;

use super::support::{sealer, whole_log};
use crate::{
    Message, Rejection, Storage, begin,
    consumer::REJECTED,
    saga::{
        Answer, UndoAnswer,
        wire::{Ask, Command, REPLY, Reply, Said},
    },
    storage::BarrierKey,
};
pub(super) use world::participant;
use world::{Told, alone, applied, command, deliver, refused, send, told};

const DONE: &str = "do";

/// What a step can have become: its name, how it comes about, and what it has written then.
type Become = (&'static str, &'static [(Ask, &'static str)], i64);

const STATES: [Become; 6] = [
    ("nothing", &[], 0),
    ("applied", &[(Ask::Apply, DONE)], 1),
    ("refused", &[(Ask::Apply, "refuse")], 0),
    ("barred", &[(Ask::Bar, DONE)], 0),
    ("undone", &[(Ask::Apply, DONE), (Ask::Compensate, DONE)], 0),
    ("undone before", &[(Ask::Compensate, DONE)], 0),
];

pub(super) async fn each_command_has_one_effect_and_one_answer<DB: Storage>(pool: Pool<DB>) {
    let consumer = participant(&pool).build().expect("a consumer");
    let mut expected = BTreeMap::new();
    for (state, way, before) in STATES {
        for ask in ["apply", "compensate", "bar", "confirm"] {
            let saga = Uuid::now_v7();
            for (ask, payload) in way {
                send(&consumer, &command(saga, *ask, 1), payload).await;
            }
            let standing = match state {
                "applied" => applied(),
                "refused" => refused(),
                _ => Answer::Barred,
            };
            let (asked, said, effect) = match ask {
                "apply" if state == "nothing" => (Ask::Apply, Said::Applied(applied()), 1),
                "apply" => (Ask::Apply, Said::Applied(standing), before),
                "bar" => (Ask::Bar, Said::Barred(standing), before),
                "compensate" => (Ask::Compensate, Said::Compensated(UndoAnswer::Undone), 0),
                _ if state == "applied" => {
                    (Ask::Apply, Said::Applied(Answer::Applied(json!("confirmed"))), 101)
                }
                _ => (Ask::Apply, Said::Applied(Answer::Failed(String::new())), before),
            };
            let mut command = command(saga, asked, 2);
            if ask == "confirm" {
                (command.step, command.confirms) = ("t".into(), Some("s".into()));
            }
            for _ in 0..3 {
                send(&consumer, &command, DONE).await;
            }
            expected.insert(saga, (format!("{ask} when {state}"), way.len(), said, effect));
        }
    }
    for (saga, told) in told(&pool).await {
        let (cell, before, said, effect) = &expected[&saga];
        let repeats: Vec<Said> = told.said[*before..].to_vec();
        assert_eq!(repeats.len(), 3, "{cell}");
        for repeat in repeats {
            let same = match (&repeat, said) {
                // Why it failed is for people.
                (Said::Applied(Answer::Failed(why)), Said::Applied(Answer::Failed(_))) => {
                    why.contains("step \"s\"")
                }
                (repeat, said) => repeat == said,
            };
            assert!(same, "{cell}: {repeat:?} instead of {said:?}");
        }
        assert_eq!(told.effects.iter().sum::<i64>(), *effect, "{cell}: {:?}", told.effects);
        assert!(told.effects.len() <= 2, "{cell}: {:?}", told.effects);
    }
}

pub(super) async fn what_is_confirmed_cannot_be_cancelled<DB: Storage>(pool: Pool<DB>) {
    let consumer = participant(&pool).build().expect("a consumer");
    let saga = Uuid::now_v7();
    let confirm = |step: &str| {
        let (step, confirms) = (step.to_owned(), Some("s".to_owned()));
        Command { step, confirms, ..command(saga, Ask::Apply, 1) }
    };
    send(&consumer, &command(saga, Ask::Apply, 1), DONE).await;
    send(&consumer, &confirm("t"), "fail").await;
    send(&consumer, &confirm("s"), DONE).await;
    send(&consumer, &confirm("t"), DONE).await;
    send(&consumer, &confirm("u"), DONE).await;
    send(&consumer, &command(saga, Ask::Compensate, 1), DONE).await;
    let itself = Command { confirms: Some("v".to_owned()), ..confirm("v") };
    send(&consumer, &itself, DONE).await;
    let told = &told(&pool).await[&saga];
    assert_eq!(told.effects, [1, 100]);
    let failed = |said: &Said, why: &str| match said {
        Said::Applied(Answer::Failed(text)) | Said::Compensated(UndoAnswer::Failed(text)) => {
            assert!(text.contains(why), "{text}");
        }
        other => panic!("{other:?}"),
    };
    failed(&told.said[1], "as it was told to");
    assert_eq!(told.said[2], told.said[0], "`s` repeats its answer");
    failed(&told.said[4], "confirmed by step \"t\" already");
    failed(&told.said[5], "step \"t\" has confirmed it");
    failed(&told.said[6], "cannot confirm itself");
}

pub(super) async fn a_technical_failure_leaves_no_trace_and_is_answered<DB: Storage>(
    pool: Pool<DB>,
) {
    let consumer = participant(&pool).build().expect("a consumer");
    let saga = Uuid::now_v7();
    for (attempt, payload) in [(1, "fail"), (2, "much"), (3, "deep")] {
        send(&consumer, &command(saga, Ask::Apply, attempt), payload).await;
        let key = BarrierKey { source: "/orders", saga, step: "s" };
        let mut tx = begin(&pool).await.expect("begin");
        assert_eq!(DB::claim_barrier(&mut tx, key).await.expect("claim").record, "");
        assert!(DB::leave_barrier(&mut tx, key).await.expect("leave"));
    }
    send(&consumer, &command(saga, Ask::Apply, 4), DONE).await;
    // One that fails between two that do not, in one transaction.
    let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
    let all = [(one, DONE), (two, "fail"), (saga, DONE)].map(|(saga, payload)| {
        command(saga, Ask::Apply, 1).address(Message::json("in", payload).expect("JSON"))
    });
    deliver(&consumer, alone("/orders", all)).await;
    send(&consumer, &command(saga, Ask::Compensate, 1), "fail").await;
    send(&consumer, &command(saga, Ask::Compensate, 2), DONE).await;
    let told = told(&pool).await;
    let errors = told[&saga].said[..3].iter().map(|said| match said {
        Said::Applied(Answer::Failed(error)) => error.as_str(),
        other => panic!("{other:?}"),
    });
    for (error, why) in errors.zip(["as it was told to", "at most 1048576", "60 levels"]) {
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(told[&saga].said[3], Said::Applied(applied()));
    let undone = UndoAnswer::Failed("it failed as it was told to".into());
    assert_eq!(
        told[&saga].said[5..],
        [Said::Compensated(undone), Said::Compensated(UndoAnswer::Undone)]
    );
    assert_eq!((&told[&saga].effects[..], &told[&one].effects[..]), (&[1, -1][..], &[1][..]));
    assert_eq!((told[&two].said.len(), told[&two].effects.len()), (1, 0));
    assert_eq!(DB::held(&pool, true, 0, 9).await.expect("held"), []);
}

pub(super) async fn an_action_after_its_time_is_barred_by_the_databases_clock<DB: Storage>(
    pool: Pool<DB>,
) {
    let consumer = participant(&pool).build().expect("a consumer");
    let (late, early) = (Uuid::now_v7(), Uuid::now_v7());
    let key = BarrierKey { source: "/orders", saga: late, step: "s" };
    let mut tx = begin(&pool).await.expect("begin");
    let now = DB::claim_barrier(&mut tx, key).await.expect("claim").now;
    tx.rollback().await.expect("roll back");
    let until = |saga, seconds| Command {
        not_after: Some(now + TimeDelta::seconds(seconds)),
        ..command(saga, Ask::Apply, 1)
    };
    send(&consumer, &until(late, -1), DONE).await;
    // It stays barred, even if its time were longer now.
    send(&consumer, &until(late, 600), DONE).await;
    send(&consumer, &until(early, 600), DONE).await;
    // Once it is applied, late repeats get the same answer.
    send(&consumer, &until(early, -1), DONE).await;
    // A command that may come until then is remembered, whatever the retention is.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let age = Duration::from_millis(1);
    assert_eq!(DB::purge_barriers(&pool, age, 9).await.expect("purge"), 1, "the other one");
    send(&consumer, &until(early, 600), DONE).await;
    let told = told(&pool).await;
    let barred = Said::Applied(Answer::Barred);
    assert_eq!(
        (&told[&late].said[..], told[&late].effects.len()),
        (&[barred.clone(), barred][..], 0)
    );
    let done = Said::Applied(applied());
    assert_eq!(
        (&told[&early].said[..], &told[&early].effects[..]),
        (&[done.clone(), done.clone(), done][..], &[1][..])
    );
}

pub(super) async fn another_source_cannot_touch_a_saga<DB: Storage>(pool: Pool<DB>) {
    let consumer = participant(&pool).build().expect("a consumer");
    let saga = Uuid::now_v7();
    for ask in [Ask::Bar, Ask::Compensate] {
        let forged = command(saga, ask, 1).address(Message::json("in", DONE).expect("JSON"));
        deliver(&consumer, alone("/forger", [forged])).await;
    }
    let lease = sealer(&pool).await;
    let before = whole_log(&pool, &lease).await.len();
    DB::release(&pool, &lease).await.expect("release");
    send(&consumer, &command(saga, Ask::Apply, 1), DONE).await;
    let lease = sealer(&pool).await;
    let rows = whole_log(&pool, &lease).await.split_off(before);
    let replies = rows.iter().filter(|row| row.message.topic == REPLY);
    let replies: Vec<Reply> = replies.map(|row| row.message.decode().expect("a reply")).collect();
    assert_eq!((replies.len(), &replies[0].said), (1, &Said::Applied(applied())));
    DB::release(&pool, &lease).await.expect("release");

    // Nor is what was applied taken back for another one.
    let other = Uuid::now_v7();
    send(&consumer, &command(other, Ask::Apply, 1), DONE).await;
    let forged =
        command(other, Ask::Compensate, 1).address(Message::json("in", DONE).expect("JSON"));
    deliver(&consumer, alone("/forger", [forged])).await;
    send(&consumer, &command(other, Ask::Apply, 2), DONE).await;
    let lease = sealer(&pool).await;
    let rows = whole_log(&pool, &lease).await;
    let replies = rows.iter().filter(|row| row.message.topic == REPLY);
    let replies = replies.map(|row| row.message.decode::<Reply>().expect("a reply"));
    let own: Vec<Said> = replies
        .filter(|reply| reply.saga == other && reply.to == "/orders")
        .map(|reply| reply.said)
        .collect();
    assert_eq!(own, [Said::Applied(applied()), Said::Applied(applied())]);
}

pub(super) async fn a_handler_serves_messages_without_a_saga<DB: Storage>(pool: Pool<DB>) {
    let consumer = participant(&pool).build().expect("a consumer");
    let plain = |payload| Message::json("in", payload).expect("JSON").key("k");
    let batch = alone("/orders", [plain(DONE), plain("refuse"), plain(DONE)]);
    for _ in 0..2 {
        deliver(&consumer, batch.clone()).await;
    }
    let lease = sealer(&pool).await;
    let rows = whole_log(&pool, &lease).await;
    let of = |topic| rows.iter().filter(move |row| row.message.topic == topic);
    assert_eq!((of("out").count(), of(REPLY).count()), (2, 0));
    let rejections: Vec<Rejection> =
        of(REJECTED).map(|row| row.message.decode().expect("a rejection")).collect();
    assert_eq!(rejections.len(), 1);
    assert_eq!(Answer::Refused(rejections[0].reason.clone()), refused(), "cut, and without NUL");
}

pub(super) async fn a_damaged_command_is_held<DB: Storage>(pool: Pool<DB>) {
    let consumer = participant(&pool).build().expect("a consumer");
    let whole = || {
        let whole = command(Uuid::now_v7(), Ask::Apply, 1);
        let whole = Command { confirms: Some("r".into()), ..whole };
        whole.address(Message::json("in", DONE).expect("JSON"))
    };
    let damages = [
        ("sagaid", "17"),
        ("sagastep", ""),
        ("sagastep", "a b"),
        ("sagaask", "undo"),
        ("sagaattempt", "-1"),
        ("saganotafter", "tomorrow"),
        ("sagaconfirms", "%"),
    ];
    for (header, value) in damages {
        deliver(&consumer, alone("/orders", [whole().header(header, value)])).await;
    }
    let mut without = whole();
    without.headers.remove("sagaask");
    deliver(&consumer, alone("/orders", [without])).await;
    let held = DB::held(&pool, true, 0, 99).await.expect("held");
    assert_eq!(held.len(), damages.len() + 1);
    for (held, header) in
        held.iter().zip(damages.map(|(header, _)| header).iter().chain(&["sagaask"]))
    {
        let error = held.error.as_deref().unwrap_or_default();
        assert!(error.contains("damaged command") && error.contains(header), "{error}");
    }
    assert!(told(&pool).await.is_empty(), "nothing was done or answered");
}

/// Eight deliveries at once, over several consumers; `asks` says of what kind.
async fn race<DB: Storage>(pool: &Pool<DB>, seed: usize, asks: [Ask; 2]) -> Uuid {
    let saga = Uuid::now_v7();
    let consumers: Vec<_> = (0..4)
        .map(|n| {
            let consumer = participant(pool);
            let consumer = if n == 0 { consumer.lanes(3) } else { consumer };
            consumer.build().expect("a consumer")
        })
        .collect();
    let one = |n: usize| {
        let ask = asks[(seed >> n) & 1];
        command(saga, ask, n as u32).address(Message::json("in", DONE).expect("JSON"))
    };
    // Two come in one batch to the one with lanes, the others each alone.
    let mut batches = vec![(0, alone("/orders", [one(0), one(1)]))];
    batches.extend((2..8).map(|n| (n % 4, alone("/orders", [one(n)]))));
    batches.rotate_left(seed % 7);
    join_all(batches.into_iter().map(|(n, batch)| deliver(&consumers[n], batch))).await;
    saga
}

pub(super) async fn whatever_comes_at_once_the_answers_agree<DB: Storage>(pool: Pool<DB>) {
    let (mut undoing, mut barring) = (Vec::new(), Vec::new());
    for seed in [0b0101_0101, 0b1010_1010, 0b0001_0010, 0b1110_1101, 0b0111_1000, 0b1000_0111] {
        undoing.push(race(&pool, seed, [Ask::Apply, Ask::Compensate]).await);
        barring.push(race(&pool, seed, [Ask::Apply, Ask::Bar]).await);
    }
    let told = told(&pool).await;
    for saga in undoing {
        let Told { said, effects } = &told[&saga];
        assert_eq!(said.len(), 8, "{said:?}");
        let took = said.contains(&Said::Applied(applied()));
        assert_eq!(effects, if took { &[1, -1][..] } else { &[][..] }, "{said:?}");
    }
    for saga in barring {
        let Told { said, effects } = &told[&saga];
        let answers = said.iter().map(|said| match said {
            Said::Applied(answer) | Said::Barred(answer) => answer,
            Said::Compensated(_) => panic!("nothing was compensated"),
        });
        let answers: Vec<_> = answers.collect();
        assert!(answers.len() == 8 && answers.windows(2).all(|two| two[0] == two[1]), "{said:?}");
        let took = *answers[0] == applied();
        assert_eq!(effects, if took { &[1][..] } else { &[][..] }, "{said:?}");
    }
}
