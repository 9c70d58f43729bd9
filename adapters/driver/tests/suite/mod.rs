//! What must hold on every runtime: written once here, run by each adapter's tests.

#![allow(clippy::unwrap_used, reason = "what fails here is a test")]

pub(crate) mod deflating;
/// An inflater that sees how far back a message refers.
#[path = "../../../../core/tests/pair/peer.rs"]
mod peer;
pub(crate) mod pipe;
pub(crate) mod server;

mod batches;
mod compressed;
mod endings;
mod failing;
mod lifecycle;
mod outbound;
mod plain;
mod processors;
mod renegotiating;
#[cfg(feature = "tls")]
mod secure;
mod sending;
mod stores;
mod transports;
mod watching;

pub(crate) use batches::*;
pub(crate) use compressed::*;
pub(crate) use endings::*;
pub(crate) use failing::*;
pub(crate) use lifecycle::*;
pub(crate) use outbound::*;
pub(crate) use plain::*;
pub(crate) use processors::*;
pub(crate) use renegotiating::*;
#[cfg(feature = "tls")]
pub(crate) use secure::*;
pub(crate) use sending::*;
pub(crate) use stores::*;
pub(crate) use transports::*;
pub(crate) use watching::*;

use std::time::Duration;

use ropewalk_driver::{
    Batch, Connect, ConnectionHandle, EventKind, Events, FleetEvent, Settings, State,
};

/// Makes a test of every function of the suite.
macro_rules! tests {
    ($runtime:ty, $block_on:path) => {
        $crate::suite::tests! { @each all(), $runtime, $block_on,
            a_batch_is_not_lost_with_the_wait_for_it
            a_close_flushes_and_reports
            a_close_is_answered_when_what_came_before_is_judged
            a_compressed_message_may_come_in_fragments
            a_connection_survives_resets
            a_dropped_handle_closes_its_connection
            a_full_inbound_queue_stops_reads_and_loses_nothing
            a_full_queue_that_drops_tells_whose_message_it_dropped
            a_full_queue_that_rejects_gives_the_message_back_at_once
            a_hook_that_panics_filters_its_message_only
            a_large_message_passes_in_many_parts
            a_message_may_become_as_long_as_the_limit
            a_name_is_resolved
            a_pause_lasts_until_it_is_ended
            a_plain_connection_is_a_stream_and_a_sink
            a_plain_connection_tells_an_abnormal_end
            a_plain_connection_tells_what_was_agreed
            a_panic_among_calls_loses_its_batch_only
            a_plain_connection_that_fails_says_why
            a_call_that_hangs_delays_its_keys_only
            a_call_that_panics_when_it_is_dropped_has_had_its_say
            a_call_that_outlives_its_connection_changes_nothing
            a_processor_that_hangs_keeps_its_socket
            a_processor_that_panics_now_and_then_keeps_its_socket
            one_message_in_a_hundred_fails_and_no_other_is_a_letter
            a_processor_judges_each_message
            a_processor_that_is_paused_gets_nothing_and_keeps_its_socket
            a_pause_of_processing_ends_with_the_connection
            a_processor_that_panics_loses_its_batch_only
            a_processor_that_waits_for_nothing_judges_and_may_panic
            a_processor_that_panics_when_it_is_dropped_harms_nobody
            a_processor_that_waits_delays_nobody_else
            a_provider_shapes_each_attempt
            a_request_is_acknowledged_by_its_reply_even_on_the_next_socket
            a_reservation_that_is_dropped_lets_the_next_in
            a_shutdown_ends_every_state
            a_server_that_is_not_understood_is_offered_something_else
            a_slow_reader_of_events_is_told_what_it_missed
            a_transport_of_ones_own_carries_messages
            a_transport_that_panics_fails_its_own_attempt
            a_shutdown_waits_for_all_calls_of_a_processor
            an_application_chooses_what_is_offered_and_said_next
            calls_without_order_overlap
            calls_of_all_connections_are_limited_together
            compressed_messages_pass_both_ways
            stored_letters_are_redriven_in_order_and_once
            compression_that_was_not_offered_is_refused
            connections_spread_over_shards_and_all_work
            connections_that_share_few_bytes_take_turns_and_lose_nothing
            corrupt_data_end_the_session_and_the_next_starts_afresh
            dropping_a_fleet_leaves_nothing_behind
            a_letter_that_is_held_or_discarded_is_not_redriven
            a_store_that_fails_stops_nothing_and_has_every_letter_later
            messages_with_and_without_receipts_keep_their_order
            short_messages_keep_their_kinds_and_wait_for_room
            many_messages_at_once_keep_their_order_and_wait_for_room
            many_messages_at_once_that_are_refused_tell_how_many_were_queued
            a_message_without_a_receipt_comes_back_where_it_cannot_be_queued
            echoes_come_back_in_order
            letters_left_from_before_go_to_the_connection_of_their_name
            letters_that_cannot_wait_are_counted
            letters_to_the_server_are_sent_again
            messages_of_one_key_stay_in_order
            messages_that_must_not_wait_are_not_kept
            parameters_that_were_not_offered_fail_the_handshake
            queued_messages_follow_the_ready_script
            senders_wait_for_room_and_end_with_the_fleet
            what_a_processor_answers_goes_out_before_the_close
            what_the_server_asks_of_the_compressor_is_done
            verdicts_on_another_batch_reject_the_one_in_hand
        }
        $crate::suite::tests! { @each feature = "tls", $runtime, $block_on,
            a_plain_connection_can_be_secure
            a_secure_connection_survives_resets
            a_server_that_nobody_vouches_for_is_told_nothing
            secure_and_other_urls_stand_side_by_side
            secure_echoes_come_back_in_order
        }
    };
    (@each $condition:meta, $runtime:ty, $block_on:path, $($name:ident)*) => {
        $(
            #[cfg($condition)]
            #[test]
            fn $name() {
                $block_on($crate::suite::$name::<$runtime>());
            }
        )*
    };
}
pub(crate) use tests;

