//! Not even at the finest level do logs hold a secret, whatever goes wrong.

mod push;

use push::{SECRET, SOURCE, STREAM, Target, publisher};
use syncline::{
    testing::{SampleSource, Temper},
    transport::{
        Publisher,
        http_push::{PushPublisher, Secret},
    },
};
use syncline_tests::logged::Logged;
use tracing_subscriber::filter::LevelFilter;

// The only test of its program, since it sets the program's subscriber.
#[tokio::test]
async fn logs_hold_no_secret() {
    let log = Logged::start(LevelFilter::TRACE);
    let target = Target::new().await;
    let mut source = SampleSource::new(SOURCE, STREAM);
    for temper in [Temper::Willing, Temper::Broken, Temper::Refusing, Temper::Panicking] {
        target.receiver.set(temper);
        let url = format!("{}?token=t0psecret", target.url());
        let _ = publisher(&url).build().expect("a publisher").publish(&source.next(1)).await;
    }
    let other = Secret::parse(push::OLD_SECRET).expect("a secret");
    let forger = PushPublisher::builder(target.url()).secret(other).build().expect("a publisher");
    assert!(forger.publish(&source.next(1)).await.is_err());
    let text = log.text();
    assert!(text.contains("a push was not taken in"), "{text}");
    for secret in [&SECRET[6..], &push::OLD_SECRET[6..], "t0psecret"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{line:?}");
    }
}
