//! Messages from the server: received, then exactly one end each, in order.

use std::collections::{BTreeMap, VecDeque};

use ropewalk_core::settings::{BatchPolicy, QueueBounds};
use ropewalk_core::{
    Batch, Consumer, Counters, DeadLetter, Direction, Judged, Kind, MessageRef, Settings, Stage,
    Verdict,
};

use crate::wire::Unit;

/// The inbound account of one connection.
#[derive(Debug)]
pub(super) struct Incoming {
    consumer: Consumer,
    policy: BatchPolicy,
    bounds: QueueBounds,
    retries_max: u32,
    asks: u32,
    /// What arrived on which socket and was not delivered; messages that were filtered are found missing.
    arrived: BTreeMap<u32, VecDeque<Unit>>,
    arrived_count: u64,
    delivered_first: u64,
    acknowledged: u64,
    rejected: u64,
    business_letters: u64,
    last_seq: u64,
    /// Messages that arrived in sessions before this one and were not received, because the session was over.
    overlooked: u64,
}

impl Incoming {
    pub(super) fn new(consumer: Consumer, settings: &Settings) -> Self {
        Self {
            consumer,
            policy: settings.batch,
            bounds: settings.inbound,
            retries_max: settings.retry.attempts_max,
            asks: 0,
            arrived: BTreeMap::new(),
            arrived_count: 0,
            delivered_first: 0,
            acknowledged: 0,
            rejected: 0,
            business_letters: 0,
            last_seq: 0,
            overlooked: 0,
        }
    }

    pub(super) fn arrived(&mut self, generation: u32, messages: Vec<Unit>) {
        self.arrived_count += messages.len() as u64;
        if !messages.is_empty() {
            self.arrived.entry(generation).or_default().extend(messages);
        }
    }

    pub(super) fn asked(&mut self) {
        match self.consumer {
            Consumer::Pull => self.asks = 1,
            Consumer::Process => self.asks += 1,
        }
    }

    pub(super) fn delivered(&mut self, batch: &Batch) -> Result<(), String> {
        self.asks = self.asks.checked_sub(1).ok_or("a batch for nobody")?;
        if batch.is_empty() {
            return Err("an empty batch".into());
        }
        let policy = &self.policy;
        if batch.len() > policy.count_max || (batch.bytes() > policy.bytes_max && batch.len() > 1) {
            return Err(format!("{batch:?} is larger than the policy allows (S6)"));
        }
        if batch.attempt() > 1 {
            return self.delivered_again(batch);
        }
        // Batches of older sockets are delivered before those of newer ones.
        self.arrived
            .retain(|generation, _| *generation >= batch.generation());
        for message in batch {
            if message.seq() <= self.last_seq {
                return Err(format!(
                    "message {} after {} (S5)",
                    message.seq(),
                    self.last_seq
                ));
            }
            self.last_seq = message.seq();
            let arrived = self.arrived.entry(batch.generation()).or_default();
            let at = arrived.iter().position(|unit| is_same(unit, message));
            let at = at.ok_or_else(|| {
                format!(
                    "message {} never arrived, or earlier than another (S2)",
                    message.seq()
                )
            })?;
            arrived.drain(..=at);
        }
        self.delivered_first += batch.len() as u64;
        if self.consumer == Consumer::Pull {
            self.acknowledged += batch.len() as u64;
        }
        Ok(())
    }

    fn delivered_again(&self, batch: &Batch) -> Result<(), String> {
        let is_known = batch.iter().all(|message| message.seq() <= self.last_seq);
        if self.consumer == Consumer::Pull || !is_known || batch.attempt() > self.retries_max + 1 {
            return Err(format!("{batch:?} is not to be tried again"));
        }
        Ok(())
    }

    pub(super) fn judged(&mut self, judged: &Judged) {
        let refusals = judged.refusals();
        self.acknowledged += (judged.batch().len() - refusals.len()) as u64;
        for (_, verdict) in refusals {
            let is_last = match verdict {
                Verdict::Ack => false,
                Verdict::Reject(_) => true,
                Verdict::Retry { .. } => judged.batch().attempt() > self.retries_max,
            };
            if is_last {
                self.rejected += 1;
            }
        }
    }

    pub(super) fn letter(&mut self, letter: &DeadLetter) -> Result<(), String> {
        if letter.direction == Direction::Inbound && letter.stage == Stage::Business {
            self.business_letters += 1;
        }
        Ok(())
    }

    /// The connection is gone.
    pub(super) fn ended(&mut self, counters: &Counters) -> Result<(), String> {
        if counters.in_flight_in > 0 {
            return Err("ends with messages in flight (S2)".into());
        }
        // Verdicts that come after the end change nothing: what was out then was counted as dropped.
        Ok(())
    }

    /// A session ended with so many messages received in all.
    pub(super) fn session_over(&mut self, received: u64) {
        self.overlooked = self.arrived_count.saturating_sub(received);
    }

    pub(super) fn nothing_overlooked(&self, received: u64) -> Result<(), String> {
        if received + self.overlooked == self.arrived_count {
            return Ok(());
        }
        Err(format!(
            "received {received} of {} messages, of which {} came too late (S2)",
            self.arrived_count, self.overlooked
        ))
    }

    pub(super) fn compare(&self, counters: &Counters) -> Result<(), String> {
        if counters.received > self.arrived_count {
            return Err(format!(
                "received {} of {} messages that arrived (S2)",
                counters.received, self.arrived_count
            ));
        }
        let ours = [self.acknowledged, self.rejected];
        let theirs = [counters.delivered, counters.rejected];
        if ours != theirs {
            return Err(format!(
                "delivered and rejected are {ours:?}, and counted {theirs:?} (S2)"
            ));
        }
        if self.business_letters != self.rejected {
            return Err(format!(
                "{} rejected messages and {} letters (S3)",
                self.rejected, self.business_letters
            ));
        }
        // What is in flight is bounded by the queue, the message that filled it and what consumers hold.
        let held = self.delivered_first - self.acknowledged.min(self.delivered_first);
        let in_flight_max = self.bounds.items_max as u64 + 1 + held;
        if counters.in_flight_in > in_flight_max {
            return Err(format!(
                "{} messages in flight, more than {in_flight_max} (S6)",
                counters.in_flight_in
            ));
        }
        Ok(())
    }
}

fn is_same(unit: &Unit, message: MessageRef<'_>) -> bool {
    match (unit, message.kind()) {
        (Unit::Text(payload), Kind::Text) | (Unit::Binary(payload), Kind::Binary) => {
            payload == message.as_bytes()
        }
        _ => false,
    }
}
