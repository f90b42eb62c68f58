//! The server for routers of ours against clients that are slow on purpose: none of them holds a place
//! that another one needs.
#![cfg(target_os = "linux")] // any 127.0.0.n is an address of this machine

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use futures::stream;
use syncline::transport::http::{ServeOptions, serve_with};
use syncline_tests::relays::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const AMPLE: Duration = Duration::from_secs(30);

/// Serves `app` with options that `change` has changed; until the guard is dropped.
async fn serving(
    app: Router,
    change: impl FnOnce(&mut ServeOptions),
) -> (SocketAddr, tokio_util::sync::DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    let (mut options, stop) = (ServeOptions::default(), CancellationToken::new());
    change(&mut options);
    tokio::spawn(serve_with(listener, app, options, stop.clone()));
    (address, stop.drop_guard())
}

/// A connection from 127.0.0.`last`.
async fn connect(from: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::new(127, 0, 0, from), 0).into()).expect("an address");
    socket.connect(to).await.expect("connects")
}

/// The answer to a request for `/` from 127.0.0.`last`.
async fn ask(from: u8, to: SocketAddr) -> String {
    let mut stream = connect(from, to).await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("writes");
    let mut answer = String::new();
    let read = timeout(AMPLE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an answer");
    answer
}

struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_one_that_reads_is_not() {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let endless = async move || {
        // Dropped with the connection.
        let told = Told(Arc::clone(&told));
        let chunk = move |()| {
            let _held = &told;
            std::future::ready(Some((Ok::<_, Infallible>(vec![b'x'; 64 * 1024]), ())))
        };
        Body::from_stream(stream::unfold((), chunk))
    };
    let long = async || Body::from(vec![b'y'; 32 << 20]);
    let app = Router::new().route("/endless", get(endless)).route("/", get(long));
    let limit = Duration::from_secs(3);
    let (address, _guard) = serving(app, |options| options.write = limit).await;
    let mut stream = connect(2, address).await;
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("writes");
    eventually("it is cut off", async || ended.load(Ordering::SeqCst).then_some(())).await;
    let answer = ask(1, address).await;
    assert!(answer.len() > 32 << 20, "{} bytes of a long answer", answer.len());
}

#[tokio::test]
async fn half_heads_and_half_bodies_make_room_for_another_client() {
    let app = Router::new().route("/", get(async || "well").post(async |_: String| "well"));
    let (address, _guard) =
        serving(app, |options| (options.connections, options.per_address) = (8, 4)).await;
    let halves = ["GET / HT", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx", ""];
    // From many addresses, then from the client's own.
    for addresses in [&[2, 3, 4, 5, 6][..], &[1]] {
        let mut held = Vec::new();
        for n in 0..30 {
            let mut stream = connect(addresses[n % addresses.len()], address).await;
            // The connection may have made room already.
            let _ = stream.write_all(halves[n % halves.len()].as_bytes()).await;
            held.push(stream);
        }
        for _ in 0..20 {
            let answer = ask(1, address).await;
            assert!(answer.ends_with("well"), "{answer:?}");
        }
        drop(held);
    }
}

#[tokio::test]
async fn who_is_being_answered_keeps_its_place_and_the_others_are_refused() {
    let (open, opened) = tokio::sync::watch::channel(false);
    let arrived = Arc::new(AtomicUsize::new(0));
    let arrives = Arc::clone(&arrived);
    let waits = async move || {
        let mut opened = opened.clone();
        arrives.fetch_add(1, Ordering::SeqCst);
        opened.wait_for(|open| *open).await.map_or("gone", |_| "well")
    };
    let app = Router::new().route("/", get(waits));
    let (address, _guard) = serving(app, |options| options.per_address = 2).await;
    let asking = [1, 1].map(|from| tokio::spawn(ask(from, address)));
    let both = async || (arrived.load(Ordering::SeqCst) == 2).then_some(());
    eventually("both are being answered", both).await;
    let (mut third, mut answer) = (connect(1, address).await, Vec::new());
    let closed = timeout(AMPLE, third.read_to_end(&mut answer)).await;
    assert!(closed.is_ok() && answer.is_empty(), "{closed:?}");
    open.send(true).expect("somebody waits");
    for asked in asking {
        assert!(asked.await.expect("no panic").ends_with("well"));
    }
}
