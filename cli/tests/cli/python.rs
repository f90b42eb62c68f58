//! The example in docs/python, end to end: a service in Python, `syncline relay` beside it, a
//! consumer in Rust and a receiver in Python.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sqlx::Pool;
use syncline_tests::kit::Kit;

use crate::{
    on_each,
    relay::{Process, SECRET, Target, relay},
    syncline,
};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/python");
const ORDERS: usize = 30;

/// Starts a program of the example, which says where it listens.
fn program(python: &str, name: &str, database: &str, directory: &Path) -> (Process, String) {
    let mut command = Command::new(python);
    command.arg(Path::new(EXAMPLE).join(name)).args(["--port", "0", "--database", database]);
    command.env("SECRET", SECRET).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut process = Process::start(command, directory);
    let address = process.says("listening on http://");
    (process, address)
}

/// One request, and its status and body.
fn ask(address: &str, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let length = body.len();
    write!(stream, "{head}\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{answer}")), body.to_owned())
}

fn put(address: &str, path: &str) -> u16 {
    ask(address, &format!("PUT {path} HTTP/1.0"), "").0
}

on_each!(orders_of_a_service_in_python_are_applied_once_by_rust_and_by_python);

mod case {
    use super::*;

    pub(super) async fn orders_of_a_service_in_python_are_applied_once_by_rust_and_by_python<
        DB: Kit,
    >(
        url: &str,
    ) {
        let Some(python) = syncline_tests::servers::python() else { return };
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path();
        syncline(url, "migrate up").expect(0);
        let (service, address) = program(&python, "service.py", url, directory);
        let inbox = directory.join("receiver.db").display().to_string();
        let (receiver, shipping) = program(&python, "receiver.py", &inbox, directory);
        let target = Target::start("/shop/orders", "orders").await;
        let config = std::fs::read_to_string(Path::new(EXAMPLE).join("relay.toml"));
        let config = config
            .expect("the example's configuration")
            .replace("http://127.0.0.1:8082/", &target.url)
            .replace("127.0.0.1:8083", &shipping);
        // A killed relay's work must not rest for long.
        let config = format!("{config}\n[relay]\nlease_ms = 900\nmax_backoff_ms = 500\n");
        let mut running = relay(url, &config, directory);
        for order in 0..ORDERS {
            let path = format!("/orders/o-{order}");
            assert_eq!([put(&address, &path), put(&address, &path)], [201, 200], "{path}");
            if order % 10 == 5 {
                running.kill().await;
                running = relay(url, &config, directory);
            }
            let paid = format!("{path}/paid");
            assert_eq!([put(&address, &paid), put(&address, &paid)], [200, 200], "{paid}");
        }
        assert_eq!(put(&address, "/orders/nobody/paid"), 404);
        target.applied(2 * ORDERS).await;
        for order in 0..ORDERS {
            let began = Instant::now();
            loop {
                let (_, versions) = ask(&shipping, &format!("GET /orders/o-{order} HTTP/1.0"), "");
                if versions == "[1, 2]" {
                    break;
                }
                let log = receiver.log();
                assert!(began.elapsed() < Duration::from_secs(60), "{order}: {versions} {log}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let forged = "POST /syncline HTTP/1.0\r\nwebhook-id: x\r\nwebhook-timestamp: 1\r\n\
                      webhook-signature: v1,AAAA";
        assert_eq!(ask(&shipping, forged, "[]").0, 401);
        let pool: Pool<DB> = DB::connect(url, 1).await.expect("connect");
        assert_eq!(DB::head(&pool).await.expect("head").0, 2 * ORDERS as i64, "one message each");
        running.kill().await;
        service.kill().await;
        receiver.kill().await;
    }
}
