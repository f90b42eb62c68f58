//! Errors of a database in what people read.

use syncline::{begin, transport::Receive};
use syncline_tests::{kit::Kit, letters::numbered, on_each, relays::noting, world::World};

on_each!(a_handlers_error_of_the_database_names_no_line_of_the_servers_source);

mod case {
    use super::*;

    pub(super) async fn a_handlers_error_of_the_database_names_no_line_of_the_servers_source<
        DB: Kit,
    >(
        world: World<DB>,
    ) {
        let target = &world.target;
        let once = "CREATE UNIQUE INDEX applied_once ON applied (n)";
        DB::execute(target, once).await.expect("an index");
        let mut tx = begin(target).await.expect("begin");
        DB::note(&mut tx, "before", 1).await.expect("it is noted");
        tx.commit().await.expect("commit");
        let consumer = noting("c", target.clone()).build().expect("a consumer");
        consumer.receive(numbered(1)).await.expect("its message is held");
        let held = DB::held(target, true, 0, 10).await.expect("held").remove(0);
        let error = held.error.expect("it has failed");
        // PostgreSQL names the line of its own source where the error was made.
        assert!(error.contains("applied") && !error.contains(" at line "), "{error}");
    }
}
