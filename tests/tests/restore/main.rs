//! A database restored from an older backup, under what runs: both sides notice, nothing is
//! skipped or applied to the wrong position, and an operator's command lets the stream go on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{MySql, Pool, Postgres, Sqlite, Transaction};
use syncline::{
    Consumer, Envelope, HandlerError, Message, Relay, RelayHandle, Route, Stream, begin, enqueue,
    incarnation::{Agreed, Rebase, Unsealed, lives},
    message::{Batch, Position},
    relay::{RelayOptions, RouteState},
    routes,
    saga::{Outcome, SagaBuilder, SagaHandler, Sagas, SagasHandle, operate, wire},
    transport::{Ack, PublishError, Publisher},
};
use uuid::Uuid;

use syncline_tests::{
    kit::{KEYS, Kit},
    relays::{Direct, eventually, noting, start, write},
    servers::{mariadb_database, postgres_database, sqlite_database},
};

mod databases;
mod orders;
mod world;

use self::{databases::Restore, orders::*, world::*};

/// Time in which something forbidden would have happened.
const QUIET: Duration = Duration::from_millis(1_500);

/// Pause of an idle relay between two questions to its consumer.
const ASK: Duration = Duration::from_millis(300);

mod case {
    use super::*;

    /// The source loses messages that one consumer has, goes on writing, and no relay was
    /// stopped: both are told apart, and nothing is skipped.
    pub(super) async fn a_restored_source_is_noticed_and_repaired<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(10).await;
        world.await_applied("far", 10).await;
        assert!(routes::pause(&world.source, "far").await.expect("pause"));
        eventually("it is paused", async || {
            (world.state("far") == RouteState::Paused).then_some(())
        })
        .await;
        world.write(20).await;
        world.await_applied("near", 30).await;
        let backup = DB::backup(&world.source_url).await;
        world.write(20).await;
        world.await_applied("near", 50).await;

        let restored_at = database_time().await;
        world.restore(true, &backup).await;
        // More than was lost: by its end alone the log looks as if nothing had happened.
        let new = write_and_tell(&world, 40).await;
        eventually("the route has stopped", async || {
            matches!(world.state("near"), RouteState::Diverged { .. }).then_some(())
        })
        .await;
        tokio::time::sleep(QUIET).await;
        assert_eq!(world.applied("near").await.len(), 50, "nothing is applied meanwhile");

        let known = lives(&world.source).await.expect("lives");
        assert_eq!(known.head, Position(70));
        let agreed =
            if DB::LIVE { Agreed::RestoredAt(restored_at) } else { Agreed::At(Position(30)) };
        let begun =
            Rebase::new(agreed).skip_undelivered().run(&world.source).await.expect("rebase");
        assert_eq!(begun.agreed, Position(30));
        assert_ne!(begun.incarnation, known.incarnation);
        world.await_applied("near", 90).await;
        assert_eq!(world.applied("near").await[50..].to_vec().len(), 40);
        in_order(&world.applied("near").await[50..], &new);

