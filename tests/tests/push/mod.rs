//! What the tests of HTTP push share: a receiver on loopback, and raw HTTP, since a hostile
//! peer does not use a well-behaved client.
#![allow(dead_code)] // each test file uses its part

use std::{net::SocketAddr, sync::Arc, time::Duration};

use syncline::{
    message::{BATCH_CONTENT_TYPE, Batch, encode_batch},
    testing::ReferenceReceiver,
    transport::{
        Subscriber,
        http_push::{
            ID_HEADER, Principal, PushListener, PushPublisher, PushPublisherBuilder, PushReceiver,
            SIGNATURE_HEADER, SOURCE_HEADER, STREAM_HEADER, Secret, TIMESTAMP_HEADER,
        },
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub(crate) const SOURCE: &str = "/demo/register";
pub(crate) const STREAM: &str = "users";
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const OLD_SECRET: &str =
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygp";
pub(crate) const AMPLE: Duration = Duration::from_secs(30);

pub(crate) fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("a secret")
}

pub(crate) fn principal(secrets: &[&str]) -> Principal {
    Principal::new(SOURCE, STREAM, secrets.iter().map(|text| secret(text))).expect("a principal")
}

/// A receiver on a free port of loopback.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) receiver: Arc<ReferenceReceiver>,
    pub(crate) stop: CancellationToken,
    pub(crate) server: JoinHandle<()>,
}

impl Target {
    pub(crate) async fn new() -> Self {
        Self::with(|push| push.principal(principal(&[SECRET]))).await
    }

    pub(crate) async fn with(
        setup: impl FnOnce(PushReceiver) -> PushReceiver + Send + 'static,
    ) -> Self {
        let receiver = ReferenceReceiver::new();
        let bound = PushListener::bind("127.0.0.1:0", |r| setup(PushReceiver::new(r))).await;
        let listener = bound.expect("listens");
        let (address, stop) = (listener.local_addr(), CancellationToken::new());
        let run = Box::new(listener).run(receiver.clone(), stop.clone());
        let server = tokio::spawn(async { run.await.expect("ends well") });
        Self { address, receiver, stop, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn publisher(&self) -> PushPublisher {
        publisher(&self.url()).build().expect("a publisher")
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn post(&self, request: &Request) -> Answer {
        raw(self.address, &request.bytes()).await
    }
}

pub(crate) fn publisher(url: &str) -> PushPublisherBuilder {
    PushPublisher::builder(url).secret(secret(SECRET)).timeout(AMPLE)
}

/// A push as it stands on the wire, to be changed by hand.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A good one, signed now.
    pub(crate) fn of(batch: &Batch) -> Self {
        Self::signed(&encode_batch(batch).expect("encodes"), SECRET, 0)
    }

    /// `body`, signed so many seconds from now.
    pub(crate) fn signed(body: &[u8], by: &str, seconds: i64) -> Self {
        let (id, timestamp) = ("msg_test", chrono::Utc::now().timestamp() + seconds);
        let headers = vec![
            ("content-type", BATCH_CONTENT_TYPE.to_owned()),
            (SOURCE_HEADER, SOURCE.to_owned()),
            (STREAM_HEADER, STREAM.to_owned()),
            (ID_HEADER, id.to_owned()),
            (TIMESTAMP_HEADER, timestamp.to_string()),
            (SIGNATURE_HEADER, secret(by).sign(id, timestamp, body)),
            ("content-length", body.len().to_string()),
        ];
        Self { line: "POST / HTTP/1.1".into(), headers, body: body.to_vec() }
    }

    /// Replaces a header, or adds it.
    pub(crate) fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.headers.push((name, value.into()));
        self
    }

    /// With a signature that is wrong in its last byte alone, and with one that is cut short.
    pub(crate) fn nearly_signed(&self) -> [Self; 2] {
        let signature = self.headers.iter().find(|(name, _)| *name == SIGNATURE_HEADER);
        let signature = &signature.expect("it is signed").1;
        let (rest, last) = signature.split_at(signature.len() - 2);
        let wrong = format!("{rest}{}", if last == "A=" { "Q=" } else { "A=" });
        // Forty characters hold the first thirty bytes.
        [wrong, signature[.."v1,".len() + 40].to_owned()]
            .map(|wrong| self.clone().set(SIGNATURE_HEADER, wrong))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self
    }

    pub(crate) fn head(&self) -> String {
        let mut head = format!("{}\r\nhost: test\r\nconnection: close\r\n", self.line);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head().into_bytes(), self.body.clone()].concat()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The `detail` of a problem; panics if it is none.
    pub(crate) fn detail(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        assert_eq!(problem["status"], self.status);
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}

/// Writes `bytes` and reads an answer, until the server closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    // The server may answer and close before everything is written.
    let _ = stream.write_all(bytes).await;
    read_answer(&mut stream).await
}

pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = timeout(AMPLE, stream.read_to_end(&mut bytes)).await.expect("an answer in time");
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?}: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let (head, body) = (head.to_ascii_lowercase(), body.to_owned());
    Answer { status: status.expect("a status"), head, body }
}
