//! What a relay's definitions change of what is stored; reads only. A change by which messages
//! would be sent twice, or nowhere, is refused unless the definition says that it is meant.

use std::collections::{HashMap, HashSet};

use sqlx::Pool;

use super::super::Route;
use crate::{
    Error, Result, Storage, Stream,
    message::{Position, TopicPattern},
    storage::{Begins, NewVersion, RouteRow, StreamVersion},
    streams::{
        self,
        takeover::{held_up_by, patterns, shared, taken_over, until},
    },
};

/// What is stored of streams and routes.
pub(crate) struct Stored {
    pub(super) versions: Vec<StreamVersion>,
    pub(super) rows: Vec<RouteRow>,
    head: Position,
    trimmed: Position,
}

impl Stored {
    pub(crate) async fn read<DB: Storage>(pool: &Pool<DB>) -> Result<Self> {
        Ok(Self {
            versions: DB::streams(pool).await?,
            rows: DB::shards(pool).await?,
            head: DB::head(pool).await?,
            trimmed: DB::trimmed(pool).await?.position,
        })
    }

    /// The versions of a stream, the newest last.
    pub(super) fn of<'a>(
        &'a self,
        name: &'a str,
    ) -> impl DoubleEndedIterator<Item = &'a StreamVersion> {
        self.versions.iter().filter(move |version| version.name == name)
    }

    /// Whether a route carries a stream, whichever program declares it.
    pub(crate) fn is_routed(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.stream == name && !row.closed)
    }
}

/// What is to be stored.
#[derive(Default)]
pub(crate) struct Changes {
    /// New versions, in order of name and version.
    pub(super) new: Vec<NewVersion>,
    /// Versions whose topics were not kept, with their topics.
    pub(super) tell: Vec<NewVersion>,
    /// The declared streams, and whether what they declare is in force.
    pub(super) current: HashMap<String, bool>,
    /// What is to be said of streams once all is stored.
    pub(super) notes: Vec<(String, String)>,
}

/// How a declared stream stands to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    New,
    /// The topics of its only version were not kept.
    Untold,
    InForce,
    /// It was closed after the version that is declared, which is sent to its end.
    Closed,
    /// A newer version is in force.
    Outdated,
    Changed,
}

impl Standing {
    pub(super) fn of(stored: &Stored, stream: &Stream) -> Self {
        let (topics, shards) = (stream.patterns(), stream.shard_count());
        let same = |version: &StreamVersion| version.topics == topics && version.shards == shards;
        let mut newest_first = stored.of(stream.name()).rev();
        let Some(last) = newest_first.next() else { return Self::New };
        if last.topics.is_empty() {
            return Self::Untold;
        }
        if same(last) {
            return Self::InForce;
        }
        if stream.replaced() == Some(last.version) || !stored.of(stream.name()).any(same) {
            return Self::Changed;
        }
        match last.rests() && newest_first.next().is_some_and(same) {
            true => Self::Closed,
            false => Self::Outdated,
        }
    }
}

/// What a stream carries once all is stored.
struct InForce<'a> {
    name: &'a str,
    /// As this relay declares it.
    declared: Option<(&'a Stream, Standing)>,
    patterns: Vec<TopicPattern>,
}

/// What `streams` change of what is stored. `ours` are those that this process has stored itself.
pub(super) fn changes(
    stored: &Stored,
    streams: &[Stream],
    ours: &HashSet<String>,
) -> Result<Changes> {
    let mut changes = Changes::default();
    let standing: Vec<_> =
        streams.iter().map(|stream| (stream, Standing::of(stored, stream))).collect();
    for (stream, standing) in &standing {
        changes.current.insert(stream.name().to_owned(), *standing != Standing::Outdated);
    }
    let in_force = in_force(stored, &standing);
    shared_topics(&in_force, ours)?;
    for (stream, standing) in &standing {
        let (name, topics) = (stream.name().to_owned(), stream.patterns());
        let last = stored.of(stream.name()).next_back();
        let version = last.map_or(1, |last| last.version);
        let (shards, begins) = (stream.shard_count(), Begins::Head);
        let new = NewVersion { name, version, topics, shards, begins };
        match (standing, last) {
            (Standing::Untold, _) => changes.tell.push(new),
            (Standing::Changed, Some(last)) => {
                changes.drop_topics(stream, last, &in_force, stored.head)?;
                changes.new.push(NewVersion { version: version + 1, ..new });
            }
            (Standing::New, _) => match take_over(stored, stream, &in_force)? {
                None => {
                    let begins = Begins::After(Position::START);
                    changes.new.push(NewVersion { begins, ..new });
                }
                Some(begins) => {
                    changes.begin_after(stored, stream, begins);
                    changes.new.push(NewVersion { version: 2, begins, ..new });
                }
            },
            _ => {}
        }
    }
    changes.new.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    left_open(stored, &changes.new, streams)?;
    Ok(changes)
}