        // One that was behind at the time goes on as if nothing had happened.
        assert!(routes::resume(&world.source, "far").await.expect("resume"));
        world.await_applied("far", 70).await;
        in_order(&world.applied("far").await[30..], &new);
        let more = write_and_tell(&world, 12).await;
        world.await_applied("near", 102).await;
        world.await_applied("far", 82).await;
        in_order(&world.applied("near").await[90..], &more);
        world.relay.take().expect("it runs").stop().await;
    }

    /// Positions that progress alone moved the watermark over hold messages after the restore.
    pub(super) async fn a_watermark_moved_by_progress_hides_no_message<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(5).await;
        world.await_applied("near", 5).await;
        let backup = DB::backup(&world.source_url).await;
        write_other(&world.source, 20).await;
        eventually("the watermark moved by progress", async || {
            let rows = routes::list(&world.source, Some("near")).await.ok()?;
            (rows[0].checkpoint.cursor.position == Position(25)).then_some(())
        })
        .await;
        tokio::time::sleep(QUIET).await;

        world.restore(true, &backup).await;
        let new = write_and_tell(&world, 30).await;
        eventually("the route has stopped", async || {
            matches!(world.state("near"), RouteState::Diverged { .. }).then_some(())
        })
        .await;
        assert_eq!(world.applied("near").await.len(), 5);
        Rebase::new(Agreed::At(Position(5)))
            .skip_undelivered()
            .run(&world.source)
            .await
            .expect("rebase");
        world.await_applied("near", 35).await;
        in_order(&world.applied("near").await[5..], &new);
        world.await_applied("far", 35).await;
        world.relay.take().expect("it runs").stop().await;
    }

    /// A backup taken under load holds committed rows without a position, which were sent after
    /// that: `rebase` names them, and does what it is told.
    pub(super) async fn rows_without_a_position_are_named_and_decided_about<DB: Restore>(
        mut world: World<DB>,
    ) {
        world.write(10).await;
        world.await_applied("near", 10).await;
        world.await_applied("far", 10).await;
        world.stop().await;
        world.write(3).await;
        let backup = DB::backup(&world.source_url).await;
        world.start().await;
        world.await_applied("near", 13).await;
        world.await_applied("far", 13).await;
        world.stop().await;
        world.restore(true, &backup).await;
        eventually("the source answers", async || begin(&world.source).await.ok()).await;

        let undecided = Rebase::new(Agreed::Head);
        let preview = undecided.preview(&world.source).await.expect("preview");
        if DB::LABEL == "SQLite" {
            // A commit gives the position: the backup knows them, and that they are not delivered.
            assert_eq!((preview.agreed, preview.unsealed), (Position(13), 0));
            let refused = undecided.run(&world.source).await.expect_err("undelivered");
            assert!(refused.to_string().contains("3 of route near"), "{refused}");
            undecided.skip_undelivered().run(&world.source).await.expect("rebase");
        } else {
            assert_eq!((preview.agreed, preview.unsealed), (Position(10), 3));
            let refused = undecided.run(&world.source).await.expect_err("unsealed");
            assert!(refused.to_string().contains("3 committed messages"), "{refused}");
            let decided = undecided.unsealed(Unsealed::Discard);
            assert_eq!(decided.run(&world.source).await.expect("rebase").discarded, 3);
        }
        world.start().await;
        let new = write_and_tell(&world, 5).await;
        for consumer in ["near", "far"] {
            world.await_applied(consumer, 18).await;
            tokio::time::sleep(QUIET).await;
            let applied = world.applied(consumer).await;
            assert_eq!(applied.len(), 18, "each once: {applied:?}");
            in_order(&applied[13..], &new);
        }
        world.stop().await;
    }

    /// The same, and the source has nothing more to send: its relay asks.
    pub(super) async fn a_consumer_restored_under_a_source_that_rests_gets_what_it_lost<
        DB: Restore,
    >(
        mut world: World<DB>,
    ) {
        let backup = half_way(&world).await;
        eventually("it rests", async || (world.state("near") == RouteState::Idle).then_some(()))
            .await;
        world.restore(false, &backup).await;
        world.await_applied("near", 40).await;
        world.await_applied("far", 40).await;
        syncline_tests::relays::check(&world.source, &world.target, &["near", "far"]).await;
        world.stop().await;
    }

    /// A dump of an orchestrator in the midst of a saga is restored after its end. What its
    /// participant has answered comes again, though that one has nothing new to say.
    pub(super) async fn a_saga_restored_to_its_middle_is_completed_and_not_taken_back<
        DB: Restore,
    >(
        mut world: World<DB>,
    ) {
        world.stop().await;
        world.source.close().await;
        let (ours, theirs) = (Address::default(), Address::default());
        let participant = Consumer::builder("stock", world.target.clone());
        let participant = participant.participant("cmd.*", Noted).build().expect("a consumer");
        theirs.is(Some(Direct::to(participant)));
        let orders = Orders::<DB>::start(&world.source_url, &theirs, &ours).await;
        let id = orders.begin().await;
        eventually("the first step is applied", async || {
            (DB::applied(&world.target).await.expect("applied").len() == 1).then_some(())
        })
        .await;
        // Its answer has not been sent.
        orders.stop(&ours).await;
        let backup = DB::backup(&world.source_url).await;
        let orders = Orders::<DB>::start(&world.source_url, &theirs, &ours).await;
        let stock = carry(&world.target, "/stock", wire::REPLY, ours.clone()).await;
        orders.is_over(id).await;
        eventually("the participant rests", async || {
            (stock.status()[0].state == RouteState::Idle).then_some(())
        })
        .await;

        orders.stop(&ours).await;
        DB::restore(&world.source_url, &backup).await;
        let pool = DB::connect(&world.source_url, 2).await.expect("connect");
        let head = Rebase::new(Agreed::Head).skip_undelivered();
        eventually("it is rebased", async || head.run(&pool).await.ok()).await;
        pool.close().await;
        let orders = Orders::<DB>::start(&world.source_url, &theirs, &ours).await;
        orders.is_over(id).await;
        let applied = DB::applied(&world.target).await.expect("applied");
        let once = ["cmd.first", "cmd.second"].map(|topic| (topic.to_owned(), 1));
        assert_eq!(applied, once, "each step once, and none is taken back");
        orders.stop(&ours).await;
        stock.stop().await;
    }

    /// A consumer's database goes back: it gets again what it lost, by itself.
    pub(super) async fn a_restored_consumer_gets_again_what_it_lost<DB: Restore>(
        mut world: World<DB>,
    ) {
        let backup = half_way(&world).await;
        world.restore(false, &backup).await;
        world.write(5).await;
        world.await_applied("near", 45).await;
        world.await_applied("far", 45).await;
        syncline_tests::relays::check(&world.source, &world.target, &["near", "far"]).await;
        world.relay.take().expect("it runs").stop().await;
    }
}

