//! What every database must do alike. Each case gets a fresh, migrated database from the
//! caller and panics with what was wrong.
//!
//! ```no_run
//! # #[cfg(feature = "sqlite")]
//! # async fn example() {
//! let fresh = async || {
//!     let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.expect("connect");
//!     syncline::migrate(&pool).await.expect("migrate");
//!     pool
//! };
//! syncline::testing::storage_suite::run(fresh).await;
//! # }
//! ```

mod barrier;
mod flow;
mod foreign;
mod gaps;
mod handover;
mod held;
mod incarnation;
mod lanes;
mod leases;
mod log;
mod members;
mod participant;
mod places;
mod processes;
mod pulse;
mod reapply;
mod retention;
mod saga;
mod shards;
mod source;
mod support;
mod tries;
mod trim;
mod unknown;
mod way;

use std::{future::Future, pin::Pin};

use futures::{StreamExt, stream};
use sqlx::Pool;

use crate::Storage;

type Case<DB> = fn(Pool<DB>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($db:ident: $($module:ident::$case:ident),+ $(,)?) => {
        [$((stringify!($case), (|pool| Box::pin($module::$case::<$db>(pool))) as Case<$db>)),+]
    };
}

/// Runs every case, each on a new database from `fresh`, and returns how many there were.
///
/// # Panics
/// When a case fails.
pub async fn run<DB, F, Fut>(fresh: F) -> usize
where
    DB: Storage,
    F: Fn() -> Fut,
    Fut: Future<Output = Pool<DB>>,
{
    run_at_once(1, fresh).await
}

