//! A source that serves its log, and a database that is prepared for it.

use super::*;

/// A source that serves its feed.
pub(crate) struct Source<DB: Kit> {
    pub(crate) pool: Pool<DB>,
    pub(crate) relay: RelayHandle,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

impl<DB: Kit> Source<DB> {
    pub(crate) async fn start(pool: Pool<DB>, address: &str, shards: i32) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let stream = Stream::new("counts").topic("counter.*").topic("secret.*").shards(shards);
        let relay = start(&pool, stream, Vec::new(), |_| {}).await;
        let stop = CancellationToken::new();
        let token = |text: &str| Token::parse(text).expect("a token");
        let everything = Reader::new(&token(TOKEN), "counts", ["counter.*", "secret.*"]);
        let narrow = Reader::new(&token(NARROW), "counts", ["counter.*"]);
        let feed = FeedServer::new(relay.feed())
            .reader(everything.expect("a reader"))
            .reader(narrow.expect("a reader"))
            .stop(stop.clone());
        // Into a router with a state, before it is given.
        let own = async |State(own): State<&'static str>| own;
        let app = Router::new().route("/", get(own)).nest("/feed", feed.router()).with_state("own");
        let listener = TcpListener::bind(address).await.expect("listens");
        let address = listener.local_addr().expect("an address");
        let ended = stop.clone();
        let served = tokio::spawn(async move {
            let until = async move { ended.cancelled().await };
            axum::serve(listener, app).with_graceful_shutdown(until).await.expect("serves");
        });
        Self { pool, relay, address, stop, served }
    }

    pub(crate) async fn stop(self) -> (Pool<DB>, SocketAddr) {
        self.stop.cancel();
        self.relay.stop().await;
        self.served.await.expect("no panic");
        (self.pool, self.address)
    }

    pub(crate) async fn get(&self, token: &str, what: &str) -> Response {
        let url = format!("http://{}/feed/{what}", self.address);
        let request = reqwest::Client::new().get(url).bearer_auth(token);
        request.send().await.expect("an answer")
    }

    pub(crate) async fn page(&self, token: &str, what: &str) -> Batch {
        let answer = self.get(token, what).await;
        assert_eq!(answer.status(), StatusCode::OK, "{what}");
        decode_batch(&answer.bytes().await.expect("a body")).expect("a batch")
    }

    pub(crate) fn pull(&self, shard: i32, token: &str) -> FeedSubscriber {
        FeedSubscriber::builder(format!("http://{}/feed", self.address))
            .source("/tests")
            .stream("counts")
            .shard(shard)
            .token(Token::parse(token).expect("a token"))
            .wait(Duration::from_secs(1))
            .max_backoff(Duration::from_millis(200))
            .build()
            .expect("a subscriber")
    }
}

pub(crate) async fn prepared<DB: Kit>(url: &str) -> Pool<DB> {
    let pool = DB::connect(url, 8).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    DB::prepare(&pool).await.expect("prepare");
    pool
}

pub(crate) async fn secret<DB: Kit>(pool: &Pool<DB>) {
    let mut tx = begin(pool).await.expect("begin");
    let message = Message::json("secret.told", &"hush").expect("JSON").key("key 0");
    enqueue(&mut tx, &message).await.expect("enqueue").committed();
    tx.commit().await.expect("commit");
}

/// Waits until the feed has `count` messages.
pub(crate) async fn sealed<DB: Kit>(source: &Source<DB>, head: i64) {
    eventually("the log is sealed", async || {
        (DB::head(&source.pool).await.ok()? == Position(head)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
}
