//! `syncline outbox`.

mod lag;
mod locked;
mod tail;
mod trim;

use std::time::Duration;

use serde_json::Value;
use sqlx::Pool;
use syncline::{Message, begin, enqueue_all};

use crate::{Open, on_each, on_servers};

on_each!(
    lag_and_tail,
    lag_tells_of_delayed_messages,
    tail_goes_on,
    tail_shows_one_key_and_payloads_only_when_asked,
    a_reader_that_goes_away_is_no_failure,
    trim_says_what_goes,
    trim_asks_and_removes_what_it_has_shown,
    what_is_erased_is_said_first_and_gone_then,
    messages_without_a_position_are_behind_too,
    a_shard_that_stands_still_says_who_has_its_lease
);

on_servers!(
    an_open_transaction_holds_up_no_other_and_lag_names_it,
    a_command_that_waits_for_a_locked_table_ends_and_names_who_holds_it
);

/// On a server of the test's own: MariaDB does not tell of which database a prepared transaction is, so
/// `lag` names it on every database of its server, and so does that of other tests.
mod a_prepared_transaction_holds_up_no_other_and_lag_names_it {
    use syncline_tests::own_server::{OwnServer, Served};

    use crate::Open;

    async fn on_its_own_server<DB: Open + Served>() {
        let Some(server) = OwnServer::<DB>::start().await else { return };
        let url = server.database(None).await;
        super::case::a_prepared_transaction_holds_up_no_other_and_lag_names_it::<DB>(&url).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mariadb() {
        on_its_own_server::<sqlx::MySql>().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        on_its_own_server::<sqlx::Postgres>().await;
    }
}

mod case {
    pub(super) use super::{lag::*, locked::*, tail::*, trim::*};
}

/// Commits the messages, and gives them positions as a relay does.
async fn commit<DB: Open>(pool: &Pool<DB>, messages: &[Message]) {
    let mut tx = begin(pool).await.unwrap();
    let receipts = enqueue_all(&mut tx, messages).await.unwrap();
    tx.commit().await.unwrap();
    receipts.into_iter().for_each(|receipt| receipt.committed());
}

async fn seal<DB: Open>(pool: &Pool<DB>) {
    let (holder, ttl) = (uuid::Uuid::from_u128(1), Duration::from_secs(60));
    let lease = DB::acquire(pool, "seal", holder, ttl).await.unwrap().expect("the lease");
    while DB::seal(pool, &lease, 1_000).await.unwrap().count > 0 {}
}

fn message(payload: &Value) -> Message {
    Message::json("user.registered", payload).unwrap().key("user-1").header("tenant", "north")
}
