//! Serving with limits on connections too.

use std::time::Duration;

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How long a request's head may take to arrive, and a connection may be idle.
const HEAD: Duration = Duration::from_secs(30);
/// The most connections at once; others wait to be accepted.
const CONNECTIONS: usize = 512;
/// The largest head of a request.
const MAX_HEAD: usize = 64 * 1024;
/// How long requests may take to finish after the stop.
const GRACE: Duration = Duration::from_secs(30);
/// After accepting failed, which mostly means that there are no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// Serves `app` until `stop` is cancelled, then finishes the requests that were begun, for at
/// most 30 seconds.
///
/// Unlike `axum::serve` it bounds the time that a request's head may take (30 seconds), its
/// size (64 KiB) and the number of connections (512), so that slow clients cannot use up the
/// service. Handlers find the client's address as `ConnectInfo<SocketAddr>`.
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
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let app = app.clone().layer(Extension(ConnectInfo(peer)));
                    connections.spawn(connection(stream, app, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
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

async fn connection(stream: TcpStream, app: Router, stop: CancellationToken) {
    // Acknowledgements are small, and waited for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
