//! A feed whose pages take as long as a test wants.

use super::*;

/// A feed that answers when it may, and has nothing.
pub(crate) struct Slow {
    pub(crate) asked: Mutex<Vec<FeedRequest>>,
    pub(crate) begun: Semaphore,
    pub(crate) may: Semaphore,
}

#[async_trait]
impl Feed for Slow {
    async fn page(&self, request: FeedRequest) -> Result<FeedPage, FeedError> {
        let FeedRequest { stream, version, shard, .. } = request.clone();
        self.asked.lock().expect("no panic").push(request);
        self.begun.add_permits(1);
        self.may.acquire().await.expect("it is open").forget();
        Err(FeedError::Unknown { stream, version, shard })
    }
}

/// A server of a [`Slow`] feed: one token reads the streams `s` and `t`, the other one `s`.
pub(crate) struct Slowly {
    pub(crate) feed: Arc<Slow>,
    pub(crate) address: SocketAddr,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

/// Longer than a slow machine needs, and than a request that waits in vain takes.
pub(crate) const AMPLE: Duration = Duration::from_secs(20);

impl Slowly {
    pub(crate) async fn serve(limits: impl FnOnce(FeedServer) -> FeedServer) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let (asked, begun, may) = (Mutex::default(), Semaphore::new(0), Semaphore::new(0));
        let feed = Arc::new(Slow { asked, begun, may });
        let reader = |token: &str, stream: &str| {
            let token = Token::parse(token).expect("a token");
            Reader::new(&token, stream, ["counter.*"]).expect("a reader")
        };
        let server = FeedServer::new(feed.clone())
            .reader(reader(TOKEN, "s"))
            .reader(reader(TOKEN, "t"))
            .reader(reader(NARROW, "s"));
        let router = limits(server).router();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let served = tokio::spawn(async { axum::serve(listener, router).await.expect("serves") });
        Self { feed, address, served }
    }

    pub(crate) fn request(&self, token: &str, what: &str) -> RequestBuilder {
        let url = format!("http://{}/{what}", self.address);
        reqwest::Client::new().get(url).bearer_auth(token).timeout(AMPLE)
    }

    /// Begins a request, which waits for its answer.
    pub(crate) async fn begin(
        &self,
        token: &str,
        what: &str,
    ) -> tokio::task::JoinHandle<StatusCode> {
        let request = self.request(token, what);
        let waiting =
            tokio::spawn(async move { request.send().await.expect("an answer").status() });
        timeout(AMPLE, self.feed.begun.acquire())
            .await
            .expect("it is served")
            .expect("open")
            .forget();
        waiting
    }

    pub(crate) async fn refused(&self, token: &str, what: &str) -> (u16, Option<String>) {
        let answer = self.request(token, what).send().await.expect("an answer at once");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{what}");
        let after = answer.headers().get("retry-after");
        let after = after.map(|after| after.to_str().expect("a number").to_owned());
        (answer.status().as_u16(), after)
    }
}
