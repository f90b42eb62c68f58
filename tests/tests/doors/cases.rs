//! The table: messages as every door may get them, what `enqueue` says to each, and the doors that
//! rightly say something else.

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// `syncline::enqueue`.
    Enqueue,
    /// `syncline_enqueue`, in SQL.
    Function,
    /// A plain INSERT into `syncline_outbox`.
    Insert,
    /// A plain CloudEvent over HTTP.
    Foreign,
    /// `syncline::held::edit`, which `syncline dead edit` calls: payloads only.
    DeadEdit,
    /// The output of a saga's step: JSON only.
    SagaOutput,
}

const UNREAD: &str = "the table does not read payloads, which would cost each INSERT: the message \
                      travels as bytes, and its handler refuses it";
const LARGE: &str = "the table takes what any service may allow itself by `enqueue_within`: 4 MiB";
const LEFT_OUT: &str =
    "the table asks for a JSON object; a header that is none is left out and logged";
const KEPT: &str = "a step's output is read again by later steps, as the value that it was: what would \
                    come back as another is refused";
const AROUND: &str =
    "a command or a reply around an output has levels of its own: 60 are the output's";

/// One message, and what is expected.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) content_type: String,
    pub(crate) schema_version: i32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) data: Vec<u8>,
    pub(crate) idempotency_key: Option<String>,
    /// RFC 3339.
    pub(crate) deliver_at: Option<String>,
    /// Only its payload is of interest: also for doors that take nothing else.
    pub(crate) payload: bool,
    /// Whether `enqueue` takes it.
    pub(crate) taken: bool,
    /// The doors that rightly say the opposite, and why.
    pub(crate) unlike: Vec<(Door, &'static str)>,
}

impl Case {
    fn new(name: impl Into<String>, taken: bool) -> Self {
        Self {
            name: name.into(),
            topic: "doors.case".into(),
            key: Some("k".into()),
            content_type: "application/json".into(),
            schema_version: 1,
            headers: Vec::new(),
            data: b"1".to_vec(),
            idempotency_key: None,
            deliver_at: None,
            payload: false,
            taken,
            unlike: Vec::new(),
        }
    }

    /// A payload of a content type.
    fn payload(content_type: &str, data: impl Into<Vec<u8>>, taken: bool) -> Self {
        let data = data.into();
        let name = String::from_utf8_lossy(&data[..data.len().min(40)]).into_owned();
        let (content_type, payload) = (content_type.to_owned(), true);
        let name = format!("{content_type}: {name:?}, {} bytes", data.len());
        Self { content_type, data, payload, ..Self::new(name, taken) }
    }

    fn unlike(mut self, door: Door, why: &'static str) -> Self {
        self.unlike.push((door, why));
        self
    }

    /// Whether `door` is to take it.
    pub(crate) fn expected(&self, door: Door) -> bool {
        self.taken != self.unlike.iter().any(|(unlike, _)| *unlike == door)
    }
}

