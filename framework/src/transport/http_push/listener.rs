//! Serving push alone: for a consumer that has no web service of its own.

use std::{convert::Infallible, fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::StatusCode;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::CancellationToken;

use super::PushReceiver;
use crate::transport::{
    Receive, SubscribeError, Subscriber,
    http::{Problem, serve},
};

/// How long the consumer may take to finish after the stop.
const GRACE: Duration = Duration::from_secs(30);

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
        let app: axum::Router = push.router().fallback(not_found);
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
