//! Changed definitions of streams: topics that move from one stream to another, that two streams
//! carry, and that none carries any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use syncline::{
    Envelope, Error, Message, Relay, RelayHandle, Route, Stream,
    message::{Batch, HandOver, Link, Origin, Position, TakenOver, TopicPattern},
    relay::{RelayBuilder, RouteState},
    routes, streams,
    transport::{Outcome, Receive},
};
use syncline_tests::{
    kit::Kit,
    on_each,
    relays::{Direct, LEASE, Process, check, eventually, noting, write},
    world::World,
};
use tokio::task::JoinHandle;

mod carried;
mod moves;
mod ways;

use self::ways::*;

on_each!(
    a_topic_that_moves_to_another_stream_is_refused_until_it_is_handed_over,
    a_topic_that_moved_at_its_position_takes_effect_once,
    two_streams_that_swap_their_topics_take_effect_once,
    a_stream_that_took_over_waits_for_the_other_and_repeats_nothing_of_it,
    two_streams_of_one_topic_are_refused_unless_they_say_so,
    a_paused_route_holds_up_a_move,
    shards_that_are_not_closed_hold_up_a_move,
    what_a_closed_stream_cannot_send_is_given_up,
    a_stream_that_was_closed_can_be_taken_up_again,
    a_definition_that_drops_unsent_messages_is_refused_by_check_and_start,
    topics_of_a_service_without_a_stream_are_told,
    a_stored_route_that_is_left_out_with_messages_is_refused_by_check,
    a_late_process_of_an_old_definition_is_outdated_and_only_check_refuses_it,
    what_only_an_outdated_process_has_is_stored_until_a_newer_one_sends_it,
);

/// A stream with the topics that `write` writes, and others that are never written.
fn both() -> Stream {
    Stream::new("old").topic("counter.*").topic("other.*")
}

fn other() -> Stream {
    Stream::new("old").topic("other.*")
}

fn new() -> Stream {
    Stream::new("new").topic("counter.*").shards(4)
}

mod case {
    pub(super) use crate::{carried::*, moves::*};
}
