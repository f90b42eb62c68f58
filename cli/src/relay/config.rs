//! The configuration of `syncline relay`. What is wrong with it is told by file and line; no text
//! shows a value that may be a secret.

use std::{
    fs,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use syncline::{
    Route, Start, Stream,
    message::Position,
    relay::RelayOptions,
    transport::{
        http_feed::{FeedConfigError, Reader, Token, TokenHash},
        http_push::{PushPublisher, Secret},
    },
};
use toml::Spanned;

use super::given::{Names, all, from_env, from_file};
use crate::failure::Failure;

/// How long a stop may take unless the configuration says otherwise.
const STOP: Duration = Duration::from_secs(10);

/// What the relay is to do.
pub(crate) struct Config {
    pub(crate) database_url: Option<String>,
    pub(super) source: String,
    pub(super) streams: Vec<Stream>,
    pub(super) routes: Vec<Route>,
    pub(super) leaves: Vec<String>,
    pub(super) feed: Option<Feed>,
    pub(super) options: Options,
    pub(super) stop: Duration,
    pub(super) wrong: Wrong,
}

/// Where the feed listens, and who may read it.
pub(super) struct Feed {
    pub(super) listen: SocketAddr,
    pub(super) readers: Vec<Reader>,
    /// The streams that they read.
    pub(super) streams: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: Spanned<String>,
    #[serde(default)]
    database: Database,
    #[serde(default)]
    stream: Vec<Spanned<StreamTable>>,
    #[serde(default)]
    route: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    leaves: Vec<String>,
    feed: Option<Spanned<FeedTable>>,
    #[serde(default)]
    relay: Options,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Database {
    url: Option<String>,
    url_env: Option<Spanned<String>>,
    url_file: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamTable {
    name: String,
    topics: Vec<String>,
    shards: Option<i32>,
    replaces: Option<i32>,
    #[serde(default)]
    shares_topics: bool,
    #[serde(default)]
    drops: Vec<String>,
}

impl StreamTable {
    fn stream(self) -> Stream {
        let stream = self.topics.into_iter().fold(Stream::new(self.name), Stream::topic);
        let stream = self.drops.into_iter().fold(stream, Stream::drops);
        let stream = stream.shards(self.shards.unwrap_or(1));
        let stream = if self.shares_topics { stream.shares_topics() } else { stream };
        self.replaces.into_iter().fold(stream, Stream::replaces)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    name: String,
    stream: String,
    url: String,
    #[serde(default)]
    secret_env: Names,
    #[serde(default)]
    secret_file: Names,
    start: Option<Begin>,
    start_position: Option<i64>,
    timeout_ms: Option<NonZeroU64>,
    connect_timeout_ms: Option<NonZeroU64>,
    max_body: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Begin {
    Beginning,
    Now,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedTable {
    listen: SocketAddr,
    #[serde(default)]
    reader: Vec<Spanned<ReaderTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReaderTable {
    stream: String,
    topics: Vec<String>,
    #[serde(default)]
    token_env: Names,
    #[serde(default)]
    token_file: Names,
}

/// The relay's options that are given.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    batch_messages: Option<NonZeroU32>,
    batch_bytes: Option<NonZeroUsize>,
    window: Option<NonZeroUsize>,
    seal_messages: Option<NonZeroU32>,
    lease_ms: Option<NonZeroU64>,
    idle_ms: Option<NonZeroU64>,
    max_backoff_ms: Option<NonZeroU64>,
    checkpoint_every_ms: Option<NonZeroU64>,
    progress_every_ms: Option<NonZeroU64>,
    ask_every_ms: Option<NonZeroU64>,
    unread_after_ms: Option<NonZeroU64>,
    cache_bytes: Option<usize>,
    stop_ms: Option<NonZeroU64>,
    /// The longest time that a route gives its target.
    #[serde(skip)]
    slowest: Option<Duration>,
}

impl Options {
    pub(super) fn apply(&self, relay: &mut RelayOptions) {
        let times = [
            (&mut relay.lease, self.lease_ms),
            (&mut relay.idle, self.idle_ms),
            (&mut relay.max_backoff, self.max_backoff_ms),
            (&mut relay.checkpoint_every, self.checkpoint_every_ms),
            (&mut relay.progress_every, self.progress_every_ms),
            (&mut relay.ask_every, self.ask_every_ms),
            (&mut relay.unread_after, self.unread_after_ms),
        ];
        for (time, given) in times {
            *time = given.map_or(*time, millis);
        }
        let get = |given: Option<NonZeroU32>, else_: u32| given.map_or(else_, NonZeroU32::get);
        relay.batch_messages = get(self.batch_messages, relay.batch_messages);
        relay.seal_messages = get(self.seal_messages, relay.seal_messages);
        relay.batch_bytes = self.batch_bytes.map_or(relay.batch_bytes, NonZeroUsize::get);
        relay.window = self.window.map_or(relay.window, NonZeroUsize::get);
        relay.cache_bytes = self.cache_bytes.unwrap_or(relay.cache_bytes);
        // The publisher's limit is the one that was given, and not the relay's.
        let slowest = self.slowest.unwrap_or_default().saturating_add(Duration::from_secs(5));
        relay.publish_within = relay.publish_within.max(slowest);
    }
}

fn millis(millis: NonZeroU64) -> Duration {
    Duration::from_millis(millis.get())
}

/// Says what is wrong with the configuration, and where.
pub(super) struct Wrong {
    path: PathBuf,
    /// The lines of what is defined: what it is, its name, and its line.
    lines: Vec<(&'static str, String, usize)>,
}

impl Wrong {
    fn at(&self, line: usize, problem: &str) -> Failure {
        Failure::usage(format!("{} line {line}: {problem}", self.path.display()))
    }

    /// A stream that the configuration declares would reach nobody.
    pub(super) fn unreached(&self, stream: &str, problem: &str) -> Failure {
        Failure::failing(self.say("stream", stream, problem).message())
    }

    /// What the library says is wrong with the definition `name`.
    pub(super) fn say(&self, what: &str, name: &str, problem: &str) -> Failure {
        let known = self.lines.iter().rfind(|(kind, known, _)| *kind == what && known == name);
        match known {
            Some((_, _, line)) => self.at(*line, problem),
            None => Failure::usage(format!("{}: {problem}", self.path.display())),
        }
    }
}

impl Config {
    /// Reads `path`, and what it names in the environment and in other files.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let mut wrong = Wrong { path: path.to_owned(), lines: Vec::new() };
        let line = |start: usize| 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            wrong.at(line(start), &without_values(error.message()))
        })?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let at = line(file.source.span().start);
        let source = file.source.into_inner();
        wrong.lines.push(("relay", source.clone(), at));
        let mut streams = Vec::new();
        for table in file.stream {
            let at = line(table.span().start);
            let stream = table.into_inner().stream();
            wrong.lines.push(("stream", stream.name().to_owned(), at));
            streams.push(stream);
        }
        let (mut routes, mut slowest) = (Vec::new(), None);
        for table in file.route {
            let at = line(table.span().start);
            let table = table.into_inner();
            wrong.lines.push(("route", table.name.clone(), at));
            let name = table.name.clone();
            slowest = slowest.max(table.timeout_ms.map(millis));
            let route = route(directory, table);
            routes.push(route.map_err(|e| wrong.at(at, &format!("route {name:?}: {e}")))?);
        }
        let mut feed = None;
        if let Some(table) = file.feed {
            let FeedTable { listen, reader: tables } = table.into_inner();
            let (mut readers, mut read) = (Vec::new(), Vec::new());
            for table in tables {
                let at = line(table.span().start);
                let table = table.into_inner();
                if !streams.iter().any(|stream| stream.name() == table.stream) {
                    let problem = format!("reader: its stream {:?} is not declared", table.stream);
                    return Err(wrong.at(at, &problem));
                }
                read.push(table.stream.clone());
                let known = reader(directory, table);
                readers.extend(known.map_err(|e| wrong.at(at, &format!("reader: {e}")))?);
            }
            feed = Some(Feed { listen, readers, streams: read });
        }
        let Database { url, url_env, url_file } = file.database;
        let database_url = match (url, url_env, url_file) {
            (url, None, None) => url,
            (None, Some(name), None) => {
                let at = line(name.span().start);
                Some(
                    from_env(name.get_ref())
                        .map_err(|e| wrong.at(at, &format!("database: {e}")))?,
                )
            }
            (None, None, Some(name)) => {
                let at = line(name.span().start);
                let url = from_file(directory, name.get_ref());
                Some(url.map_err(|e| wrong.at(at, &format!("database: {e}")))?)
            }
            _ => return Err(wrong.say("", "", "database: give one of url, url_env and url_file")),
        };
        let stop = file.relay.stop_ms.map_or(STOP, millis);
        let options = Options { slowest, ..file.relay };
        let leaves = file.leaves;
        Ok(Self { database_url, source, streams, routes, leaves, feed, options, stop, wrong })
    }
}

fn route(directory: &Path, table: RouteTable) -> Result<Route, String> {
    let secrets = all(directory, &table.secret_env, &table.secret_file)?;
    if secrets.is_empty() {
        return Err("give secret_env or secret_file: what it signs with".to_owned());
    }
    let mut publisher = PushPublisher::builder(table.url);
    for secret in secrets {
        publisher = publisher.secret(Secret::parse(&secret).map_err(|e| e.to_string())?);
    }
    publisher = table.timeout_ms.into_iter().fold(publisher, |p, ms| p.timeout(millis(ms)));
    let connect = table.connect_timeout_ms.into_iter();
    publisher = connect.fold(publisher, |p, ms| p.connect_timeout(millis(ms)));
    publisher = table.max_body.into_iter().fold(publisher, |p, bytes| p.max_body(bytes.get()));
    let publisher = publisher.build().map_err(|error| error.to_string())?;
    let start = match (table.start, table.start_position) {
        (None | Some(Begin::Beginning), None) => Start::Beginning,
        (Some(Begin::Now), None) => Start::Now,
        (None, Some(position @ 0..)) => Start::Position(Position(position)),
        (None, Some(_)) => return Err("start_position counts from 0".to_owned()),
        _ => return Err("give start or start_position, not both".to_owned()),
    };
    Ok(Route::new(table.name, table.stream, publisher).start(start))
}

/// A reader for each of the tokens.
fn reader(directory: &Path, table: ReaderTable) -> Result<Vec<Reader>, String> {
    let tokens = all(directory, &table.token_env, &table.token_file)?;
    if tokens.is_empty() {
        return Err("give token_env or token_file: a token, or `sha256:` and its hash".to_owned());
    }
    let reader = |token: &String| -> Result<Reader, FeedConfigError> {
        let hash = match token.starts_with("sha256:") {
            true => TokenHash::parse(token)?,
            false => Token::parse(token)?.hash(),
        };
        Reader::new(hash, table.stream.clone(), table.topics.iter().map(String::as_str))
    };
    let readers: Result<_, _> = tokens.iter().map(reader).collect();
    readers.map_err(|error| error.to_string())
}

/// The parser's words without the text that was given: it may be a secret in the wrong place.
fn without_values(message: &str) -> String {
    let (start, end) = (message.find("string \""), message.rfind("\", expected"));
    match (start, end) {
        (Some(start), Some(end)) if start + 7 < end => {
            format!("{}a string{}", &message[..start], &message[end + 1..])
        }
        _ => message.lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match Config::parse(Path::new("relay.toml"), text) {
            Ok(_) => panic!("not refused: {text}"),
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_without_values() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let cases = [
            (
                "source = \"/a\"\n[[route]]\nname = \"r\"\nstream = \"s\"\nurl = \"http://h/\"\nsecret = \"SECRET\"",
                "line 6",
                "unknown field `secret`",
            ),
            (
                "source = \"/a\"\n\n[relay]\nlease_ms = \"SECRET\"",
                "line 4",
                "invalid type: a string, expected",
            ),
            ("source = \"/a\"\n[relay]\nlease_ms = 0", "line 3", "nonzero"),
            ("source = \"SECRET", "line 1", ""),
            ("[database]\nurl = \"postgres://u:SECRET@h/d\"", "line 1", "missing field `source`"),
            ("source = \"/a\"\nnonsense = 1", "line 2", "unknown field `nonsense`"),
            ("source = \"/a\"\n[[stream]]\nname = \"s\"", "line 2", "missing field `topics`"),
            (
                "source = \"/a\"\n[[route]]\nname = \"r\"\nstream = \"s\"\nurl = \"http://h/\"",
                "line 2",
                "secret_env",
            ),
            (
                "source = \"/a\"\n[[route]]\nname = \"r\"\nstream = \"s\"\nurl = \"http://h/\"\nsecret_env = \"SYNCLINE_NO_SUCH\"",
                "line 2",
                "SYNCLINE_NO_SUCH is not set",
            ),
            (
                "source = \"/a\"\n[database]\nurl_file = \"/nonexistent/url\"",
                "line 3",
                "/nonexistent/url",
            ),
            (
                "source = \"/a\"\n[database]\nurl = \"x\"\nurl_env = \"PATH\"",
                "",
                "one of url, url_env",
            ),
            (
                "source = \"/a\"\n[feed]\nlisten = \"127.0.0.1:0\"\n[[feed.reader]]\nstream = \"s\"\ntopics = [\"*\"]\ntoken_env = \"PATH\"",
                "line 4",
                "not declared",
            ),
        ];
        for (text, line, problem) in cases {
            let said = refused(&text.replace("SECRET", secret));
            assert!(said.contains(line) && said.contains(problem), "{text}\n{said}");
            assert!(!said.contains(secret), "{said}");
        }
    }

    #[test]
    fn what_is_given_is_taken() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        std::fs::write(directory.path().join("relay.key"), secret).expect("a secret");
        let config = Config::parse(
            &directory.path().join("relay.toml"),
            "source = '/a'\n[database]\nurl = 'sqlite:x.db'\n[[stream]]\nname = 's'\ntopics = ['a.*']\nshards = 4\nshares_topics = true\ndrops = ['b']\n\
             [relay]\nlease_ms = 2000\nwindow = 2\nstop_ms = 3000\n\
             [[route]]\nname = 'r'\nstream = 's'\nurl = 'http://127.0.0.1:1/'\ntimeout_ms = 120000\n\
             secret_file = 'relay.key'",
        );
        let config = config.unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(config.database_url.as_deref(), Some("sqlite:x.db"));
        assert_eq!(
            config.streams,
            [Stream::new("s").topic("a.*").shards(4).shares_topics().drops("b")]
        );
        assert_eq!(config.stop, Duration::from_secs(3));
        let mut options = RelayOptions::default();
        config.options.apply(&mut options);
        assert_eq!((options.lease, options.window), (Duration::from_secs(2), 2));
        assert_eq!(options.idle, RelayOptions::default().idle);
        assert_eq!(options.publish_within, Duration::from_secs(125));
    }
}
