//! The receiver of HTTP push against hostile and broken senders: each gets a clear answer,
//! and nothing of theirs is applied.

mod push;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use push::{AMPLE, Answer, OLD_SECRET, Request, SECRET, SOURCE, STREAM, Target, principal, secret};
use syncline::{
    Message,
    message::{Origin, Position, encode_batch},
    testing::{SampleSource, Temper},
    transport::{
        Publisher,
        http_push::{
            ID_HEADER, Principal, PushPublisher, SIGNATURE_HEADER, SOURCE_HEADER, STREAM_HEADER,
            TIMESTAMP_HEADER,
        },
    },
};
use syncline_tests::relays::eventually;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

fn source() -> SampleSource {
    SampleSource::new(SOURCE, STREAM)
}

fn expect(answer: &Answer, status: u16, words: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let detail = answer.detail();
    assert!(detail.contains(words), "{words:?} is not in {detail:?}");
    for secret in [SECRET, OLD_SECRET] {
        assert!(!format!("{answer:?}").contains(&secret[6..]), "{answer:?}");
    }
}

#[tokio::test]
async fn unsigned_forged_and_tampered_pushes_get_401_and_apply_nothing() {
    let target = Target::new().await;
    let good = Request::of(&source().next(2));
    for name in [SOURCE_HEADER, STREAM_HEADER, ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER] {
        expect(&target.post(&good.clone().without(name)).await, 401, name);
    }
    let forged = Request::signed(&good.body, OLD_SECRET, 0);
    expect(&target.post(&forged).await, 401, "none of the secrets");
    let mut tampered = good.clone();
    *tampered.body.iter_mut().find(|byte| **byte == b'0').expect("a digit") = b'1';
    expect(&target.post(&tampered).await, 401, "changed on its way");
    let now = chrono::Utc::now().timestamp();
    expect(&target.post(&good.clone().set(ID_HEADER, "msg_other")).await, 401, "none of");
    expect(
        &target.post(&good.clone().set(TIMESTAMP_HEADER, (now + 5).to_string())).await,
        401,
        "none of",
    );
    expect(&target.post(&good.clone().set(TIMESTAMP_HEADER, "soon")).await, 401, TIMESTAMP_HEADER);
    expect(&target.post(&good.clone().set(SIGNATURE_HEADER, "v1,AAAA")).await, 401, "none of");
    for nearly in good.nearly_signed() {
        expect(&target.post(&nearly).await, 401, "none of");
    }
    expect(
        &target.post(&good.clone().set(SIGNATURE_HEADER, "v2,AAAA")).await,
        401,
        SIGNATURE_HEADER,
    );
    let other = target.post(&good.clone().set(SOURCE_HEADER, "/other")).await;
    expect(&other, 401, "no secret");
    expect(&other, 401, "sent as source \"/other\", stream \"users\"");
    expect(&target.post(&forged).await, 401, "sent as source \"/demo/register\", stream \"users\"");
    assert!(target.receiver.arrived().is_empty());
    assert_eq!(target.post(&good).await.status, 200);
}

#[tokio::test]
async fn a_replay_has_no_effect_and_an_old_one_is_refused() {
    let target = Target::new().await;
    let batch = source().next(3);
    let body = encode_batch(&batch).expect("encodes");
    for seconds in [-3_600, -310, 310, 3_600] {
        let answer = target.post(&Request::signed(&body, SECRET, seconds)).await;
        expect(&answer, 401, "at most 300 s are allowed");
    }
    assert!(target.receiver.arrived().is_empty());
    for seconds in [-290, 290, 0, 0] {
        assert_eq!(target.post(&Request::signed(&body, SECRET, seconds)).await.status, 200);
    }
    assert_eq!(target.receiver.applied(), batch.messages);
}

#[tokio::test]
async fn secrets_can_be_replaced_without_a_pause() {
    let publish = async |target: &Target, secrets: &[&str]| {
        let builder = PushPublisher::builder(target.url());
        let builder = secrets.iter().fold(builder, |builder, text| builder.secret(secret(text)));
        builder.build().expect("a publisher").publish(&source().next(1)).await.is_ok()
    };
    let both = Target::with(|push| push.principal(principal(&[SECRET, OLD_SECRET]))).await;
    for secrets in [&[OLD_SECRET][..], &[OLD_SECRET, SECRET], &[SECRET, OLD_SECRET], &[SECRET]] {
        assert!(publish(&both, secrets).await);
    }
    let after = Target::new().await;
    assert!(publish(&after, &[OLD_SECRET, SECRET]).await);
    assert!(!publish(&after, &[OLD_SECRET]).await);
}

