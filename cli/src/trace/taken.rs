//! Consumers of this database: how far each has taken in what any key's messages come in.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use syncline::message::Position;

use crate::{
    delivery::Delivery,
    failure::Failure,
    layout::{cut, whole},
    output::Output,
};

/// A version of a stream at a consumer, over all of its shards.
struct Taken {
    shards: usize,
    least: Position,
    most: Position,
}

fn taken(delivery: Option<&Delivery>) -> BTreeMap<(&str, &str, &str, i32), Taken> {
    let mut all = BTreeMap::new();
    for inbox in delivery.iter().flat_map(|delivery| &delivery.inboxes) {
        let (origin, at) = (&inbox.origin, inbox.row.watermark);
        let key = (
            inbox.consumer.as_str(),
            origin.source.as_str(),
            origin.stream.as_str(),
            origin.version,
        );
        let taken = all.entry(key).or_insert(Taken { shards: 0, least: at, most: at });
        taken.shards += 1;
        (taken.least, taken.most) = (taken.least.min(at), taken.most.max(at));
    }
    all
}

pub(super) fn documents(delivery: Option<&Delivery>) -> Vec<Value> {
    let document = |((consumer, source, stream, version), of): (_, Taken)| {
        json!({
            "consumer": consumer, "source": source, "stream": stream, "version": version,
            "shards": of.shards, "least": of.least, "most": of.most,
        })
    };
    taken(delivery).into_iter().map(document).collect()
}

pub(super) fn page(delivery: Option<&Delivery>, output: &mut Output) -> Result<(), Failure> {
    let taken = taken(delivery);
    if taken.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(
        "consumers here: messages of the key up to these positions of its source are applied, unless \
         they are named above:",
    )?;
    let rows = taken.into_iter().map(|((consumer, source, stream, version), of)| {
        let up_to = match of.least == of.most {
            true => of.least.to_string(),
            false => format!("{} to {}, by shard", of.least, of.most),
        };
        [consumer.to_owned(), source.to_owned(), stream.to_owned(), version.to_string(), up_to]
    });
    let columns = [cut("consumer"), cut("source"), cut("stream"), whole("version"), cut("up_to")];
    output.table(columns, rows)
}
