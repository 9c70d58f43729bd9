//! Which faults there are, whose turn it is, and how many have happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use super::gate::lock;
use super::noise::mix;

/// A way to hurt a client. Each ends at least one socket or dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Meets the next dial to a port.
    Dial(DialFault),
    /// Ends one open session.
    Session(SessionFault),
    /// Takes a whole port away for a while.
    Port(PortFault),
}

/// What can happen between the dial and the 101.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialFault {
    /// The socket is closed before a byte was sent on it.
    ClosedAtOnce,
    /// The upgrade is read and never answered.
    UpgradeStalled,
    /// The upgrade is answered with 503.
    Http503,
}

/// What can happen to an open session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionFault {
    /// A reset between two frames.
    Reset,
    /// A reset after half a frame.
    ResetMidFrame,
    /// Silence: nothing is answered, not even pings, and the socket stays open.
    HalfOpen,
    /// A close frame with 1001 (going away, RFC 6455 §7.4.1).
    Close1001,
    /// A close frame with 1011 (internal error).
    Close1011,
    /// The stream ends and no close frame came.
    EofWithoutClose,
    /// A frame that RFC 6455 §5.2 or §5.1 forbids: a reserved bit, or a mask from a server.
    ProtocolViolation,
}

/// What can happen to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortFault {
    /// Nobody listens for a while, and one session ends, so that somebody notices.
    Refused,
    /// As if the process were killed and started again: no listener, and every socket of the port ends.
    Restart,
}

impl Fault {
    /// Every fault.
    pub(crate) const ALL: [Self; 12] = [
        Self::Dial(DialFault::ClosedAtOnce),
        Self::Dial(DialFault::UpgradeStalled),
        Self::Dial(DialFault::Http503),
        Self::Session(SessionFault::Reset),
        Self::Session(SessionFault::ResetMidFrame),
        Self::Session(SessionFault::HalfOpen),
        Self::Session(SessionFault::Close1001),
        Self::Session(SessionFault::Close1011),
        Self::Session(SessionFault::EofWithoutClose),
        Self::Session(SessionFault::ProtocolViolation),
        Self::Port(PortFault::Refused),
        Self::Port(PortFault::Restart),
    ];

    /// Its name in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dial(DialFault::ClosedAtOnce) => "closed_at_once",
            Self::Dial(DialFault::UpgradeStalled) => "upgrade_stalled",
            Self::Dial(DialFault::Http503) => "http_503",
            Self::Session(SessionFault::Reset) => "reset",
            Self::Session(SessionFault::ResetMidFrame) => "reset_mid_frame",
            Self::Session(SessionFault::HalfOpen) => "half_open",
            Self::Session(SessionFault::Close1001) => "close_1001",
            Self::Session(SessionFault::Close1011) => "close_1011",
            Self::Session(SessionFault::EofWithoutClose) => "eof_without_close",
            Self::Session(SessionFault::ProtocolViolation) => "protocol_violation",
            Self::Port(PortFault::Refused) => "refused",
            Self::Port(PortFault::Restart) => "restart",
        }
    }
}

/// What ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Session(SessionFault),
    Port(PortFault),
}

/// What was dealt to a session whose time is up.
pub(super) struct Hand {
    /// What meets the dials that follow.
    pub(super) dials: Vec<DialFault>,
    /// What ends the session. None if no fault of the run can.
    pub(super) ending: Option<Ending>,
}

/// The deck that faults are dealt from, and the count of those that happened.
///
/// The deck holds each kind once a round, shuffled, so that kinds happen about equally often.
pub(super) struct Faults {
    seed: u64,
    kinds: Vec<Fault>,
    deck: Mutex<Deck>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

struct Deck {
    cards: VecDeque<Fault>,
    rounds: u64,
    violated: BTreeSet<usize>,
}

impl Faults {
    pub(super) fn new(seed: u64, kinds: &[Fault]) -> Self {
        Self {
            seed,
            kinds: kinds.to_vec(),
            deck: Mutex::new(Deck {
                cards: VecDeque::new(),
                rounds: 0,
                violated: BTreeSet::new(),
            }),
            counts: Mutex::new(kinds.iter().map(|kind| (kind.name(), 0)).collect()),
        }
    }

