//! Serving with limits on connections too.

mod doors;
mod timed;

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, body::Body, extract::ConnectInfo};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::peer::network;
use crate::logs::LogLimit;
use doors::{Arriving, Door, Doors};
use timed::Timed;

/// The largest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// How long requests may take to finish after the stop.
const GRACE: Duration = Duration::from_secs(30);
/// After accepting failed, which mostly means that there are no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// What [`serve_with`] lets clients take.
///
/// ```
/// use std::time::Duration;
/// use syncline::transport::http::ServeOptions;
/// let mut options = ServeOptions::default();
/// // Behind a proxy every connection is the proxy's: it is to limit its own clients.
/// options.per_address = options.connections;
/// options.write = Duration::from_secs(10);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// How long a request's head may take to arrive, and how long a connection may be idle (30
    /// seconds).
    pub head: Duration,
    /// How long a client may read nothing of what it asked for; a second more for each 32 KiB that it
    /// reads (20 seconds).
    pub write: Duration,
    /// The most connections at once (512). For one more, of the address that has most the one that has
    /// waited longest for its client is closed: it is idle, or its request has not arrived to its end.
    pub connections: usize,
    /// The most of them from one IPv4 address, or one network of 64 bits in IPv6 (128). One more takes
    /// a place in the same way.
    pub per_address: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            write: Duration::from_secs(20),
            connections: 512,
            per_address: 128,
        }
    }
}

/// Serves `app` until `stop` is cancelled, then finishes the requests that were begun, for at
/// most 30 seconds; with the limits of [`ServeOptions::default`].
///
/// Unlike `axum::serve` it bounds the time that a request's head may take, its size (64 KiB), the time
/// that an answer waits to be read, and the number of connections, by address and in all: slow clients
/// cannot use up the service. Handlers find the client's address as `ConnectInfo<SocketAddr>`. How long
/// a request's body may take is for the handler to limit.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use syncline::transport::http::serve;
/// use tokio_util::sync::CancellationToken;
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let stop = CancellationToken::new();
/// let server = tokio::spawn(serve(listener, axum::Router::new(), stop.clone()));
/// stop.cancel(); // on SIGTERM
/// server.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn serve(listener: TcpListener, app: Router, stop: CancellationToken) {
    serve_with(listener, app, ServeOptions::default(), stop).await;
}

/// [`serve`] with other limits.
pub async fn serve_with(
    listener: TcpListener,
    app: Router,
    options: ServeOptions,
    stop: CancellationToken,
) {
    let doors = Doors::new(options.connections, options.per_address);
    let log = LogLimit::default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match doors.enter(network(peer.ip())) {
                    Some(door) => {
                        let app = app.clone().layer(Extension(ConnectInfo(peer)));
                        let served = connection(stream, app, door, options.clone(), stop.clone());
                        connections.spawn(served);
                    }
                    None => {
                        if let Some(left_out) = log.admit("connections") {
                            tracing::warn!(
                                address = %peer.ip(), left_out, limit = options.connections,
                                per_address = options.per_address,
                                "a connection was refused: each that may be open has a request that \
                                 is being answered"
                            );
                        }
                    }
                },
                Err(error) => {
                    if let Some(left_out) = log.admit("accept") {
                        tracing::warn!(%error, left_out, "a connection could not be accepted");
                    }
                    tokio::time::sleep(REST).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("requests did not finish within {GRACE:?} and were cut off");
    }
}

async fn connection(
    stream: TcpStream,
    app: Router,
    door: Door,
    options: ServeOptions,
    stop: CancellationToken,
) {
    // Acknowledgements are small, and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let (door, app) = (Arc::new(door), TowerToHyperService::new(app));
    let at = Arc::clone(&door);
    let service = service_fn(move |request: Request<Incoming>| {
        let door = Arc::clone(&at);
        let arriving = |body| Body::new(Arriving::new(body, Arc::clone(&door)));
        let answer = app.call(request.map(arriving));
        async move {
            let answer = answer.await;
            door.waits();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Timed::new(stream, options.write)), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = door.closed() => {
            tracing::debug!("a connection that waited for its client made room for another one");
            return;
        }
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
