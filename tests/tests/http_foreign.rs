//! Plain CloudEvents of somebody else, over HTTP into a real consumer.

mod push;

use std::sync::Arc;

use push::{OLD_SECRET, Request, SECRET, secret};
use sqlx::{Pool, Sqlite};
use syncline::{
    Consumer, Envelope, HandlerError, Verdict, handler_fn,
    message::{BATCH_CONTENT_TYPE, FOREIGN_ID, encode_batch},
    testing::SampleSource,
    transport::{
        Subscriber,
        http_push::{Principal, PushListener, PushReceiver, SOURCE_HEADER, STREAM_HEADER},
    },
};
use syncline_tests::{kit::Kit, servers::sqlite_database};
use tokio_util::sync::CancellationToken;

const STRUCTURED: &str = "application/cloudevents+json";

async fn note(
    tx: &mut sqlx::Transaction<'_, Sqlite>,
    message: &Envelope,
) -> Result<Verdict, HandlerError> {
    let id = message.headers.get(FOREIGN_ID).map_or("", String::as_str);
    assert!(!message.headers.contains_key("traceparent"), "{message:?}");
    Sqlite::note(tx, id, message.decode()?).await?;
    Ok(Verdict::Done)
}

fn event(source: &str, id: &str, n: i64) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"paid","subject":"k","data":{n}}}"#
    )
}

/// The event with one more member.
fn with(event: &str, member: &str) -> String {
    event.replacen('{', &format!("{{{member},"), 1)
}

/// A push to `/foreign`, as a producer that knows nothing of Syncline signs it.
fn foreign(content_type: &str, body: &str, by: &str) -> Request {
    let mut request = Request::signed(body.as_bytes(), by, 0)
        .without(SOURCE_HEADER)
        .without(STREAM_HEADER)
        .set("content-type", content_type);
    request.line = "POST /foreign HTTP/1.1".into();
    request
}

async fn applied(pool: &Pool<Sqlite>) -> Vec<(String, i64)> {
    Sqlite::applied(pool).await.expect("applied")
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_events_are_applied_once_and_only_in_their_own_name() {
    let (_directory, url) = sqlite_database();
    let pool = Sqlite::connect(&url, 4).await.expect("connect");
    syncline::migrate(&pool).await.expect("migrate");
    Sqlite::prepare(&pool).await.expect("prepare");
    let consumer = Consumer::builder("c", pool.clone())
        .handler("*", handler_fn(|tx, message| Box::pin(note(tx, message))))
        .build()
        .expect("a consumer");
    let setup = |receiver| {
        PushReceiver::new(receiver)
            .principal(Principal::foreign("/pay", [secret(SECRET)]).expect("a principal"))
            .principal(Principal::new("/ours", "users", [secret(OLD_SECRET)]).expect("another"))
    };
    let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
    let (address, stop) = (listener.local_addr(), CancellationToken::new());
    let server = tokio::spawn(Box::new(listener).run(Arc::new(consumer), stop.clone()));
    let post = async |request: Request| push::raw(address, &request.bytes()).await;

    let one = event("/pay", "evt 1", 1);
    for _ in 0..2 {
        assert_eq!(post(foreign(STRUCTURED, &one, SECRET)).await.status, 200);
    }
    let many = format!("[{one},{},{}]", event("/pay", "evt 2", 2), event("/pay", "evt 3", 3));
    assert_eq!(post(foreign(BATCH_CONTENT_TYPE, &many, SECRET)).await.status, 200);
    let expected = [("evt 1".to_owned(), 1), ("evt 2".to_owned(), 2), ("evt 3".to_owned(), 3)];
    assert_eq!(applied(&pool).await, expected);

    let four = event("/pay", "evt 4", 4);
    // A null attribute is one that is not there.
    let good = foreign(STRUCTURED, &with(&four, r#""traceparent":null"#), SECRET);
    // One bad event of an array, and none of it is taken.
    let mixed = format!("[{four},{}]", with(&event("/pay", "evt 5", 5), r#""n":1.5"#));
    let mut tampered = good.clone();
    *tampered.body.last_mut().expect("a body") = b' ';
    // Our own sources do not speak for foreign ones, nor foreign ones for ours.
    let mut batch = SampleSource::new("/pay", "foreign");
    let batch = encode_batch(&batch.next(1)).expect("encodes");
    let batch =
        Request::signed(&batch, SECRET, 0).set(SOURCE_HEADER, "/pay").set(STREAM_HEADER, "foreign");
    let [wrong, short] = good.nearly_signed();
    let refused = [
        (tampered, 401),
        (wrong, 401),
        (short, 401),
        (good.clone().without("webhook-signature"), 401),
        (foreign(STRUCTURED, &four, OLD_SECRET), 401),
        (foreign(STRUCTURED, &event("/ours", "evt 4", 4), SECRET), 403),
        (foreign(STRUCTURED, &format!("[{four},{}]", event("/x", "5", 5)), SECRET), 403),
        (foreign("application/json", &four, SECRET), 415),
        (foreign(STRUCTURED, "{}", SECRET), 400),
        (foreign(STRUCTURED, &with(&four, r#""data_base64":"NA==""#), SECRET), 400),
        (foreign(STRUCTURED, &with(&four, r#""traceparent":{}"#), SECRET), 400),
        (foreign(STRUCTURED, &four.replace(r#""data":4"#, r#""data_base64":12"#), SECRET), 400),
        (foreign(BATCH_CONTENT_TYPE, &mixed, SECRET), 400),
        (foreign(STRUCTURED, &event("/pay", "a\\u0000b", 4), SECRET), 422),
        (good.clone().set("content-encoding", "gzip"), 415),
        (batch, 401),
    ];
    for (request, status) in refused {
        let answer = post(request).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(applied(&pool).await, expected);
    assert_eq!(post(good).await.status, 200);
    assert_eq!(applied(&pool).await.len(), 4);
    stop.cancel();
    server.await.expect("no panic").expect("ends well");
}