fn in_force<'a>(stored: &'a Stored, standing: &[(&'a Stream, Standing)]) -> Vec<InForce<'a>> {
    let mut all: Vec<InForce<'a>> = Vec::new();
    for (stream, standing) in standing {
        if !matches!(standing, Standing::Outdated | Standing::Closed) {
            let patterns = stream.patterns().into_iter().map(TopicPattern::from).collect();
            let declared = Some((*stream, *standing));
            all.push(InForce { name: stream.name(), declared, patterns });
        }
    }
    for version in &stored.versions {
        let newest = until(&stored.versions, version).is_none();
        if newest && !all.iter().any(|known| known.name == version.name) {
            let (name, patterns) = (version.name.as_str(), patterns(version));
            all.push(InForce { name, declared: None, patterns });
        }
    }
    all
}

/// Refuses two streams of one topic that do not say that they share it.
fn shared_topics(in_force: &[InForce<'_>], ours: &HashSet<String>) -> Result<()> {
    let shares = |one: &InForce<'_>| one.declared.is_some_and(|(stream, _)| stream.shares());
    for (index, one) in in_force.iter().enumerate() {
        let Some((_, standing)) = one.declared else { continue };
        let new = matches!(standing, Standing::New | Standing::Changed) || ours.contains(one.name);
        for other in &in_force[index + 1..] {
            let Some(topic) = shared(&one.patterns, &other.patterns) else { continue };
            if shares(one) || shares(other) || !(new || other.declared.is_some()) {
                continue;
            }
            let way = match other.declared {
                Some(_) => "take it out of one of them to let it move to the other".to_owned(),
                None => format!(
                    "that one is stored, and not declared here: to let the topic move, close that \
                     stream while a relay that declares it runs (`syncline stream close {}`), or \
                     declare it here without the topic",
                    other.name
                ),
            };
            return Err(refused(
                one.name,
                format!(
                    "stream {:?} carries topic \"{topic}\", too: each message of it would go out \
                     on both, and take effect twice at a consumer of both; {way}. For two \
                     different consumers say `Stream::shares_topics` (`shares_topics = true`)",
                    other.name
                ),
            ));
        }
    }
    Ok(())
}

impl Changes {
    /// Refuses a version that carries less than the one before it and does not say so.
    fn drop_topics(
        &mut self,
        stream: &Stream,
        last: &StreamVersion,
        in_force: &[InForce<'_>],
        head: Position,
    ) -> Result<()> {
        for topic in patterns(last) {
            let covers = |patterns: &[TopicPattern]| patterns.iter().any(|one| one.covers(&topic));
            if in_force.iter().any(|one| covers(&one.patterns)) {
                continue;
            }
            if !covers(stream.dropped()) {
                return Err(refused(
                    stream.name(),
                    format!(
                        "version {} carries topic \"{topic}\", and no stream would any more: what is \
                         committed of it after position {head} would be sent nowhere. Declare a \
                         stream that takes it over, or say `Stream::drops` (`drops = \
                         [\"{topic}\"]`): then it is left to retention",
                        last.version
                    ),
                ));
            }
            self.notes.push((
                stream.name().to_owned(),
                format!(
                    "no stream carries all of topic \"{topic}\" from now on (after position {head} \
                     or later): what is committed of it is left to retention"
                ),
            ));
        }
        Ok(())
    }

    /// The stream carried nothing before it took over.
    fn begin_after(&mut self, stored: &Stored, stream: &Stream, begins: Begins) {
        let start = Begins::After(Position::START);
        self.new.push(NewVersion::resting(stream.name(), 1, start));
        if let Begins::After(position) = begins
            && position < stored.trimmed
        {
            let note = format!(
                "the stream takes topics over that no stream carried after position {position}; \
                 what the log held of them up to {} was not sent and is no longer kept",
                stored.trimmed
            );
            self.notes.push((stream.name().to_owned(), note));
        }
    }
}

/// Where a new stream begins that carries what others carried before; none when it carries the whole
/// log.
fn take_over(stored: &Stored, stream: &Stream, in_force: &[InForce<'_>]) -> Result<Option<Begins>> {
    if stream.shares() {
        return Ok(None);
    }
    let wanted: Vec<_> = stream.patterns().into_iter().map(TopicPattern::from).collect();
    // The last versions that carried some of it, and where they end; none: with this start.
    let mut ended: Vec<(&StreamVersion, Option<Position>)> = Vec::new();
    for version in stored.versions.iter().rev() {
        let known = ended.iter().any(|(known, _)| known.name == version.name);
        if known || shared(&patterns(version), &wanted).is_none() {
            continue;
        }
        let still = in_force.iter().find(|one| one.name == version.name);
        if still.is_some_and(|still| shared(&still.patterns, &wanted).is_some()) {
            continue;
        }
        match until(&stored.versions, version) {
            Some(until) if until == version.after => {}
            until => ended.push((version, until)),
        }
    }
    let at = |end: Option<Position>| end.unwrap_or(Position(i64::MAX));
    let Some((newest, last)) = ended.iter().max_by_key(|(_, end)| at(*end)).copied() else {
        return Ok(None);
    };
    for (version, end) in ended.iter().filter(|(_, end)| *end != last) {
        let (old, mut lost) = (patterns(version), None);
        for pattern in &wanted {
            let topic = shared(&old, std::slice::from_ref(pattern));
            lost = lost.or(topic.filter(|topic| {
                let carried = ended.iter().filter(|(_, other)| *other == last);
                !carried.flat_map(|(one, _)| patterns(one)).any(|one| one.covers(topic))
            }));
        }
        if let Some(topic) = lost {
            return Err(refused(
                stream.name(),
                format!(
                    "it takes topics over that ended at different positions: \"{topic}\" of stream \
                     {:?} at position {}, others of stream {:?} {}. Let a stream of its own take \
                     each over",
                    version.name,
                    at(*end),
                    newest.name,
                    last.map_or("with this start".to_owned(), |last| format!("at position {last}"))
                ),
            ));
        }
    }
    Ok(Some(last.map_or(Begins::Head, |end| Begins::After(end.max(stored.trimmed)))))
}

/// Refuses to take topics over from a stream that is not sent to its end, and is not declared here:
/// its relay is another one.
fn left_open(stored: &Stored, new: &[NewVersion], streams: &[Stream]) -> Result<()> {
    let mut all = stored.versions.clone();
    for NewVersion { name, version, topics, shards, begins } in new.iter().cloned() {
        let after = match begins {
            Begins::After(position) => position,
            Begins::Head => stored.head,
        };
        let created_at = Default::default();
        all.push(StreamVersion { name, version, topics, shards, after, created_at });
    }
    all.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    for of in all.iter().filter(|one| new.iter().any(|new| new.is(one))) {
        for old in taken_over(&all, of) {
            if streams.iter().any(|stream| stream.name() == old.name) {
                continue;
            }
            if let Some(problem) = held_up_by(&all, &stored.rows, old) {
                return Err(refused(&of.name, problem));
            }
        }
    }
    Ok(())
}

/// Refuses what would be left behind with messages that were not sent: a stored route that is not
/// declared.
pub(crate) async fn left_behind<DB: Storage>(
    pool: &Pool<DB>,
    stored: &Stored,
    routes: &[Route],
    leaves: &HashSet<String>,
) -> Result<()> {
    for row in &stored.rows {
        let names = [&row.key.route, &row.stream];
        let left = names.into_iter().any(|name| leaves.contains(name));
        if row.closed || row.lost || left || routes.iter().any(|one| one.name == row.key.route) {
            continue;
        }
        let version = stored.of(&row.stream).find(|known| known.version == row.key.version);
        let Some(version) = version else { continue };
        let at = row.checkpoint.cursor.position;
        let end = streams::ends(&stored.versions, version).unwrap_or(stored.head);
        let unsent = streams::unsent(pool, version, row.key.shard, at, end).await?;
        if unsent == 0 {
            continue;
        }
        let (route, stream) = (&row.key.route, &row.stream);
        return Err(Error::Definition {
            what: "route",
            name: route.clone(),
            problem: format!(
                "it is stored, and not declared here: shard {} of version {} of stream {stream:?} \
                 is at position {at}, and {} or more after it not sent. Declare it, or say `RelayBuilder::leaves` (`leaves = [\"{route}\"]`) if another program \
                 sends it or nobody is to",
                row.key.shard,
                row.key.version,
                crate::logs::count(unsent, "message")
            ),
        });
    }
    Ok(())
}

fn refused(name: &str, problem: String) -> Error {
    Error::Definition { what: "stream", name: name.to_owned(), problem }
}