    /// Deals cards to `feed` until one ends its session. Those that meet dials go along with it.
    pub(super) fn deal(&self, feed: usize) -> Hand {
        let mut deck = lock(&self.deck);
        let mut hand = Hand {
            dials: Vec::new(),
            ending: None,
        };
        // One whole round beyond what is left of the last holds every kind.
        let mut draws = deck.cards.len() + self.kinds.len();
        let mut passed = VecDeque::new();
        while hand.ending.is_none() && draws > 0 {
            draws -= 1;
            match self.draw(&mut deck) {
                Some(Fault::Dial(fault)) => hand.dials.push(fault),
                // Clients give up at the third violation within minutes, so a feed meets one in a run.
                Some(card @ Fault::Session(SessionFault::ProtocolViolation))
                    if !deck.violated.insert(feed) =>
                {
                    passed.push_back(card);
                }
                Some(Fault::Session(fault)) => hand.ending = Some(Ending::Session(fault)),
                Some(Fault::Port(fault)) => hand.ending = Some(Ending::Port(fault)),
                None => break,
            }
        }
        // What this feed could not take is first in line for the next, but does not pile up.
        passed.truncate(1);
        passed.append(&mut deck.cards);
        deck.cards = passed;
        hand
    }

    /// Notes that a fault was really done.
    pub(super) fn count(&self, fault: Fault) {
        *lock(&self.counts).entry(fault.name()).or_default() += 1;
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    fn draw(&self, deck: &mut Deck) -> Option<Fault> {
        if deck.cards.is_empty() {
            deck.cards = self.shuffled(deck.rounds);
            deck.rounds += 1;
        }
        deck.cards.pop_front()
    }

    fn shuffled(&self, round: u64) -> VecDeque<Fault> {
        let mut cards: Vec<(u64, Fault)> = (0..)
            .zip(&self.kinds)
            .map(|(index, kind)| (mix([self.seed, round, index]), *kind))
            .collect();
        cards.sort_by_key(|(noise, _)| *noise);
        cards.into_iter().map(|(_, kind)| kind).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_dealt_about_equally_often() {
        let faults = Faults::new(1, &Fault::ALL);
        let mut dealt: BTreeMap<&str, u64> = BTreeMap::new();
        for feed in 0..90 {
            let hand = faults.deal(feed);
            let ending = match hand.ending.unwrap() {
                Ending::Session(fault) => Fault::Session(fault),
                Ending::Port(fault) => Fault::Port(fault),
            };
            for fault in hand.dials.into_iter().map(Fault::Dial).chain([ending]) {
                *dealt.entry(fault.name()).or_default() += 1;
            }
        }
        assert_eq!(dealt.len(), Fault::ALL.len());
        assert!(
            dealt.values().all(|count| (9..=11).contains(count)),
            "{dealt:?}"
        );
    }

    #[test]
    fn feed_meets_one_protocol_violation_at_most() {
        let faults = Faults::new(1, &Fault::ALL);
        let violation = Some(Ending::Session(SessionFault::ProtocolViolation));
        let met = (0..200)
            .filter(|_| faults.deal(0).ending == violation)
            .count();
        assert_eq!(met, 1);
        assert_eq!(
            (1..20).find(|feed| faults.deal(*feed).ending == violation),
            Some(1)
        );
    }

    #[test]
    fn faults_of_dials_alone_end_no_session() {
        let faults = Faults::new(1, &[Fault::Dial(DialFault::Http503)]);
        let hand = faults.deal(0);
        assert_eq!(hand.dials, [DialFault::Http503]);
        assert_eq!(hand.ending, None);
    }
}
