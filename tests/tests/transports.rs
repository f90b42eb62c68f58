//! Every transport passes the universal suite.

use std::time::Duration;

use syncline::{
    testing::transport_suite::{SOURCE, STREAM},
    transport::{
        Publisher, Subscriber,
        http_push::{Principal, PushListener, PushPublisher, PushReceiver, Secret},
        in_process,
    },
};

async fn channel(limit: Duration) -> (impl Publisher, impl Subscriber) {
    let (publisher, subscriber) = in_process::channel(4);
    (publisher.timeout(limit), subscriber)
}

async fn push(limit: Duration) -> (impl Publisher, impl Subscriber) {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    let principal = Principal::new(SOURCE, STREAM, [secret.clone()]).expect("a principal");
    let setup = |receiver| PushReceiver::new(receiver).principal(principal);
    let listener = PushListener::bind("127.0.0.1:0", setup).await.expect("listens");
    let publisher = PushPublisher::builder(listener.url()).secret(secret).timeout(limit).build();
    (publisher.expect("a publisher"), listener)
}

mod in_process_channel {
    syncline::transport_suite!(super::channel);
}

mod http_push {
    syncline::transport_suite!(super::push);
}
