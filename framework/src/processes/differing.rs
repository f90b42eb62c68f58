//! Consumers of one name that take different topics: of two that run on one database each applies what
//! it receives, by its own handlers.

use std::{collections::BTreeMap, fmt, time::Duration};

use uuid::Uuid;

use super::{Kind, Process};

/// Two consumers may differ for so long: while a new version takes over from an old one.
pub const LASTING: Duration = Duration::from_secs(5 * 60);

/// Two living consumers of one name whose topics differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Differing {
    /// Their name.
    pub consumer: String,
    /// Both, by their ids.
    pub ids: (Uuid, Uuid),
    /// Both, in words.
    pub processes: (String, String),
    /// The topics that only the first, and only the second takes.
    pub topics: (Vec<String>, Vec<String>),
    /// For how long both have been running.
    pub since: Duration,
}

impl Differing {
    /// Whether it has been so for too long for a new version taking over ([`LASTING`]).
    pub fn lasts(&self) -> bool {
        self.since >= LASTING
    }
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { consumer, processes: (one, other), topics: (first, second), since, .. } = self;
        write!(
            f,
            "two consumers named {consumer} take different topics, for {} s: {one} alone takes {}, \
             {other} alone takes {}; each message is applied by the one that it reaches: stop one of \
             them, or give it another name and a route of its own",
            since.as_secs(),
            all(first),
            all(second),
        )
    }
}

fn all(topics: &[String]) -> String {
    if topics.is_empty() { "none more".to_owned() } else { topics.join(", ") }
}

/// The living consumers of one name whose topics differ: of each two sets of topics the two processes
/// that have been running for longest.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> syncline::Result<()> {
/// use syncline::processes;
/// for two in processes::differing(&processes::list(&pool).await?) {
///     println!("{}{two}", if two.lasts() { "ALARM: " } else { "" });
/// }
/// # Ok(()) }
/// ```
pub fn differing(processes: &[Process]) -> Vec<Differing> {
    let mut of: BTreeMap<&str, Vec<&Process>> = BTreeMap::new();
    for process in processes.iter().filter(|one| one.kind == Kind::Consumer && one.is_alive()) {
        let known = of.entry(&process.name).or_default();
        match known.iter_mut().find(|one| one.defined.topics == process.defined.topics) {
            Some(longest) if longest.ran < process.ran => *longest = process,
            Some(_) => {}
            None => known.push(process),
        }
    }
    let mut found = Vec::new();
    for (consumer, known) in of {
        for (at, one) in known.iter().enumerate() {
            for other in &known[at + 1..] {
                found.push(Differing {
                    consumer: consumer.to_owned(),
                    ids: (one.id, other.id),
                    processes: (one.to_string(), other.to_string()),
                    topics: (only(one, other), only(other, one)),
                    since: one.ran.min(other.ran),
                });
            }
        }
    }
    found
}

fn only(one: &Process, other: &Process) -> Vec<String> {
    let topics = one.defined.topics.iter();
    topics.filter(|topic| !other.defined.topics.contains(topic)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::{super::Defined, *};

    fn consumer(id: u128, name: &str, topics: &[&str], ran: u64, unseen: u64) -> Process {
        let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
        Process {
            id: Uuid::from_u128(id),
            kind: Kind::Consumer,
            name: name.to_owned(),
            host: "web".to_owned(),
            pid: 4_700 + id as i64,
            program: "login 1.0".to_owned(),
            started_at: DateTime::default(),
            seen_at: DateTime::default(),
            ran: Duration::from_secs(ran),
            unseen: Duration::from_secs(unseen),
            defined: Defined { topics, ..Defined::default() },
            problems: Vec::new(),
        }
    }

    #[test]
    fn two_that_take_different_topics_are_named_and_alarm_when_it_lasts() {
        let processes = [
            consumer(1, "login", &["a.*", "b"], 4_000, 1),
            consumer(2, "login", &["a.*", "b"], 9_000, 1),
            consumer(3, "login", &["a.*", "c"], 299, 1),
            consumer(4, "other", &["x"], 9_000, 1),
        ];
        let found = differing(&processes);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].ids, (Uuid::from_u128(2), Uuid::from_u128(3)));
        assert_eq!(found[0].topics, (vec!["b".to_owned()], vec!["c".to_owned()]));
        assert!(!found[0].lasts(), "as while a new version takes over");
        let text = found[0].to_string();
        for word in ["login", "pid 4702", "pid 4703", "299 s"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let mut longer = processes;
        longer[2].ran = LASTING;
        assert!(differing(&longer)[0].lasts());
    }

    #[test]
    fn one_that_is_silent_differs_from_nobody() {
        let processes =
            [consumer(1, "login", &["a"], 9_000, 46), consumer(2, "login", &["b"], 9_000, 0)];
        assert_eq!(differing(&processes), []);
    }
}
