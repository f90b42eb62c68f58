//! A table of ours that takes no more rows: nothing is lost and no saga is stuck; the trouble is named,
//! and once the cause is gone all goes on by itself.

use std::time::{Duration, Instant};

use sqlx::Pool;
use syncline::{
    begin,
    saga::{Outcome, SagaBuilder, Sagas, operate},
};
use syncline_tests::{kit::Kit, on_each, relays::eventually, world::World};

on_each!(sagas_go_on_when_their_tables_take_rows_again);

/// How many instances are started.
const INSTANCES: usize = 8;

/// Has `table` refuse each `INSERT` or `UPDATE`.
async fn refuse<DB: Kit>(pool: &Pool<DB>, table: &str, event: &str) {
    let all: &[String] = &match DB::LABEL {
        "SQLite" => vec![format!(
            "CREATE TRIGGER refuses BEFORE {event} ON {table} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )],
        "PostgreSQL" => vec![
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$BEGIN RAISE 'refused'; END$$"
                .to_owned(),
            format!(
                "CREATE TRIGGER refuses BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
            ),
        ],
        _ => vec![format!(
            "CREATE TRIGGER refuses BEFORE {event} ON {table} FOR EACH ROW \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'refused'"
        )],
    };
    for statement in all {
        DB::execute(pool, statement).await.expect("a trigger");
    }
}

async fn allow<DB: Kit>(pool: &Pool<DB>, table: &str) {
    let drop = match DB::LABEL {
        "PostgreSQL" => format!("DROP TRIGGER refuses ON {table}"),
        _ => "DROP TRIGGER refuses".to_owned(),
    };
    DB::execute(pool, &drop).await.expect("no trigger");
}

mod case {
    use super::*;

    pub(super) async fn sagas_go_on_when_their_tables_take_rows_again<DB: Kit>(world: World<DB>) {
        let pool = world.source;
        let mut saga = SagaBuilder::<DB, i64>::new("order", 1);
        saga.local::<_, i64, _>("approve", (), |_, _| Box::pin(async { Ok(Outcome::Done(1)) }))
            .pivot()
            .add();
        let saga = saga.build().expect("sound");
        let sagas = Sagas::builder("/one", pool.clone()).saga(saga).poll(Duration::from_millis(20));
        let sagas = sagas.build().expect("an engine");
        let running = sagas.run().await.expect("it runs");
        for (table, event) in [("syncline_saga_log", "INSERT"), ("syncline_saga", "UPDATE")] {
            refuse(&pool, table, event).await;
            let mut ids = Vec::new();
            for n in 0..INSTANCES {
                let mut tx = begin(&pool).await.expect("begin");
                let key = format!("{table} {n}");
                let started = sagas.start(&mut tx, "order", &key, &1_i64).await.expect("start");
                tx.commit().await.expect("commit");
                ids.push(started.id);
                started.committed();
            }
            eventually("the status names it", async || {
                let status = sagas.status();
                let named = status.error.is_some_and(|error| error.contains("refused"))
                    && status.aside.is_some_and(|aside| aside.contains("refused"));
                named.then_some(())
            })
            .await;
            if table == "syncline_saga_log" {
                eventually("the list of what fails has it", async || {
                    let failing = operate::failing(&pool, 9).await.ok()?;
                    failing.iter().any(|one| one.error.contains("refused")).then_some(())
                })
                .await;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stuck = operate::stuck(&pool, 9).await.expect("stuck");
            assert!(stuck.is_empty(), "{table}: {stuck:?}");
            allow(&pool, table).await;
            let since = Instant::now();
            for id in ids {
                eventually("it is completed by itself", async || {
                    let shown = operate::show(&pool, id).await.expect("show").expect("there");
                    (shown.summary.status == "completed").then_some(())
                })
                .await;
            }
            println!("{}, {table}: it went on after {:?}", DB::LABEL, since.elapsed());
            eventually("the status is well", async || sagas.status().is_healthy().then_some(()))
                .await;
        }
        running.stop().await;
    }
}
