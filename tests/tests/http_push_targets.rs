//! The publisher of HTTP push against hostile and broken targets: bounded in time and memory,
//! never misled into an acknowledgement, and silent about secrets.

mod push;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use push::{AMPLE, SECRET, SOURCE, STREAM, Target, principal, publisher};
use syncline::{
    Message,
    testing::{SampleSource, Temper},
    transport::{
        Outcome, PublishError, Publisher,
        http_push::{PushConfigError, PushPublisher, Secret, TargetError},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

const ACK: &str = r#"{"watermark":9,"last":{"position":9,"id":"00000000-0000-0000-0000-000000000009"},"outcome":{"outcome":"complete"}}"#;

/// Serves every connection with `serve`; counts them.
async fn hostile<F>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let (address, count) = (listener.local_addr().expect("an address"), Arc::default());
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            AtomicUsize::fetch_add(&counter, 1, Ordering::SeqCst);
            tokio::spawn(serve(stream));
        }
    });
    (address, count)
}

/// Reads the first part of a request: a client does not expect an answer before it asks.
async fn request(stream: &mut TcpStream) -> io::Result<usize> {
    stream.read(&mut vec![0; 64 * 1024]).await
}

/// Answers every request with `text`.
async fn answering(text: String) -> (SocketAddr, Arc<AtomicUsize>) {
    hostile(move |mut stream| {
        let text = text.clone();
        async move {
            request(&mut stream).await?;
            stream.write_all(text.as_bytes()).await?;
            stream.shutdown().await
        }
    })
    .await
}

async fn publish(address: SocketAddr, limit: Duration) -> Result<Outcome, PublishError> {
    let url = format!("http://{address}/in?token=t0psecret#part");
    let publisher = publisher(&url).timeout(limit).build().expect("a publisher");
    let batch = SampleSource::new(SOURCE, STREAM).next(2);
    let result = timeout(AMPLE, publisher.publish(&batch)).await.expect("publish hangs");
    if let Err(error) = &result {
        let text = format!("{error} {error:?} {publisher:?}");
        assert!(!text.contains("t0psecret") && !text.contains(&SECRET[6..]), "{text}");
        assert!(
            text.contains(&format!("http://{address}/in is")) || !text.contains(" is unav"),
            "{text}"
        );
    }
    result.map(|ack| ack.outcome)
}

