//! Relays of a definition, and what is said of one that is refused.

use super::*;

pub(crate) fn builder<DB: Kit>(
    world: &World<DB>,
    streams: impl IntoIterator<Item = Stream>,
    routes: &[(&str, &str, &str)],
) -> RelayBuilder<DB> {
    let mut relay = Relay::builder("/tests", world.source.clone()).options(|options| {
        options.lease = LEASE;
        options.max_backoff = Duration::from_millis(100);
        options.progress_every = Duration::from_millis(200);
    });
    for stream in streams {
        relay = relay.stream(stream);
    }
    for (route, stream, consumer) in routes {
        let consumer = noting(consumer, world.target.clone()).build().expect("a consumer");
        relay = relay.route(Route::new(*route, *stream, Direct::to(consumer)));
    }
    relay
}

pub(crate) async fn relay<DB: Kit>(
    world: &World<DB>,
    streams: impl IntoIterator<Item = Stream>,
    routes: &[(&str, &str, &str)],
) -> RelayHandle {
    builder(world, streams, routes).start().await.expect("the relay starts")
}

/// The error with which a definition is refused.
pub(crate) fn refused<T>(result: syncline::Result<T>, name: &str) -> String {
    match result {
        Err(Error::Definition { name: said, problem, .. }) => {
            assert_eq!(said, name, "{problem}");
            problem
        }
        Err(other) => panic!("not the definition of {name}: {other}"),
        Ok(_) => panic!("the definition of {name} is not refused"),
    }
}

pub(crate) fn says(problem: &str, parts: &[&str]) {
    for part in parts {
        assert!(problem.contains(part), "{part:?} is not in: {problem}");
    }
}

/// Writes until it is told to end.
pub(crate) fn writer<DB: Kit>(world: &World<DB>) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let (end, pool) = (Arc::new(AtomicBool::new(false)), world.source.clone());
    let ending = Arc::clone(&end);
    let writing = tokio::spawn(async move {
        while !ending.load(Ordering::Relaxed) {
            write(&pool, 5).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    (end, writing)
}

pub(crate) async fn end((end, writing): (Arc<AtomicBool>, JoinHandle<()>)) {
    end.store(true, Ordering::Relaxed);
    writing.await.expect("the writer ends well");
}

pub(crate) async fn applied<DB: Kit>(world: &World<DB>) -> usize {
    DB::applied(&world.target).await.expect("applied").len()
}

pub(crate) async fn closed<DB: Kit>(world: &World<DB>, stream: &str) -> Position {
    eventually("the stream is sent to its end", async || {
        let closed = streams::close(&world.source, stream).await.expect("close");
        let closed = closed.expect("there is such a stream");
        closed.open.is_empty().then_some(closed.position)
    })
    .await
}

/// Leaves stream `old` with `times` messages that its route has not sent.
pub(crate) async fn unsent<DB: Kit>(world: &World<DB>, times: i64) {
    relay(world, [both()], &[("r", "old", "c")]).await.stop().await;
    let sealing = builder(world, [], &[]).start().await.expect("it seals");
    write(&world.source, times).await;
    eventually("they are sealed", async || {
        DB::head(&world.source).await.ok().filter(|head| head.0 >= times)
    })
    .await;
    sealing.stop().await;
}
