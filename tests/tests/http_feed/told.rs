//! A subscriber tells its receiver of pulls that fail.

use axum::http::{HeaderMap, header};
use syncline::{
    message::Origin,
    transport::{Ack, PullNote, Reached, Receive, ReceiveError},
};

use super::*;

/// Keeps the errors of pulls.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

#[async_trait]
impl Receive for Told {
    async fn receive(&self, _batch: Batch) -> Result<Ack, ReceiveError> {
        Err(ReceiveError::Refused("there is none".to_owned()))
    }

    async fn reached(&self, _origin: &Origin) -> Result<Option<Reached>, ReceiveError> {
        Ok(None)
    }

    fn note_pull(&self, note: &PullNote<'_>) {
        assert_eq!((note.source, note.stream, note.shard), ("/tests", "counts", 3));
        assert!(!note.target.contains("hush"), "{}", note.target);
        self.0.lock().expect("no panic").extend(note.error.map(str::to_owned));
    }
}

#[tokio::test]
async fn an_answer_that_repeats_the_token_is_told_without_it() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let echo = async |headers: HeaderMap| {
        let sent = headers.get(header::AUTHORIZATION).and_then(|sent| sent.to_str().ok());
        // So long that the answer is cut within the token.
        (StatusCode::FORBIDDEN, format!("{}{}", "x".repeat(280), sent.unwrap_or_default()))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().fallback(echo);
    let served = tokio::spawn(async move { axum::serve(listener, app).await });
    let subscriber = FeedSubscriber::builder(format!("http://{address}/feed?key=hush"))
        .source("/tests")
        .stream("counts")
        .shard(3)
        .token(Token::parse(TOKEN).expect("a token"))
        .build()
        .expect("a subscriber");
    let (told, stop) = (Arc::new(Told::default()), CancellationToken::new());
    let pulling = tokio::spawn(Box::new(subscriber).run(told.clone(), stop.clone()));
    let error =
        eventually("it is told", async || told.0.lock().expect("no panic").first().cloned()).await;
    assert!(error.contains("403 Forbidden; compare the stream"), "{error}");
    assert!(error.contains("Bearer (the token)") && !error.contains(&TOKEN[..8]), "{error}");
    stop.cancel();
    pulling.await.expect("no panic").expect("ends well");
    served.abort();
}
