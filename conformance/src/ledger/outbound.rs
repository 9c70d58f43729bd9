//! Messages to the server: accepted, then exactly one end each, in order.

use std::collections::{BTreeMap, VecDeque};

use ropewalk_core::{Counters, Kind, Message, MessageId, Outcome, Resend};

use super::socket::SocketBook;
use crate::wire::Unit;

/// The outbound account of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    script_sends: usize,
    is_open: bool,
    accepted: u64,
    queue: VecDeque<Waiting>,
    written: u64,
    interrupted: u64,
    not_sent: u64,
    /// Outcomes that are due or were told.
    outcomes: BTreeMap<u64, (Outcome, Told)>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    unit: Unit,
    resend: Resend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    NotYet,
    Yes,
}

impl Outgoing {
    pub(super) fn new(script_sends: usize) -> Self {
        Self {
            script_sends,
            is_open: false,
            accepted: 0,
            queue: VecDeque::new(),
            written: 0,
            interrupted: 0,
            not_sent: 0,
            outcomes: BTreeMap::new(),
        }
    }

    pub(super) fn accepted(&mut self, number: MessageId, message: &Message) -> Result<(), String> {
        self.accepted += 1;
        if number.as_u64() != self.accepted {
            return Err(format!("message {} is called {number:?}", self.accepted));
        }
        let payload = message.as_bytes().to_vec();
        self.queue.push_back(Waiting {
            number: self.accepted,
            unit: match message.kind() {
                Kind::Text => Unit::Text(payload),
                Kind::Binary => Unit::Binary(payload),
            },
            resend: message.resend(),
        });
        Ok(())
    }

    /// A session is ready: the backlog may leave.
    pub(super) fn opened(&mut self) {
        self.is_open = true;
    }

    /// These frames passed whole over the socket.
    pub(super) fn wrote(&mut self, units: Vec<Unit>, book: &mut SocketBook) -> Result<(), String> {
        for unit in units {
            if !matches!(unit, Unit::Text(_) | Unit::Binary(_)) {
                continue;
            }
            book.data_units += 1;
            if book.data_units <= self.script_sends {
                continue;
            }
            if !self.is_open {
                return Err("backlog leaves before the session is ready".into());
            }
            let head = self
                .queue
                .pop_front()
                .ok_or("writes a message nobody sent")?;
            if head.unit != unit {
                return Err(format!("writes another message than {} (S5)", head.number));
            }
            self.written += 1;
            self.end(head.number, Outcome::Written);
        }
        Ok(())
    }

    /// The socket is gone.
    pub(super) fn lost(&mut self, book: &SocketBook) {
        self.is_open = false;
        if !self.is_head_begun(Some(book)) {
            return;
        }
        if let Some(head) = self.queue.pop_front_if(|head| head.resend == Resend::Never) {
            self.interrupted += 1;
            self.end(head.number, Outcome::Interrupted);
        }
    }

    /// There will be no further socket.
    pub(super) fn ended(&mut self) {
        while let Some(left) = self.queue.pop_front() {
            self.not_sent += 1;
            self.end(left.number, Outcome::NotSent);
        }
    }

    pub(super) fn outcome(&mut self, number: MessageId, outcome: &Outcome) -> Result<(), String> {
        let number = number.as_u64();
        match self.outcomes.get_mut(&number) {
            Some((expected, told @ Told::NotYet)) if expected == outcome => {
                *told = Told::Yes;
                Ok(())
            }
            // The core may tell it in the step that ends the queue, before the ledger hears of that end.
            None if *outcome == Outcome::NotSent => {
                let at = self
                    .queue
                    .iter()
                    .position(|waiting| waiting.number == number);
                self.queue
                    .remove(at.ok_or_else(|| format!("message {number} ended twice (S1)"))?);
                self.not_sent += 1;
                self.outcomes.insert(number, (Outcome::NotSent, Told::Yes));
                Ok(())
            }
            found => Err(format!(
                "message {number} is {outcome:?}, expected {found:?} (S1)"
            )),
        }
    }

    pub(super) fn compare(
        &self,
        counters: &Counters,
        socket: Option<&SocketBook>,
    ) -> Result<(), String> {
        let in_flight = u64::from(self.is_head_begun(socket));
        let waiting = self.queue.len() as u64 - in_flight;
        let ours = [
            self.accepted,
            waiting,
            in_flight,
            self.written,
            self.interrupted,
            self.not_sent,
        ];
        let theirs = [
            counters.accepted,
            counters.waiting,
            counters.in_flight_out,
            counters.written,
            counters.interrupted,
            counters.not_sent,
        ];
        if ours != theirs {
            return Err(format!(
                "accepted, waiting, in flight, written, interrupted, not sent are {ours:?}, and counted {theirs:?} (S1)"
            ));
        }
        match self
            .outcomes
            .iter()
            .find(|(_, (_, told))| *told == Told::NotYet)
        {
            Some((number, (outcome, _))) => Err(format!(
                "nobody was told that message {number} is {outcome:?}"
            )),
            None => Ok(()),
        }
    }

    fn end(&mut self, number: u64, outcome: Outcome) {
        self.outcomes.insert(number, (outcome, Told::NotYet));
    }

    fn is_head_begun(&self, socket: Option<&SocketBook>) -> bool {
        socket.is_some_and(|book| {
            book.is_inside_data() && book.data_units >= self.script_sends && !self.queue.is_empty()
        })
    }
}