#[tokio::test]
async fn nobody_can_speak_in_anothers_name() {
    let target = Target::with(|push| {
        let other = Principal::new("/other", "users", [secret(OLD_SECRET)]).expect("a principal");
        push.principal(principal(&[SECRET])).principal(other)
    })
    .await;
    for (source, stream) in [("/other", STREAM), (SOURCE, "others")] {
        let mut batch = SampleSource::new(source, stream).next(1);
        batch.through = Position(i64::MAX);
        let mut forged = Request::of(&batch);
        expect(&target.post(&forged).await, 403, "another source or stream");
        // Naming the other principal in the headers does not help: the secret is not its own.
        forged = forged.set(SOURCE_HEADER, source).set(STREAM_HEADER, stream);
        assert_eq!(target.post(&forged).await.status, 401);
    }
    assert!(target.receiver.arrived().is_empty());
}

#[tokio::test]
async fn too_large_bodies_are_refused_early_and_while_they_arrive() {
    let target = Target::with(|push| push.principal(principal(&[SECRET])).max_body(10_000)).await;
    let large = vec![b' '; 4 << 20];
    let request = Request::signed(&large, SECRET, 0);

    // The head alone is answered.
    expect(&push::raw(target.address, request.head().as_bytes()).await, 413, "10000 bytes");
    // A sender that writes on can still read the answer.
    let honest = Request::signed(&large[..20_000], SECRET, 0);
    expect(&target.post(&honest).await, 413, "10000 bytes");
    // Without a length, and with a false one.
    let mut chunked = honest.clone().without("content-length").set("transfer-encoding", "chunked");
    chunked.body = [b"4e20\r\n", &large[..20_000], b"\r\n0\r\n\r\n"].concat();
    expect(&target.post(&chunked).await, 413, "10000 bytes");
    let mut endless = chunked.clone();
    endless.body = [b"fffffffff\r\n", &large[..1 << 20]].concat();
    expect(&target.post(&endless).await, 413, "10000 bytes");
    assert!(target.receiver.arrived().is_empty());
}

