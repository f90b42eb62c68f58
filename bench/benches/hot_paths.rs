//! What happens in process for each message or event: `cargo bench -p syncline-bench`.

use std::{hint::black_box, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use syncline::{
    Envelope, Message,
    message::{
        Batch, Limits, Link, Origin, Position, decode_batch, decode_envelope, encode_batch,
        encode_envelope, shard_of,
    },
    saga::{Event, Plan, State, Step, decide},
    transport::http_push::Secret,
};
use uuid::Uuid;

const MESSAGES: usize = 2_000;

fn message(n: usize) -> Message {
    let payload = serde_json::json!({ "n": n, "pad": "x".repeat(118) });
    let message = Message::json("bench.message", &payload).expect("JSON");
    message.key(format!("key {}", n % 100))
}

fn batch() -> Batch {
    let origin = Arc::new(Origin {
        source: "/bench".to_owned(),
        incarnation: Uuid::now_v7(),
        stream: "all".to_owned(),
        version: 1,
        shard: 0,
    });
    let mut prev = Link::anchor(Position(0));
    let envelope = |n: usize| {
        let (origin, message) = (Arc::clone(&origin), message(n));
        let envelope =
            Envelope { origin, position: Position(n as i64 + 1), prev, message: message.into() };
        prev = envelope.link();
        envelope
    };
    let messages: Vec<_> = (0..MESSAGES).map(envelope).collect();
    let (through, last) = (prev.position, prev);
    Batch { origin: Arc::clone(&origin), messages, through, last, handover: None, continues: None }
}

fn envelopes(criterion: &mut Criterion) {
    let batch = batch();
    let envelope = &batch.messages[0];
    let text = encode_envelope(envelope).expect("encodes");
    let body = encode_batch(&batch).expect("encodes");
    let mut group = criterion.benchmark_group("message");
    group.bench_function("make", |b| b.iter(|| message(black_box(7))));
    let limits = Limits::DEFAULT;
    group.bench_function("validate", |b| b.iter(|| black_box(&envelope.message).validate(&limits)));
    group.bench_function("shard", |b| b.iter(|| shard_of(black_box(&envelope.message), 64)));
    group.bench_function("encode", |b| b.iter(|| encode_envelope(black_box(envelope))));
    group.bench_function("decode", |b| b.iter(|| decode_envelope(black_box(&text))));
    group.finish();
    let mut group = criterion.benchmark_group("batch of 2,000");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    group.bench_function("encode", |b| b.iter(|| encode_batch(black_box(&batch))));
    group.bench_function("decode", |b| b.iter(|| decode_batch(black_box(&body))));
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    group.bench_function("sign", |b| {
        b.iter(|| secret.sign("msg_1", 1_614_265_330, black_box(&body)))
    });
    group.finish();
}

fn sagas(criterion: &mut Criterion) {
    let plan = Plan::builder("order", 1)
        .step(Step::remote("reserve-credit").compensated())
        .step(Step::remote("reserve-stock").compensated())
        .step(Step::local("approve").pivot())
        .build()
        .expect("a plan");
    let state = State::new(&plan);
    criterion.bench_function("saga: decide", |b| {
        b.iter(|| decide(black_box(&plan), black_box(&state), &Event::Started));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).without_plots();
    targets = envelopes, sagas
}
criterion_main!(benches);
