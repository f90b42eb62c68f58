use std::sync::Arc;

use uuid::Uuid;

use super::{
    super::{Link, Message, Position, TakenOver},
    *,
};

fn batch() -> Batch {
    let origin = Arc::new(Origin {
        source: "/shop/orders".into(),
        incarnation: Uuid::from_u128(7),
        stream: "orders".into(),
        version: 2,
        shard: 0,
    });
    let first = Message::new("order.placed", "application/json", r#"{"n": 1e400, "s":"\u0000"}"#)
        .key("ключ \"1\" 🔑")
        .header("traceparent", "00-ab-cd-01");
    let second = Message::new("order.noted", "application/octet-stream", vec![0, 255, 3]);
    let prev = Link { position: Position(3), id: Uuid::from_u128(3) };
    let mid = Link { position: Position(5), id: first.id };
    let last = Link { position: Position(9), id: second.id };
    let messages = vec![
        Envelope {
            origin: Arc::clone(&origin),
            position: mid.position,
            prev,
            message: first.into(),
        },
        Envelope {
            origin: Arc::clone(&origin),
            position: last.position,
            prev: mid,
            message: second.into(),
        },
    ];
    let topics = vec![TopicPattern::from("order.*"), TopicPattern::from("note")];
    let (stream, note) = ("all orders".to_owned(), TopicPattern::from("note"));
    let from = vec![TakenOver { stream, version: 3, shards: 2, topics: vec![note] }];
    let handover = Arc::new(HandOver { shards: 4, topics, through: Position(2), from });
    let (former, agreed) = (Uuid::from_u128(6), Position(2));
    let old = Link { position: Position(1), id: Uuid::from_u128(8) };
    let continues = Some(Arc::new(Continues { former, agreed, last: old }));
    let (through, handover) = (Position(12), Some(handover));
    Batch { origin, messages, through, last, handover, continues }
}

#[test]
fn a_batch_reads_back_as_it_was_written_to_the_byte() {
    let batch = batch();
    let bytes = encode_batch(&batch).expect("encodes");
    assert_eq!(decode_batch(&bytes).expect("decodes"), batch);
    let one = encode_envelope(&batch.messages[0]).expect("encodes");
    assert_eq!(decode_envelope(&one).expect("decodes"), batch.messages[0]);
    let events: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_slice(&bytes.replace_huge()).expect("plain JSON");
    assert_eq!(events.len(), 3);
    assert!(events.iter().flat_map(|e| e.keys()).all(|name| {
        name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    }));
}

trait ReplaceHuge {
    fn replace_huge(&self) -> Vec<u8>;
}
impl ReplaceHuge for Vec<u8> {
    fn replace_huge(&self) -> Vec<u8> {
        String::from_utf8_lossy(self).replace("1e400", "1").into_bytes()
    }
}

#[test]
fn batches_that_skip_reorder_or_mix_origins_are_refused() {
    let good = batch();
    let broken = |change: fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        decode_batch(&encode_batch(&batch).expect("encodes")).is_err()
    };
    assert!(!broken(|_| {}));
    assert!(broken(|b| b.messages.swap(0, 1)));
    assert!(broken(|b| b.messages[1].prev.id = Uuid::nil()));
    assert!(broken(|b| b.last = Link::START));
    assert!(broken(|b| b.through = Position(1)));
    assert!(broken(|b| {
        let other = Origin { version: 1, ..(*b.origin).clone() };
        b.messages[0].origin = Arc::new(other);
    }));
    assert!(broken(|b| {
        let other = Origin { source: "/other".into(), ..(*b.origin).clone() };
        b.messages[0].origin = Arc::new(other);
    }));
    for text in ["", "[]", "{}", "[1]", "[{}]", "[{\"specversion\":\"1.0\"}]"] {
        assert!(decode_batch(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn members_of_wrong_types_are_refused_and_null_is_not_there() {
    let bytes = encode_envelope(&batch().messages[0]).expect("encodes");
    let text = String::from_utf8(bytes).expect("text");
    let with =
        |member: &str| decode_envelope(text.replacen('{', &format!("{{{member},"), 1).as_bytes());
    let plain = decode_envelope(text.as_bytes()).expect("decodes");
    assert_eq!(with(r#""tenant":null"#).expect("an attribute that is not set"), plain);
    assert_eq!(with(r#""n":-5"#).expect("an integer").message.headers["n"], "-5");
    for bad in [
        r#""tenant":{}"#,
        r#""tenant":["north"]"#,
        r#""tenant":1.5"#,
        r#""tenant":2147483648"#,
        r#""tenant":"\ud800""#,
        r#""data_base64":"AA==""#,
        r#""data_base64":12"#,
    ] {
        with(bad).expect_err(bad);
    }
}