async fn refusal(text: String) -> String {
    let (address, _) = answering(text).await;
    match publish(address, AMPLE).await {
        Err(PublishError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn response(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, visits) = answering(response("200 OK", "application/json", ACK)).await;
    for status in ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"] {
        let redirect = format!(
            "HTTP/1.1 {status}\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        );
        let reason = refusal(redirect).await;
        assert!(reason.contains("redirects are not followed"), "{reason}");
    }
    assert_eq!(visits.load(Ordering::SeqCst), 0);
    // The control: asked directly, that target would have been believed.
    assert_eq!(publish(elsewhere, AMPLE).await.expect("an ack"), Outcome::Complete);
}

#[tokio::test]
async fn slow_and_endless_answers_are_given_up_in_time() {
    let silent = hostile(|stream| async move {
        sleep(AMPLE).await;
        drop(stream);
        Ok(())
    });
    let drip = |start: &'static str| {
        hostile(move |mut stream| async move {
            request(&mut stream).await?;
            stream.write_all(start.as_bytes()).await?;
            loop {
                stream.write_all(b"1\r\na\r\n").await?;
                sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let head = drip("HTTP/1.1 200 OK\r\nx");
    let body = drip(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let targets = [silent.await.0, body.await.0];
    let limit = Duration::from_millis(500);
    for address in targets {
        let start = Instant::now();
        let result = publish(address, limit).await;
        assert!(matches!(result, Err(PublishError::Timeout { .. })), "{result:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
    // Whether the client notices first that this is no HTTP is its own affair.
    assert!(publish(head.await.0, limit).await.is_err());
}

#[tokio::test]
async fn of_a_huge_answer_little_is_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    for status in ["200 OK", "500 Oh no"] {
        let counter = Arc::clone(&sent);
        let (address, _) = hostile(move |mut stream| {
            let counter = Arc::clone(&counter);
            async move {
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{ACK}");
                request(&mut stream).await?;
                stream.write_all(head.as_bytes()).await?;
                loop {
                    counter.fetch_add(stream.write(&[b' '; 1 << 16]).await?, Ordering::SeqCst);
                }
            }
        })
        .await;
        let error = publish(address, AMPLE).await.expect_err("believed");
        assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
    }
    sleep(Duration::from_millis(200)).await;
    // What the sockets' buffers hold, and no more.
    assert!(sent.load(Ordering::SeqCst) < 64 << 20);
    let (address, _) = hostile(|mut stream| async move {
        request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await?;
        loop {
            stream.write_all(&[b'a'; 1 << 16]).await?;
        }
    })
    .await;
    assert!(publish(address, AMPLE).await.is_err());
}

#[tokio::test]
async fn answers_that_only_look_like_an_acknowledgement_are_refused() {
    let not_ours = "is this the URL of a Syncline push receiver?";
    for (status, kind, body) in [
        ("200 OK", "text/html", "<html>welcome</html>"),
        ("200 OK", "application/json", "{\"ok\":true}"),
        ("204 No Content", "text/plain", ""),
        ("202 Accepted", "application/json", ACK),
        ("404 Not Found", "text/plain", ""),
    ] {
        let reason = refusal(response(status, kind, body)).await;
        assert!(reason.contains(not_ours) && !reason.contains("<html>"), "{reason}");
    }
    // Nothing is decompressed: 10 kB of these would be 10 MB.
    let packed =
        response("200 OK\r\ncontent-encoding: gzip", "application/json", "\u{1f}\u{8b}bomb");
    assert!(refusal(packed).await.contains(not_ours));
    let problem = r#"{"detail":"no secret of this receiver fits\u001b[31m"}"#;
    let reason = refusal(response("401 Unauthorized", "application/problem+json", problem)).await;
    let compare = "compare the secret, the source and the stream of this route";
    assert!(reason.starts_with("it answered 401 Unauthorized; ") && reason.contains(compare));
    assert!(reason.ends_with("principal: no secret of this receiver fits"), "{reason}");
}

#[tokio::test]
async fn outages_are_told_from_refusals_and_say_when_to_come_again() {
    for (status, seconds) in [("503 Busy", Some(7)), ("429 Slow down", Some(7)), ("502 Bad", None)]
    {
        let after = seconds.map(|s| format!("\r\nretry-after: {s}")).unwrap_or_default();
        let (address, _) =
            answering(response(&format!("{status}{after}"), "text/plain", "later")).await;
        match publish(address, AMPLE).await {
            Err(PublishError::Unavailable { retry_after, reason, .. }) => {
                assert_eq!(retry_after, seconds.map(Duration::from_secs));
                assert!(reason.contains("later"), "{reason}");
            }
            other => panic!("{status}: {other:?}"),
        }
    }
    // Nobody listens; the connection breaks.
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let error = publish(address, AMPLE).await.expect_err("nobody is there");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(matches!(error, PublishError::Unavailable { .. }), "{error:?}");
    let (address, _) = answering(String::new()).await;
    let error = publish(address, AMPLE).await.expect_err("no answer");
    assert!(matches!(error, PublishError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn batches_that_are_too_large_travel_in_parts() {
    let target = Target::new().await;
    let small = Target::with(|push| push.principal(principal(&[SECRET])).max_body(9_000)).await;
    let mut source = SampleSource::new(SOURCE, STREAM);
    let batch = source.batch((0..50).map(|n| Message::new("t", "text/plain", format!("{n:0500}"))));
    let later = source.batch([]);
    for (target, limit) in [(&target, 5_000), (&small, 8 << 20)] {
        let publisher = publisher(&target.url()).max_body(limit).build().expect("a publisher");
        let ack = publisher.publish(&batch).await.expect("taken in parts");
        assert_eq!(
            (ack.watermark, ack.last, ack.outcome),
            (batch.through, batch.last, Outcome::Complete)
        );
        assert_eq!(target.receiver.applied(), batch.messages);
        let (whole, parts) = (&batch, target.receiver.arrived());
        let (end, before) = parts.split_last().expect("parts");
        assert!(before.len() >= 3 && (end.through, end.last) == (whole.through, whole.last));
        // A part says nothing about what comes after it.
        assert!(before.iter().all(|part| part.through == part.last.position));
        let ack = publisher.publish(&later).await.expect("taken");
        assert_eq!(ack.watermark, later.through);
        // A pause in the middle is the answer to the whole.
        target.receiver.set(Temper::Paused(5));
        let ack = publisher.publish(&batch).await.expect("an answer");
        assert_eq!(ack.outcome, Outcome::Paused { retry_after_ms: 5, trouble: None });
    }
    let alone = SampleSource::new(SOURCE, STREAM).batch([Message::new(
        "t",
        "text/plain",
        "x".repeat(9_000),
    )]);
    for (target, limit, words) in [(&target, 5_000, "max_body"), (&small, 8 << 20, "9000 bytes")] {
        let publisher = publisher(&target.url()).max_body(limit).build().expect("a publisher");
        let error = publisher.publish(&alone).await.expect_err("too large");
        assert!(matches!(error, PublishError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_refusal_is_read_even_by_who_still_writes() {
    // The receiver runs beside the publisher, as another process would: a receiver that closed
    // at once would lose half of these answers to a broken pipe.
    let beside = tokio::runtime::Runtime::new().expect("a runtime");
    let target = beside.block_on(Target::new());
    let message = |n: u32| Message::new("t", "text/plain", n.to_string().repeat(500_000));
    let batch = SampleSource::new("/stranger", STREAM).batch((10..14).map(message));
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build();
    own.expect("a runtime").block_on(async {
        let publisher = target.publisher();
        for _ in 0..12 {
            let error = publisher.publish(&batch).await.expect_err("not bound");
            assert!(matches!(error, PublishError::Refused { .. }), "{error:?}");
        }
    });
}

#[tokio::test]
async fn connections_are_kept_and_replaced_when_they_break() {
    let target = Target::new().await;
    let (inner, cut) = (target.address, Arc::new(tokio::sync::Notify::new()));
    let cutter = Arc::clone(&cut);
    let (proxy, connections) = hostile(move |mut stream| {
        let cut = Arc::clone(&cutter);
        async move {
            let mut inner = TcpStream::connect(inner).await?;
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut stream, &mut inner) => {}
                () = cut.notified() => {}
            }
            Ok(())
        }
    })
    .await;
    let publisher = publisher(&format!("http://{proxy}")).build().expect("a publisher");
    let mut source = SampleSource::new(SOURCE, STREAM);
    for _ in 0..10 {
        publisher.publish(&source.next(1)).await.expect("taken");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    cut.notify_waiters();
    sleep(Duration::from_millis(100)).await;
    publisher.publish(&source.next(1)).await.expect("taken over a new connection");
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn https_needs_no_provider_to_be_installed() {
    let (address, _) = answering("this is not TLS".to_owned()).await;
    match publisher(&format!("https://{address}/")).build() {
        Ok(publisher) => {
            let batch = SampleSource::new(SOURCE, STREAM).next(1);
            let error = publisher.publish(&batch).await.expect_err("not TLS");
            assert!(matches!(error, PublishError::Unavailable { .. }), "{error:?}");
        }
        // A machine without certificates.
        Err(error) => {
            let client = matches!(error, PushConfigError::Target(TargetError::Client(_)));
            assert!(client, "{error}");
        }
    }
}

#[test]
fn bad_configurations_are_named_without_showing_them() {
    let secret = || Secret::parse(SECRET).expect("a secret");
    for (url, words) in [
        ("", "not a URL"),
        ("hunter2", "not a URL"),
        ("http://", "not a URL"),
        ("http://hunter2:99999/", "not a URL"),
        ("file:///etc/hunter2", "\"file\""),
        ("ftp://hunter2/", "\"ftp\""),
        ("http://hunter2@localhost/", "take it out"),
        ("https://user:hunter2@localhost/", "take it out"),
    ] {
        let builder = PushPublisher::builder(url).secret(secret());
        assert!(!format!("{builder:?}").contains("hunter2"));
        let error = builder.build().expect_err(url);
        assert!(error.to_string().contains(words), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let good = || PushPublisher::builder("http://localhost/?token=hunter2");
    assert!(matches!(good().build(), Err(PushConfigError::NoSecret)));
    let zero = good().secret(secret()).timeout(Duration::ZERO).build();
    assert!(matches!(zero, Err(PushConfigError::Limit(_))));
    let publisher = good().secret(secret()).build().expect("a publisher");
    assert_eq!(publisher.target(), "http://localhost/");
    let shown = format!("{publisher:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(&SECRET[6..]), "{shown}");
}
