//! Holds the client's books against the server's.

use super::books::{ClientPage, Numbers, Seam, ServerPage};
use super::plan::{Ending, Mark, Pass, Plan};

/// With so many faults there ought to be some of each kind.
const FAULTS_TELLING: u64 = 100;

/// What a pass came to, over all connections.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) pass: Pass,
    pub(crate) messages: u64,
    pub(crate) sockets: u64,
    pub(crate) endings: [u64; Ending::ALL.len()],
    /// Carried again by a later socket, and recognised as that: by its number, and because it comes before all that is
    /// new on that socket. Of inbound messages, as the server wrote them; the consumer sees none twice.
    pub(crate) repeated: u64,
    /// Not delivered, by what was told of it.
    pub(crate) accounted: Accounted,
    /// Not delivered, and nothing told so.
    pub(crate) lost: u64,
    /// Delivered out of order, or twice where that may not be.
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
    /// Outcomes that the other side's book contradicts, and messages that were not as they were made.
    pub(crate) contradicted: u64,
    pub(crate) problems: Vec<String>,
}

/// Messages that did not arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounted {
    /// The kernel had taken them: their outcome promised no more.
    pub(crate) written: u64,
    pub(crate) interrupted: u64,
    pub(crate) not_sent: u64,
    /// The server had written them to a socket that it reset.
    pub(crate) reset: u64,
}

impl Accounted {
    pub(crate) fn all(self) -> u64 {
        self.written + self.interrupted + self.not_sent + self.reset
    }
}

impl Verdict {
    /// Judges a pass by the books of both sides, a page for each connection.
    pub(crate) fn new(plan: Plan, server: &[ServerPage], client: &[ClientPage]) -> Self {
        let mut verdict = Self {
            pass: plan.pass,
            messages: plan.messages,
            sockets: 0,
            endings: [0; Ending::ALL.len()],
            repeated: 0,
            accounted: Accounted::default(),
            lost: 0,
            reordered: 0,
            duplicates: 0,
            contradicted: 0,
            problems: Vec::new(),
        };
        if server.len() != client.len() {
            verdict.problems.push(format!(
                "{} connections of {} ended",
                client.len(),
                server.len()
            ));
        }
        for ((connection, server), client) in (0..).zip(server).zip(client) {
            verdict.sockets += server.sockets;
            for (sum, count) in verdict.endings.iter_mut().zip(server.endings) {
                *sum += count;
            }
            verdict.contradicted += server.broken + client.strange;
            let problems = server.problems.iter().chain(&client.problems);
            verdict
                .problems
                .extend(problems.map(|problem| format!("connection {connection}: {problem}")));
            let share = plan.share(connection);
            match plan.pass {
                Pass::OutboundAcknowledged | Pass::OutboundMixed | Pass::OutboundPlain => {
                    verdict.outbound(plan, share, server, client);
                }
                Pass::InboundResumed => verdict.resumed(share, server, client),
                Pass::InboundPlain => verdict.unresumed(share, server, client),
            }
        }
        // A run in which nothing happened shows nothing.
        let is_hostile = plan.connections * plan.faults >= FAULTS_TELLING
            && plan.share(plan.connections - 1) > 4 * plan.faults;
        if is_hostile && verdict.endings.contains(&0) {
            let problem = format!("not every ending was inflicted: {:?}", verdict.endings);
            verdict.problems.push(problem);
        }
        if verdict.messages > 0 && verdict.accounted.all() >= verdict.messages {
            verdict.problems.push("nothing arrived".to_owned());
        }
        verdict
    }

    /// Whether every rule of the pass was kept.
    pub(crate) fn holds(&self) -> bool {
        self.lost == 0
            && self.reordered == 0
            && self.duplicates == 0
            && self.contradicted == 0
            && self.problems.is_empty()
    }

    /// What is marked has arrived and was acknowledged; of what is not, the outcome says what is known.
    fn outbound(&mut self, plan: Plan, share: u64, server: &ServerPage, client: &ClientPage) {
        let received = &server.received;
        let is_marked = |number| plan.pass.mark(number) == Mark::Idempotent;
        self.repeated += server.repeated;
        // Whatever the server had twice, the client has told of.
        self.duplicates += server.duplicates + server.repeated.saturating_sub(client.resent);
        self.reordered += server.misplaced;

        let missed = |told: &Numbers| told.len() - told.common(received);
        let accounted = Accounted {
            written: missed(&client.written),
            interrupted: missed(&client.interrupted),
            not_sent: missed(&client.not_sent),
            reset: 0,
        };
        let missing = share - received.len();
        let missing_marked = received.lacks(share, is_marked);
        self.lost += missing_marked.max(missing.saturating_sub(accounted.all()));
        self.accounted.written += accounted.written;
        self.accounted.interrupted += accounted.interrupted;
        self.accounted.not_sent += accounted.not_sent;

        // The server cannot have the whole of a message that the kernel did not take whole, nor lack one that it acknowledged.
        self.contradicted += client.interrupted.common(received) + client.not_sent.common(received);
        self.contradicted += missed(&client.acknowledged);
        self.contradicted += client.acknowledged.lacks(share, is_marked);
        let told = [
            &client.written,
            &client.interrupted,
            &client.not_sent,
            &client.acknowledged,
        ];
        let told: u64 = told.map(Numbers::len).iter().sum();
        self.contradicted += told.abs_diff(share);
    }

    fn resumed(&mut self, share: u64, server: &ServerPage, client: &ClientPage) {
        self.lost += share - client.received;
        self.repeated += server.repeated;
        self.reordered += client.gaps.len() as u64;
        self.duplicates += client.repeated;
        self.contradicted += share.abs_diff(server.high);
    }

    fn unresumed(&mut self, share: u64, server: &ServerPage, client: &ClientPage) {
        self.duplicates += client.repeated + server.repeated;
        self.contradicted += share.abs_diff(server.high);
        let mut passed_over = 0;
        for (from, to, seam) in &client.gaps {
            let numbers = to - from + 1;
            passed_over += numbers;
            if *seam == Seam::BetweenSockets && was_reset(&server.carried, *from, *to) {
                self.accounted.reset += numbers;
            } else {
                self.lost += numbers;
            }
        }
        self.contradicted += share.abs_diff(client.received + passed_over);
    }
}

/// Whether these numbers are the last of a socket that was reset, and all of any such sockets after it.
fn was_reset(carried: &[(u64, u64, Option<Ending>)], from: u64, to: u64) -> bool {
    let mut overlapping = carried
        .iter()
        .filter(|(first, last, _)| *first <= to && *last >= from);
    carried.iter().any(|(_, last, _)| *last == to)
        && overlapping.all(|(_, _, ending)| ending.is_some_and(Ending::destroys))
}
