//! Serving: for a consumer that has no web service of its own, and for services that want
//! limits on connections too.

use std::{convert::Infallible, fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Extension, Router, extract::ConnectInfo, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{PushReceiver, problem::Problem};
use crate::transport::{Receive, SubscribeError, Subscriber};

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
/// use syncline::transport::http_push::serve;
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

type Setup = Box<dyn FnOnce(Arc<dyn Receive>) -> PushReceiver + Send>;

/// A [`Subscriber`] with a server of its own: listens on an address and hands what comes to a
/// [`PushReceiver`]. A service that already has a router nests [`PushReceiver::router`]
/// instead.
///
/// ```
/// use std::sync::Arc;
/// use syncline::transport::{Receive, SubscribeError, Subscriber};
/// use syncline::transport::http_push::{Principal, PushListener, PushReceiver};
/// use tokio_util::sync::CancellationToken;
///
/// async fn listen(
///     principal: Principal,
///     consumer: Arc<dyn Receive>,
///     stop: CancellationToken,
/// ) -> Result<(), SubscribeError> {
///     let setup = |consumer| PushReceiver::new(consumer).principal(principal);
///     let listener = PushListener::bind("127.0.0.1:8081", setup).await?;
///     Box::new(listener).run(consumer, stop).await
/// }
/// ```
pub struct PushListener {
    listener: TcpListener,
    address: SocketAddr,
    setup: Setup,
}

impl PushListener {
    /// Listens on `address`; port 0 takes a free one. `setup` makes the receiver (principals,
    /// limits) when the subscriber starts; its path is `/`.
    ///
    /// # Errors
    /// [`SubscribeError`] when the address cannot be listened on.
    pub async fn bind(
        address: impl ToSocketAddrs + fmt::Display,
        setup: impl FnOnce(Arc<dyn Receive>) -> PushReceiver + Send + 'static,
    ) -> Result<Self, SubscribeError> {
        let target = address.to_string();
        let fail = |error: std::io::Error| SubscribeError { target, reason: error.to_string() };
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(fail)?;
        Ok(Self { listener, address, setup: Box::new(setup) })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL for a publisher on this machine.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl fmt::Debug for PushListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushListener").field("address", &self.address).finish_non_exhaustive()
    }
}

#[async_trait]
impl Subscriber for PushListener {
    async fn run(
        self: Box<Self>,
        receiver: Arc<dyn Receive>,
        stop: CancellationToken,
    ) -> Result<(), SubscribeError> {
        let push = (self.setup)(receiver);
        let begun = push.begun();
        let app = push.router().fallback(not_found);
        serve(self.listener, app, stop).await;
        // A request that ran into its time limit has left its batch in the consumer's hands.
        begun.close();
        if tokio::time::timeout(GRACE, begun.wait()).await.is_err() {
            tracing::warn!("the consumer did not finish a batch within {GRACE:?}");
        }
        Ok(())
    }
}

async fn not_found() -> Result<Infallible, Problem> {
    Err(Problem::new(StatusCode::NOT_FOUND, "batches are sent to POST /"))
}