/// Both consumers apply forty messages; their database as it was after twenty.
async fn half_way<DB: Restore>(world: &World<DB>) -> String {
    world.write(20).await;
    world.await_applied("near", 20).await;
    world.await_applied("far", 20).await;
    let backup = DB::backup(&world.target_url).await;
    world.write(20).await;
    world.await_applied("near", 40).await;
    world.await_applied("far", 40).await;
    backup
}

/// The messages of each key are those that were written, in their order.
fn in_order(applied: &[(String, i64)], written: &[(String, i64)]) {
    for key in (0..KEYS).map(|key| format!("key {key}")) {
        let of = |all: &[(String, i64)]| -> Vec<i64> {
            all.iter().filter(|(k, _)| *k == key).map(|(_, n)| *n).collect()
        };
        assert_eq!(of(applied), of(written), "{key}");
    }
    assert_eq!(applied.len(), written.len());
}

macro_rules! on_each {
    ($($case:ident),* $(,)?) => {$(
        mod $case {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                if let (Some(a), Some(b)) = (postgres_database().await, postgres_database().await) {
                    super::case::$case::<Postgres>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn mariadb() {
                if let (Some(a), Some(b)) = (mariadb_database().await, mariadb_database().await) {
                    super::case::$case::<MySql>(World::new(a, b).await).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                let ((_a, source), (_b, target)) = (sqlite_database(), sqlite_database());
                super::case::$case::<Sqlite>(World::new(source, target).await).await;
            }
        }
    )*};
}

on_each!(
    a_restored_source_is_noticed_and_repaired,
    a_watermark_moved_by_progress_hides_no_message,
    a_restored_consumer_gets_again_what_it_lost,
    a_consumer_restored_under_a_source_that_rests_gets_what_it_lost,
    a_saga_restored_to_its_middle_is_completed_and_not_taken_back,
    rows_without_a_position_are_named_and_decided_about,
);

/// A dump is restored where transaction ids are lower than where it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_restored_under_lower_transaction_ids_is_sealed_after_a_rebase() {
    let (Some(source), Some(target)) = (postgres_database().await, postgres_database().await)
    else {
        return;
    };
    let mut world = World::<Postgres>::new(source, target).await;
    world.write(24).await;
    world.await_applied("near", 24).await;
    world.await_applied("far", 24).await;
    world.relay.take().expect("it runs").stop().await;
    world.write(12).await;
    // What a dump from such a server holds.
    let far_ahead = "
        -- A dump restores a rule that is not validated after the rows.
        ALTER TABLE syncline_outbox DROP CONSTRAINT syncline_outbox_given;
        UPDATE syncline_outbox SET xid = (xid::text::bigint + 1000000)::text::xid8;
        UPDATE syncline_seal SET lows = '{}', snapshot = format('%s:%s:',
            pg_snapshot_xmin(snapshot)::text::bigint + 1000000,
            pg_snapshot_xmax(snapshot)::text::bigint + 1000000)::pg_snapshot;
        ALTER TABLE syncline_outbox ADD CONSTRAINT syncline_outbox_given CHECK (
            xid = pg_current_xact_id() AND seq = currval('syncline_outbox_seq')) NOT VALID";
    sqlx::raw_sql(far_ahead).execute(&world.source).await.expect("as in a dump");
    world.start().await;
    world.write(12).await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(world.applied("near").await.len(), 24, "nothing is sealed");

    let undecided = Rebase::new(Agreed::Head);
    let refused = undecided.run(&world.source).await.expect_err("24 messages may come twice");
    assert!(refused.to_string().contains("24 committed messages have no position"), "{refused}");
    let preview = undecided.preview(&world.source).await.expect("preview");
    assert_eq!((preview.agreed, preview.unsealed), (Position(24), 24));
    assert_eq!(preview.first_unsealed.len(), 20);

    let begun = undecided.unsealed(Unsealed::Send).run(&world.source).await.expect("rebase");
    assert_eq!((begun.agreed, begun.rewritten), (Position(24), 24));
    world.write(12).await;
    syncline_tests::relays::check(&world.source, &world.target, &["near", "far"]).await;
    world.relay.take().expect("it runs").stop().await;
}