/// As [`run`], with up to so many cases at once: most of the time a case waits.
///
/// # Panics
/// When a case fails; the last line that is printed names it.
pub async fn run_at_once<DB, F, Fut>(at_once: usize, fresh: F) -> usize
where
    DB: Storage,
    F: Fn() -> Fut,
    Fut: Future<Output = Pool<DB>>,
{
    let cases = cases!(DB:
        log::messages_of_a_rolled_back_transaction_are_not_in_the_log,
        log::many_messages_keep_their_order_and_every_attribute,
        log::pages_are_the_same_whatever_their_size,
        log::a_page_is_cut_at_its_bytes_and_never_empty,
        log::bad_messages_are_refused_and_the_transaction_goes_on,
        log::a_transaction_that_no_snapshot_has_listed_is_sealed,
        log::a_transaction_that_stays_open_over_many_seals_is_sealed,
        log::concurrent_writers_lose_nothing_and_keep_their_keys_order,
        leases::a_lease_has_one_holder_and_a_new_epoch_for_each,
        leases::a_lease_of_a_clock_that_was_set_back_is_not_waited_for,
        leases::a_checkpoint_of_an_older_epoch_is_refused,
        leases::a_late_checkpoint_of_a_holder_that_has_it_again_is_refused,
        leases::who_has_lost_the_lease_seals_nothing,
        leases::a_relay_that_stops_leaves_no_lease_behind,
        leases::a_sender_whose_lease_cannot_be_renewed_stops,
        leases::a_relay_that_is_frozen_in_the_middle_of_a_step_holds_up_no_other,
        leases::a_route_keeps_its_stream,
        shards::shards_are_made_once_and_listed_in_order,
        shards::of_many_checkpoints_only_the_fenced_one_is_refused,
        shards::a_closed_shard_is_opened_again_with_its_version,
        shards::a_route_is_paused_in_every_shard,
        shards::a_rewound_shard_is_no_longer_its_holders,
        shards::a_new_version_begins_at_the_head_and_fences_the_old_one,
        members::a_member_is_known_until_its_time_runs_out_or_it_withdraws,
        processes::a_process_is_known_from_its_report_until_it_is_removed_or_forgotten,
        processes::leases_are_listed_as_long_as_they_hold,
        processes::who_runs_tells_of_itself_and_is_gone_when_it_has_stopped,
        processes::consumers_of_one_name_with_other_topics_are_found,
        processes::what_is_held_is_counted_for_each_consumer,
        pulse::the_pulse_tells_of_everything_that_waits,
        pulse::one_beat_renews_all_and_tells_what_has_changed,
        pulse::a_delayed_message_of_this_process_needs_no_poll,
        pulse::what_another_process_sets_without_a_word_is_found,
        source::a_repeated_key_gives_the_first_receipt_and_writes_nothing,
        source::a_key_of_another_content_is_an_error_and_the_transaction_goes_on,
        source::who_takes_a_key_second_waits_for_the_first,
        source::delayed_messages_come_when_they_are_due_in_order,
        source::only_the_lease_moves_and_two_movers_move_once,
        source::a_mover_that_is_cut_off_loses_and_doubles_nothing,
        source::a_delayed_message_can_be_cancelled_until_it_is_moved,
        source::relays_send_a_delayed_message_once_and_not_before_it_is_due,
        held::held_messages_of_a_key_come_in_order_and_leave_one_by_one,
        held::a_due_key_is_taken_by_one,
        held::keys_that_nobody_tries_are_known,
        held::what_is_held_is_tried_now_where_no_dead_letter_blocks_it,
        held::what_fails_can_be_given_up_before_it_is_dead,
        held::a_dead_letter_is_revived_once,
        held::a_try_is_counted_and_what_is_unknown_is_no_try,
        held::of_two_dead_letters_one_is_dropped,
        held::who_frees_a_key_is_waited_for,
        places::what_is_ahead_belongs_to_one_shard_of_one_consumer,
        places::what_is_held_belongs_to_one_key_of_one_consumer,
        tries::a_payload_that_does_not_decode_is_dead_at_once_and_can_be_edited,
        tries::a_failed_key_rests_for_the_longest_pause_at_most,
        tries::a_rejection_at_a_later_try_is_told_once_and_frees_the_key,
        gaps::early_messages_are_held_and_applied_in_order,
        gaps::held_early_messages_outlive_the_process,
        gaps::held_messages_are_applied_up_to_the_next_gap,
        gaps::where_the_logs_differ_nothing_is_held,
        gaps::what_is_held_early_is_bounded,
        gaps::what_is_missing_is_fetched_from_the_feed,
        gaps::a_page_of_another_stream_is_refused,
        gaps::a_loss_that_only_progress_shows_is_fetched,
        gaps::two_processes_of_one_consumer_apply_once_and_in_order,
        lanes::lanes_apply_once_and_keep_the_order_of_a_key,
        lanes::lanes_wait_for_the_batch_before,
        lanes::unordered_batches_are_applied_once_in_any_order,
        lanes::an_unordered_consumer_says_what_is_missing,
        lanes::an_unordered_consumer_far_ahead_pauses,
        lanes::an_unordered_consumer_does_not_forget_what_it_skipped,
        lanes::what_failed_holds_up_no_other_without_an_order,
        lanes::a_message_past_the_watermark_is_noted_once,
        incarnation::what_a_source_has_lost_is_applied_as_it_is_now,
        incarnation::what_a_lost_incarnation_had_ahead_is_not_taken_for_applied,
        handover::a_new_version_waits_for_the_old_one_and_applies_nothing_again,
        foreign::a_foreign_message_is_applied_once_by_its_id,
        foreign::a_foreign_message_that_fails_parks_its_key,
        foreign::foreign_ids_are_forgotten_in_time,
        foreign::a_running_consumer_forgets_ids_by_its_retention,
        unknown::what_nobody_handles_waits_for_a_consumer_that_does,
        unknown::what_is_unknown_can_be_given_up,
        unknown::the_stream_pauses_when_too_much_is_held,
        unknown::many_held_at_once_do_not_pass_the_bound,
        unknown::an_edited_message_is_applied_as_edited,
        reapply::nothing_is_skipped_that_the_source_may_still_write,
        reapply::a_running_consumer_applies_again_from_a_position,
        reapply::lanes_apply_again_from_a_position,
        reapply::an_unordered_consumer_applies_again_from_a_position,
        reapply::what_was_applied_past_the_watermark_is_applied_again,
        reapply::reapplying_is_refused_where_it_could_go_wrong,
        reapply::what_another_shard_holds_keeps_no_shard_from_being_applied_again,
        reapply::a_consumer_sent_back_before_a_new_version_of_the_stream_gets_both,
        retention::what_a_cursor_needs_is_kept,
        retention::a_quiet_shard_goes_on_where_its_last_message_is_gone,
        retention::a_reader_that_never_comes_back_is_lost_and_told,
        retention::writers_go_on_while_the_log_is_trimmed,
        trim::a_paused_route_keeps_what_it_needs,
        trim::an_alarm_by_size_is_heard_before_the_route_is_lost,
        trim::an_alarm_by_age_is_heard_before_the_route_is_lost,
        trim::what_is_young_is_kept,
        trim::a_trim_goes_on_until_nothing_is_left_to_remove,
        trim::keys_and_compensations_are_forgotten_in_time,
        barrier::a_steps_claim_waits_for_the_one_before_it,
        barrier::steps_are_forgotten_in_time_and_not_before_their_deadline,
        barrier::a_running_participant_forgets_steps_by_its_retention,
        participant::each_command_has_one_effect_and_one_answer,
        participant::what_is_confirmed_cannot_be_cancelled,
        participant::a_technical_failure_leaves_no_trace_and_is_answered,
        participant::an_action_after_its_time_is_barred_by_the_databases_clock,
        participant::another_source_cannot_touch_a_saga,
        participant::a_handler_serves_messages_without_a_saga,
        participant::a_damaged_command_is_held,
        participant::whatever_comes_at_once_the_answers_agree,
        saga::neither_a_reply_nor_an_operators_skip_touches_what_is_done,
        saga::an_operator_is_heard_before_replies_that_wait,
        saga::a_timer_that_is_set_again_is_due_at_its_new_time,
        saga::a_saga_goes_through_all_its_steps,
        saga::a_refusal_compensates_what_was_applied_in_reverse,
        saga::a_local_step_is_tried_again_and_then_given_up,
        saga::a_local_step_that_spoils_its_transaction_spoils_no_other,
        saga::one_key_is_one_instance,
        saga::sagas_are_found_by_the_key_that_they_began_with,
        saga::the_pulse_tells_of_a_start_that_nobody_has_told_of,
        saga::a_locked_entity_is_free_when_its_saga_has_ended,
        saga::a_start_that_is_rolled_back_is_none,
        saga::replies_twice_late_or_of_nobody_change_nothing,
        saga::a_compensation_that_fails_waits_for_an_operator,
        saga::an_instance_keeps_the_version_it_began_with,
        saga::two_engines_share_the_work,
        saga::a_remote_pivot_in_doubt_is_asked,
        saga::what_is_over_is_forgotten_in_time,
        saga::a_saga_goes_on_wherever_its_engine_was_cut_off,
        saga::a_definition_changed_under_its_instances_makes_them_stuck,
        saga::a_deadline_and_an_answer_at_once_have_one_end,
        saga::an_instance_that_no_engine_can_decide_is_ended_by_force,
        saga::an_input_that_a_saga_cannot_read_is_refused_at_its_start,
        saga::what_fails_is_listed_and_can_be_hurried,
        saga::compensations_are_told_why,
        saga::a_reply_to_another_source_is_named_and_not_taken,
        saga::an_engine_of_another_source_than_the_relay_is_refused,
        saga::a_relay_of_another_source_than_the_engine_is_refused,
        saga::commands_that_no_stream_carries_are_named,
        way::every_message_is_applied_once_in_order,
        flow::what_comes_while_two_batches_are_under_way_goes_together,
        flow::one_page_is_read_ahead_of_what_is_sent,
        way::a_duplicate_batch_has_no_effect_and_a_gap_is_answered,
        way::a_failing_message_parks_its_key_and_the_others_flow,
        way::a_dead_letter_blocks_its_key_until_it_is_redriven,
        way::with_skip_a_dead_letter_lets_its_key_go_on,
        way::a_handler_that_panics_or_hangs_is_a_failure,
        way::a_retry_verdict_comes_back_in_order,
        way::a_rejection_is_compensated_once_at_the_source,
        way::many_failing_keys_pause_the_stream,
        way::a_target_that_fails_and_comes_back_gets_everything,
        way::a_consumer_restored_from_a_backup_is_sent_what_it_lacks,
        way::a_source_restored_from_a_backup_stops_its_route,
        way::what_lies_past_the_end_of_the_log_is_not_believed,
    );
    let fresh = &fresh;
    let run = stream::iter(&cases).for_each_concurrent(at_once, async |(name, case)| {
        println!("{}: {name}", DB::LABEL);
        if let Err(failed) = tokio::spawn(case(fresh().await)).await {
            println!("{}: {name}", DB::LABEL);
            std::panic::resume_unwind(failed.into_panic());
        }
    });
    run.await;
    cases.len()
}