/// `levels` of arrays and objects in turn.
fn nested(levels: usize, arrays: bool) -> String {
    let [open, close] = if arrays { ["[", "]"] } else { [r#"{"a":"#, "}"] };
    format!("{}1{}", open.repeat(levels), close.repeat(levels))
}

const JSON: &str = "application/json";

/// JSON by its grammar (RFC 8259): to be kept to the byte.
fn json() -> Vec<Case> {
    let mut cases = Vec::new();
    for text in [
        "{}",
        "[]",
        "0",
        "-0",
        "0e5",
        "-0.0",
        "1E+2",
        "12.5e-3",
        "true",
        "null",
        " 1\n",
        "\t[ 1 ,\r\n{ } ]",
        r#""""#,
        r#""é 🔑""#,
        r#""\\x""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\ud83d\udd11""#,
        r#""\u0000""#,
        "\"\u{7f}\u{2028}\"",
        r#"{"":{"a":[1,"b",null]},"c":[[],{}]}"#,
        r#""[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[""#,
    ] {
        cases.push(Case::payload(JSON, text, true));
    }
    for text in [
        r#""\ud800""#,
        r#"{"a":"\udc00x"}"#,
        "1e400",
        "123456789012345678901234567890",
        r#"{"a":1,"a":2}"#,
    ] {
        cases.push(Case::payload(JSON, text, true).unlike(Door::SagaOutput, KEPT));
    }
    for arrays in [true, false] {
        cases.push(Case::payload(JSON, nested(60, arrays), true));
        cases.push(Case::payload(JSON, nested(64, arrays), true).unlike(Door::SagaOutput, AROUND));
        for deep in [nested(65, arrays), nested(50_000, arrays)] {
            cases.push(Case::payload(JSON, deep, false).unlike(Door::Insert, UNREAD));
        }
    }
    // As many tokens as a mebibyte holds.
    cases.push(Case::payload(JSON, format!("[{}0]", "0,".repeat((1 << 19) - 2)), true));
    cases.push(Case::payload(JSON, format!("\"{}\"", "\\n".repeat((1 << 19) - 1)), true));
    let bad: [&[u8]; 53] = [
        b"",
        b" ",
        b"\"\\x\"",
        b"\"\\\\\\x\"",
        b"1.",
        b"1.e5",
        b".5",
        b"01",
        b"-01",
        b"-",
        b"- 1",
        b"+1",
        b"1e",
        b"1e+",
        b"1e+-5",
        b"0x1",
        b"1 2",
        b"1 .5",
        b"tru",
        b"tr ue",
        b"True",
        b"nullnull",
        b"NaN",
        b"Infinity",
        b"'a'",
        b"a",
        b",",
        b"{",
        b"]",
        b"[1]]",
        b"[1] 2",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"[1}",
        b"{\"a\":}",
        b"{\"a\" 1}",
        b"{\"a\":1,}",
        b"{\"a\":1 \"b\":2}",
        b"{a:1}",
        b"{1:2}",
        b"{[]:1}",
        b"{\"a\":1:2}",
        b"\"",
        b"\"a",
        b"\"a\"\"b\"",
        b"\"\\u12g4\"",
        b"\"\t\"",
        b"\"\0\"",
        b"\x0b1",
        b"\xef\xbb\xbf1",
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
    ];
    for text in bad {
        cases.push(Case::payload(JSON, text, false).unlike(Door::Insert, UNREAD));
    }
    for kind in ["application/vnd.x+json", "Application/JSON; charset=utf-8"] {
        cases.push(Case::payload(kind, "[1.0]", true));
        cases.push(Case::payload(kind, "[1.]", false).unlike(Door::Insert, UNREAD));
    }
    cases
}

/// Payloads of other types, which nobody reads, and sizes.
fn bytes() -> Vec<Case> {
    let large = vec![b'x'; (1 << 20) + 1];
    let headers = vec![("n".to_owned(), "v".to_owned())];
    let room = vec![b'x'; (1 << 20) - 2];
    let full = Case { headers: headers.clone(), ..Case::payload("text/plain", room.clone(), true) };
    let over = Case { headers, ..Case::payload("text/plain", [&room[..], b"x"].concat(), false) };
    vec![
        Case::payload("text/plain", "", true),
        Case::payload("text/plain", b"\0\xff\\'".to_vec(), true),
        Case::payload("text/json", "{", true),
        Case::payload("application/octet-stream", &large[1..], true),
        Case::payload("application/octet-stream", large, false).unlike(Door::Insert, LARGE),
        Case { payload: false, ..full },
        Case { payload: false, ..over.unlike(Door::Insert, LARGE) },
    ]
}

fn attributes() -> Vec<Case> {
    let mut cases = Vec::new();
    let (taken, refused) = (true, false);
    let longest = "x".repeat(120);
    for (topic, taken) in [
        ("a", taken),
        ("A-b_c.9", taken),
        (&longest[..], taken),
        ("syncline", taken),
        ("synclines.link", taken),
        ("", refused),
        ("a b", refused),
        (".a", refused),
        ("a.", refused),
        ("a..b", refused),
        ("ü", refused),
        ("a'b", refused),
        ("a\n", refused),
        ("a\0b", refused),
        ("*", refused),
        ("syncline.link", refused),
        ("syncline.x", refused),
        (&"x".repeat(121)[..], refused),
        (&"x".repeat(600)[..], refused),
    ] {
        cases.push(Case { topic: topic.into(), ..Case::new(format!("topic {topic:?}"), taken) });
    }
    for (key, taken) in [
        (" a ", taken),
        ("ключ 🔑", taken),
        ("'\"\\%_`$?", taken),
        ("a\u{200b}b", taken),
        (&"k".repeat(255)[..], taken),
        ("", refused),
        ("a\nb", refused),
        ("a\0b", refused),
        ("\u{7f}", refused),
        ("\u{85}", refused),
        (&"k".repeat(256)[..], refused),
        (&"é".repeat(128)[..], refused),
        (&"k".repeat(600)[..], refused),
    ] {
        let named = |what| Case::new(format!("{what} {key:?}"), taken);
        cases.push(Case { key: Some(key.into()), ..named("key") });
        cases.push(Case { idempotency_key: Some(key.into()), ..named("idempotency key") });
    }
    cases.push(Case { key: None, ..Case::new("no key", true) });
    for (kind, taken) in [
        ("a b", taken),
        ("text/plain; charset=utf-8", taken),
        (&longest[..], taken),
        ("", refused),
        ("text/ü", refused),
        ("text/plain\n", refused),
        (&"x".repeat(121)[..], refused),
        (&"x".repeat(600)[..], refused),
    ] {
        let named = Case::new(format!("content type {kind:?}"), taken);
        cases.push(Case { content_type: kind.into(), ..named });
    }
    for (version, taken) in [(i32::MAX, taken), (0, refused), (-1, refused), (-7, refused)] {
        let named = Case::new(format!("schema version {version}"), taken);
        cases.push(Case { schema_version: version, ..named });
    }
    cases
}

fn headers() -> Vec<Case> {
    let (taken, refused) = (true, false);
    let named = |name: &str, value: &str, taken: bool| {
        let text = format!("header {:?}: {:?}", name, value.chars().take(20).collect::<String>());
        let case = Case { headers: vec![(name.into(), value.into())], ..Case::new(text, taken) };
        if taken { case } else { case.unlike(Door::Insert, LEFT_OUT) }
    };
    vec![
        named("n", "", taken),
        named(&"n".repeat(20), "v", taken),
        named("n", "ü \"\\/' 🔑", taken),
        named("n", &"v".repeat(4_096), taken),
        named("", "v", refused),
        named("Bad", "v", refused),
        named("a-b", "v", refused),
        named("a\"b", "v", refused),
        named("a ", "v", refused),
        named("previd", "v", refused),
        named("foreignid", "v", refused),
        named(&"n".repeat(21), "v", refused),
        named(&"n".repeat(200), "v", refused),
        named("n", "a\nb", refused),
        named("n", "\u{85}", refused),
        named("n", &"v".repeat(4_097), refused),
    ]
}

fn times() -> Vec<Case> {
    let (taken, refused) = (true, false);
    let times = [
        ("2999-01-31T00:00:00Z", taken),
        ("2999-01-31T00:00:00.123456+05:30", taken),
        ("2996-02-29T23:59:59-11:00", taken),
        ("1000-01-01T00:00:00Z", taken),
        ("9998-12-31T23:59:59Z", taken),
        ("0999-12-31T23:59:59Z", refused),
        ("1000-01-01T00:30:00+01:00", refused),
        ("9998-12-31T23:59:59-01:00", refused),
        ("9999-01-01T00:00:00Z", refused),
        ("9999-12-30T00:00:00Z", refused),
    ];
    let case = |(time, taken): (&str, bool)| Case {
        deliver_at: Some(time.into()),
        ..Case::new(format!("deliver at {time}"), taken)
    };
    times.map(case).to_vec()
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    [json(), bytes(), attributes(), headers(), times()].concat()
}

/// Arguments that no other door has, as SQL. Each is refused by `syncline_enqueue` itself.
pub(crate) const POSTGRES_ONLY: &[&str] = &[
    "'a', data => '1'::text, delay => interval '-1 s'",
    "'a', data => '1'::text, delay => interval '100000 years'",
    "'a', data => '1'::text, delay => interval '1 s', deliver_at => now()",
    "'a', data => '1'::text, deliver_at => 'infinity'",
    "'a', data => '1'::text, deliver_at => '-infinity'",
    "'a', data => '1'::text, deliver_at => '0044-03-15 BC'",
    "'a', data => '1'::text, deliver_at => '200000-01-01'",
    "'a', data => '1'::text, headers => '[]'",
    "'a', data => '1'::text, headers => '{\"n\": 1}'",
];

/// Options that no other door has: each is refused by `syncline_enqueue` itself.
pub(crate) const MARIADB_ONLY: &[&str] = &[
    "",
    "1",
    "{",
    r#"{"": 1}"#,
    r#"{"a\"b": 1}"#,
    r#"{"a\\": 1}"#,
    r#"{"$": 1}"#,
    r#"{"headers ": {}}"#,
    r#"{"Headers": {}}"#,
    r#"{"nonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsensenonsense": 1}"#,
    r#"{"headers": null}"#,
    r#"{"headers": {"n": 1}}"#,
    r#"{"headers": {"n": null}}"#,
    r#"{"headers": {"n": "\x"}}"#,
    r#"{"headers": {"n": "\ud800"}}"#,
    r#"{"content_type": 1}"#,
    r#"{"schema_version": "1"}"#,
    r#"{"schema_version": 1.5}"#,
    r#"{"schema_version": 1.}"#,
    r#"{"schema_version": 99999999999}"#,
    r#"{"id": "0123456789abcdef0123456789abcdef"}"#,
    r#"{"id": "01234567-89ab-7def-8123-456789abcdeg"}"#,
    r#"{"id": "0123456-789ab-7def-8123-456789abcdef"}"#,
    r#"{"idempotency_key": 5}"#,
    r#"{"delay_ms": -1}"#,
    r#"{"delay_ms": "5"}"#,
    r#"{"delay_ms": 1.5}"#,
    r#"{"delay_ms": 99999999999999}"#,
    r#"{"delay_ms": 1, "deliver_at": "2030-01-01 00:00:00"}"#,
    r#"{"deliver_at": 5}"#,
    r#"{"deliver_at": ""}"#,
    r#"{"deliver_at": "soon"}"#,
    r#"{"deliver_at": "2030-01-01"}"#,
    r#"{"deliver_at": "2030-02-29 00:00:00"}"#,
    r#"{"deliver_at": "2030-00-01 00:00:00"}"#,
    r#"{"deliver_at": "2030-01-01 24:00:00"}"#,
    r#"{"deliver_at": "2030-01-01 00:00:60"}"#,
    r#"{"deliver_at": "2030-01-01 00:00:00+1"}"#,
    r#"{"deliver_at": "2030-01-01 00:00:00+24:00"}"#,
    r#"{"deliver_at": "2030-01-01 00:00:00Z\n"}"#,
];
