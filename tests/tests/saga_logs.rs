//! The engine's lines in its program's log: refusals, failures and what waits, with the instance, its
//! key, the step and what to do; a saga that goes well only to those who ask for all of it.

use std::time::Duration;

use sqlx::Pool;
use syncline::{
    begin,
    saga::{Outcome, Retry, SagaBuilder, Sagas, Started, operate},
};
use syncline_tests::{kit::Kit, logged::Logged, on_each, relays::eventually, world::World};
use tracing_subscriber::filter::LevelFilter;

on_each!(what_does_not_go_well_is_told_of_once_with_what_to_do);

async fn start<DB: Kit>(pool: &Pool<DB>, sagas: &Sagas<DB>, key: &str, n: i64) -> Started {
    let mut tx = begin(pool).await.expect("begin");
    let started = sagas.start(&mut tx, "order", key, &n).await.expect("start");
    tx.commit().await.expect("commit");
    started.clone().committed();
    started
}

mod case {
    use super::*;

    pub(super) async fn what_does_not_go_well_is_told_of_once_with_what_to_do<DB: Kit>(
        world: World<DB>,
    ) {
        let pool = world.source;
        let (base, longest) = (Duration::from_millis(10), Duration::from_millis(10));
        let mut saga = SagaBuilder::<DB, i64>::new("order", 1);
        saga.local::<_, i64, _>("open", (), |_, _| Box::pin(async { Ok(Outcome::Done(1)) }))
            .compensate(|_, call, _| {
                Box::pin(async move { if call.input == 3 { Err("closed".into()) } else { Ok(()) } })
            })
            .undo_retry(Retry { attempts: 4, base, longest })
            .add();
        saga.local::<_, i64, _>("approve", (), |_, call| {
            Box::pin(async move {
                match call.input {
                    1 => Ok(Outcome::Done(1)),
                    _ => Ok(Outcome::Refuse("no \u{1b}[31mcredit\u{1b}[0m".to_owned())),
                }
            })
        })
        .pivot()
        .add();
        let saga = saga.build().expect("sound");
        let sagas = Sagas::builder("/one", pool.clone()).saga(saga).poll(Duration::from_millis(20));
        let sagas = sagas.build().expect("an engine");
        let logged = Logged::shared(LevelFilter::INFO);
        let running = sagas.run().await.expect("it runs");
        let until = async |started: &Started, status: &str| {
            eventually(status, async || {
                let shown = operate::show(&pool, started.id).await.expect("show").expect("there");
                (shown.summary.status == status).then_some(())
            })
            .await;
        };
        let well = start(&pool, &sagas, "goes-well", 1).await;
        until(&well, "completed").await;
        let back = start(&pool, &sagas, "is-refused", 2).await;
        until(&back, "compensated").await;
        let stuck = start(&pool, &sagas, "is-stuck", 3).await;
        until(&stuck, "stuck").await;
        // It is said after the commit: when it has stopped, all is said.
        running.stop().await;

        let text = logged.text();
        assert!(!text.contains("goes-well"), "{text}");
        assert!(!text.contains("[31mcredit"), "{text}");
        let lines = |of: &Started, what: &str| {
            let id = of.id.to_string();
            let all = text.lines().filter(|line| line.contains(&id) && line.contains(what));
            all.map(str::to_owned).collect::<Vec<_>>()
        };
        let refused = lines(&back, "a step is refused");
        assert_eq!(refused.len(), 1, "{text}");
        for part in ["INFO", "order", "is-refused", "approve", "no credit"] {
            assert!(refused[0].contains(part), "{part}: {refused:?}");
        }
        assert_eq!(lines(&back, "a saga is compensated").len(), 1, "{text}");
        let fails = lines(&stuck, "a compensation fails");
        assert_eq!(fails.len(), 4, "{text}");
        for (n, line) in fails.iter().enumerate() {
            assert!(line.contains(if n < 2 { "WARN" } else { "ERROR" }), "{n}: {line}");
            assert!(line.contains("saga retry --failing"), "{line}");
        }
        let waits = lines(&stuck, "a saga is stuck");
        assert!(waits.len() == 1 && waits[0].contains("ERROR"), "{text}");
        assert!(waits[0].contains("compensation of open: closed"), "{waits:?}");
    }
}