/// A connection that is dialled again without delay.
pub(crate) fn eager(url: &str) -> Connect {
    hasty(Connect::to(url).unwrap())
}

/// The same, for a connection that has been begun to be described.
pub(crate) fn hasty(connect: Connect) -> Connect {
    connect.settings(hasty_settings())
}

/// Settings of a connection that is dialled again without delay.
pub(crate) fn hasty_settings() -> Settings {
    let mut settings = Settings::default();
    settings.backoff.initial = Duration::from_millis(1);
    settings.backoff.floor = Duration::from_millis(1);
    settings.backoff.first_max = Duration::from_millis(1);
    settings.backoff.max = Duration::from_millis(2);
    settings.backoff.flap_max = Duration::from_millis(2);
    settings
}

/// The texts of a batch.
pub(crate) fn texts(batch: &Batch) -> Vec<String> {
    batch
        .iter()
        .map(|message| message.text().unwrap().to_owned())
        .collect()
}

/// Takes batches until there are `count` messages.
pub(crate) async fn take(handle: &ConnectionHandle, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        match handle.next_batch().await {
            Some(batch) => taken.extend(texts(&batch)),
            None => panic!("the connection has ended: {:?}", handle.ended().await),
        }
    }
    taken
}

/// Waits for the first event that `is_it` knows.
pub(crate) async fn until(events: &mut Events, is_it: impl Fn(&EventKind) -> bool) -> FleetEvent {
    loop {
        let event = events.next().await.expect("the fleet goes on");
        if is_it(&event.event.kind) {
            return event;
        }
    }
}

/// Waits until some connection is in this state.
pub(crate) async fn until_state(events: &mut Events, state: State) {
    until(
        events,
        |kind| matches!(kind, EventKind::State { to, .. } if *to == state),
    )
    .await;
}