#[tokio::test]
async fn slow_bodies_are_given_up() {
    let target = Target::with(|push| {
        push.principal(principal(&[SECRET])).read_timeout(Duration::from_millis(400))
    })
    .await;
    let request = Request::of(&source().next(1));
    let mut stream = TcpStream::connect(target.address).await.expect("connects");
    stream.write_all(request.head().as_bytes()).await.expect("writes");
    let start = Instant::now();
    let (mut reading, mut writing) = stream.into_split();
    let drip = tokio::spawn(async move {
        for byte in request.body {
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let mut text = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut reading, &mut text);
    timeout(AMPLE, read).await.expect("in time").expect("an answer");
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("did not arrive within"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(5));
    drip.abort();
}

#[tokio::test]
async fn junk_that_is_signed_gets_400_and_a_reason() {
    let target = Target::new().await;
    let deep = "[".repeat(200_000);
    let event = r#"[{"specversion":"1.0","id":"1","type":"syncline.progress"}]"#;
    let bodies = [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "[1,2]",
        "[{}]",
        "[[[]]]",
        "\u{0}",
        "[\"\u{7f}\"",
        &deep,
        event,
    ];
    for body in bodies {
        let answer = target.post(&Request::signed(body.as_bytes(), SECRET, 0)).await;
        expect(&answer, 400, "");
        assert!((1..=500).contains(&answer.detail().len()), "{answer:?}");
    }
    let answer = target.post(&Request::signed(&[b'[', b'"', 0xff, b'"', b']'], SECRET, 0)).await;
    expect(&answer, 400, "");
    assert!(target.receiver.arrived().is_empty());
}

#[tokio::test]
async fn other_types_encodings_methods_and_paths_get_a_problem() {
    let target = Target::new().await;
    let good = Request::of(&source().next(1));
    for kind in ["application/json", "application/cloudevents+json", "text/plain", ""] {
        let answer = target.post(&good.clone().set("content-type", kind)).await;
        expect(&answer, 415, "application/cloudevents-batch+json");
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        let answer = target.post(&good.clone().set("content-encoding", encoding)).await;
        expect(&answer, 415, "Content-Encoding");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let request = Request { line: format!("{method} / HTTP/1.1"), ..good.clone() };
        let answer = target.post(&request).await;
        expect(&answer, 405, "POST");
        assert!(answer.head.contains("allow: post"), "{answer:?}");
    }
    let request = Request { line: "POST /other HTTP/1.1".into(), ..good.clone() };
    expect(&target.post(&request).await, 404, "POST /");
    assert!(target.receiver.arrived().is_empty());
    let named = good.set("content-type", "Application/CloudEvents-Batch+JSON; charset=utf-8");
    assert_eq!(target.post(&named).await.status, 200);
}

#[tokio::test]
async fn a_busy_receiver_says_when_to_come_again() {
    let target = Target::with(|push| push.principal(principal(&[SECRET])).max_concurrency(1)).await;
    target.receiver.set(Temper::Stuck);
    let mut source = source();
    let (first, second) = (Request::of(&source.next(1)), Request::of(&source.next(1)));
    let address = target.address;
    let begun = tokio::spawn(async move { push::raw(address, &first.bytes()).await });
    timeout(AMPLE, target.receiver.wait_for(1)).await.expect("it arrives");
    let busy = target.post(&second).await;
    expect(&busy, 503, "as many batches");
    assert!(busy.head.contains("retry-after: 1"), "{busy:?}");
    target.receiver.set(Temper::Willing);
    assert_eq!(begun.await.expect("no panic").status, 200);
    assert_eq!(target.post(&second).await.status, 200);
}

/// Reads `stream` to its end, and counts it then.
fn count_when_answered(
    stream: TcpStream,
    answered: &Arc<AtomicUsize>,
) -> tokio::task::JoinHandle<()> {
    let answered = Arc::clone(answered);
    tokio::spawn(async move {
        let mut stream = stream;
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        answered.fetch_add(1, Ordering::SeqCst);
    })
}

#[tokio::test]
async fn slow_bodies_take_no_place_from_signed_pushes() {
    let target = Target::with(|push| {
        push.principal(principal(&[SECRET])).read_timeout(Duration::from_secs(600))
    })
    .await;
    let mut source = source();
    let request = Request::of(&source.next(1));
    let (answered, mut open) = (Arc::default(), Vec::new());
    for _ in 0..48 {
        let mut stream = TcpStream::connect(target.address).await.expect("connects");
        stream.write_all(request.head().as_bytes()).await.expect("writes");
        stream.write_all(b"[").await.expect("writes");
        open.push(count_when_answered(stream, &answered));
    }
    // However many may arrive at once, the others have their answer.
    eventually("the first are answered", async || {
        (answered.load(Ordering::SeqCst) >= 32).then_some(())
    })
    .await;
    assert_eq!(target.post(&request).await.status, 200);
    for _ in 0..20 {
        assert_eq!(target.post(&Request::of(&source.next(1))).await.status, 200);
    }
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn bytes_that_nobody_has_verified_are_bounded_by_address() {
    let target = Target::with(|push| {
        let push = push.principal(principal(&[SECRET])).max_body(1 << 20);
        push.read_timeout(Duration::from_secs(600))
    })
    .await;
    let request = Request::signed(&vec![b' '; 1 << 20], SECRET, 0);
    let (answered, mut open) = (Arc::default(), Vec::new());
    for _ in 0..2 {
        let mut stream = TcpStream::connect(target.address).await.expect("connects");
        stream.write_all(request.head().as_bytes()).await.expect("writes");
        let (reading, mut writing) = stream.into_split();
        let body = request.body[..700_000].to_vec();
        open.push(tokio::spawn(async move {
            // It may be answered before all of it is written. The connection stays open.
            let _ = writing.write_all(&body).await;
            std::future::pending::<()>().await;
        }));
        let (mut reading, answered) = (reading, Arc::<AtomicUsize>::clone(&answered));
        open.push(tokio::spawn(async move {
            let mut answer = String::new();
            let _ = tokio::io::AsyncReadExt::read_to_string(&mut reading, &mut answer).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            answered.fetch_add(1, Ordering::SeqCst);
        }));
    }
    eventually("one of them is refused", async || {
        (answered.load(Ordering::SeqCst) == 1).then_some(())
    })
    .await;
    open.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn without_a_foreign_principal_nothing_listens_to_foreign_events() {
    let target = Target::new().await;
    let mut request = Request::of(&source().next(1));
    request.line = "POST /foreign HTTP/1.1".into();
    expect(&target.post(&request).await, 404, "POST /");
}

#[tokio::test]
async fn a_shard_that_the_stream_does_not_have_is_refused() {
    let of_shard = |shard| {
        let mut batch = source().next(1);
        batch.origin = Arc::new(Origin { shard, ..(*batch.origin).clone() });
        batch.messages[0].origin = Arc::clone(&batch.origin);
        Request::of(&batch)
    };
    for shards in [1, 8] {
        let target =
            Target::with(move |push| push.principal(principal(&[SECRET]).shards(shards))).await;
        for shard in [-1, i32::MIN, shards, 1_024, i32::MAX] {
            let words = format!("of shard {shard}, and stream \"users\" has {shards} of them");
            expect(&target.post(&of_shard(shard)).await, 403, &words);
        }
        assert!(target.receiver.arrived().is_empty());
        for shard in [0, shards - 1] {
            assert_eq!(target.post(&of_shard(shard)).await.status, 200);
        }
    }
}

#[tokio::test]
async fn what_was_begun_is_finished_when_the_sender_hangs_up_or_the_time_is_over() {
    let target = Target::with(|push| {
        push.principal(principal(&[SECRET])).process_timeout(Duration::from_millis(300))
    })
    .await;
    target.receiver.set(Temper::Stuck);
    let mut source = source();
    let (first, second) = (source.next(1), source.next(1));
    expect(&target.post(&Request::of(&first)).await, 503, "send it again");
    target.receiver.set(Temper::Willing);

    let applied = async |count| {
        while target.receiver.applied().len() < count {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(AMPLE, applied(1)).await.expect("the first is finished");
    target.receiver.set(Temper::Stuck);
    let mut stream = TcpStream::connect(target.address).await.expect("connects");
    stream.write_all(&Request::of(&second).bytes()).await.expect("writes");
    timeout(AMPLE, target.receiver.wait_for(2)).await.expect("it arrives");
    drop(stream);
    sleep(Duration::from_millis(100)).await;
    target.receiver.set(Temper::Willing);
    timeout(AMPLE, applied(2)).await.expect("the second is finished");
}

#[tokio::test]
async fn every_outcome_has_its_status() {
    let target = Target::new().await;
    let mut source = source();
    let (first, second) = (Request::of(&source.next(1)), Request::of(&source.next(1)));
    let gap = target.post(&second).await;
    assert_eq!((gap.status, gap.body.contains("\"gap\"")), (409, true), "{gap:?}");
    target.receiver.set(Temper::Paused(1_200));
    let paused = target.post(&first).await;
    assert_eq!((paused.status, paused.body.contains("\"paused\"")), (503, true), "{paused:?}");
    assert!(paused.head.contains("retry-after: 2"), "{paused:?}");
    target.receiver.set(Temper::Refusing);
    expect(&target.post(&first).await, 422, "wants nothing");
    // What is wrong with the database is this side's affair.
    target.receiver.set(Temper::Broken);
    let broken = target.post(&first).await;
    expect(&broken, 503, "database");
    assert!(!broken.body.contains("migrate"), "{broken:?}");
    target.receiver.set(Temper::Panicking);
    expect(&target.post(&first).await, 500, "nothing is acknowledged");
    target.receiver.set(Temper::Willing);
    assert_eq!(target.post(&first).await.status, 200);
}

#[tokio::test]
async fn a_receiver_nests_into_a_service() {
    let receiver = syncline::testing::ReferenceReceiver::new();
    let push = syncline::transport::http_push::PushReceiver::new(receiver.clone())
        .principal(principal(&[SECRET]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    // Into one that has a state of its own, before it is given.
    #[derive(Clone)]
    struct Own(&'static str);
    let name = async |axum::extract::State(own): axum::extract::State<Own>| own.0;
    let app = axum::Router::new()
        .route("/name", axum::routing::get(name))
        .nest("/internal/syncline", push.router())
        .with_state(Own("a service"));
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let publisher = push::publisher(&format!("http://{address}/internal/syncline")).build();
    let publisher = Arc::new(publisher.expect("a publisher"));
    let message = Message::new("user.noted", "text/plain", "hello").key("ключ");
    let batch = source().batch([message]);
    publisher.publish(&batch).await.expect("taken");
    assert_eq!(receiver.applied(), batch.messages);
    server.abort();
}
