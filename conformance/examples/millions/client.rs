//! The client: connections of one fleet, each driven by a task that counts what becomes of its messages.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use ropewalk_driver::{
    AdmissionLimits, Bytes, Connect, ConnectionHandle, Counters, Fleet, Kind, Message, MessageRef,
    Outcome, Receipt, Runtime, Settings,
};

use super::books::{ClientPage, Seam, Was};
use super::plan::{Mark, Pass, Plan, Replies};
use super::wire;

/// How many outcomes of a connection are awaited at most.
const PENDING_MAX: usize = 1_024;
/// How long a connection may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Runs the client's side of a pass; a page for each connection, in their order.
pub(crate) async fn run<R: Runtime>(
    plan: Plan,
    address: SocketAddr,
) -> Result<Vec<ClientPage>, String> {
    let redials = std::num::NonZeroU32::MIN.saturating_add(9_999);
    let builder = Fleet::<R>::builder().admission(AdmissionLimits {
        redial_burst: redials,
        redial_rate_min: redials,
        ..AdmissionLimits::default()
    });
    let fleet = builder.build().map_err(|error| error.to_string())?;
    let (pages, finished) = smol::channel::unbounded();
    for connection in 0..plan.connections {
        let connect = connect(plan.pass, &format!("ws://{address}/{connection}"));
        let handle = fleet.open(connect?);
        let (pages, share) = (pages.clone(), plan.share(connection));
        R::spawn(async move {
            let page = match plan.pass {
                Pass::OutboundAcknowledged | Pass::OutboundMixed | Pass::OutboundPlain => {
                    send(handle, plan.pass, share).await
                }
                Pass::InboundResumed | Pass::InboundPlain => receive(handle, share).await,
            };
            // Nobody waits any more if something else has failed.
            drop(pages.send((connection, page)).await);
        });
    }
    drop(pages);
    let mut all = Vec::new();
    while let Ok(page) = finished.recv().await {
        all.push(page);
    }
    all.sort_unstable_by_key(|(connection, _)| *connection);
    Ok(all.into_iter().map(|(_, page)| page).collect())
}

fn connect(pass: Pass, url: &str) -> Result<Connect, String> {
    let connect = Connect::to(url).map_err(|error| error.to_string())?;
    let connect = connect.settings(settings());
    let connect = match pass {
        Pass::OutboundAcknowledged | Pass::OutboundMixed => connect
            .acknowledge(
                |request| {
                    Some(Bytes::copy_from_slice(
                        request.as_bytes().first_chunk::<8>()?,
                    ))
                },
                |reply| Some(Bytes::copy_from_slice(reply.as_bytes())),
            )
            .process(|batch| async { batch.ack() }),
        Pass::OutboundPlain => connect.process(|batch| async { batch.ack() }),
        Pass::InboundResumed => connect.ready("from ${next}").resume(1, number),
        Pass::InboundPlain => connect,
    };
    connect.check().map_err(|error| error.to_string())
}

/// Quick to dial again: the server is on this machine, and ends every socket.
fn settings() -> Settings {
    let mut settings = Settings::default();
    let ms = Duration::from_millis;
    settings.backoff.initial = ms(10);
    settings.backoff.floor = ms(1);
    settings.backoff.first_max = ms(10);
    settings.backoff.max = ms(100);
    settings.backoff.flap_max = ms(100);
    settings.backoff.stable_after = ms(10);
    // A machine that is busy with other things must not look like a server that does not answer.
    settings.timeouts.acknowledge = Duration::from_secs(120);
    settings
}

fn number(message: MessageRef<'_>) -> Option<u64> {
    wire::number(message.as_bytes())
}

/// Sends every message, and counts outcomes in the order of the messages.
async fn send(handle: ConnectionHandle, pass: Pass, share: u64) -> ClientPage {
    let mut page = ClientPage::default();
    let mut pending: VecDeque<(u64, Receipt)> = VecDeque::new();
    let sender = handle.sender();
    for number in 1..=share {
        if pending.len() >= PENDING_MAX
            && let Some((number, receipt)) = pending.pop_front()
        {
            page.note(pass, number, &receipt.outcome().await);
        }
        let message = Message::binary(wire::payload(number));
        let message = match pass.mark(number) {
            Mark::Idempotent => message.idempotent(),
            Mark::None => message,
        };
        match sender.send(message).await {
            Ok(receipt) => pending.push_back((number, receipt)),
            Err(error) => {
                page.problems.push(format!("message {number}: {error}"));
                break;
            }
        }
    }
    for (number, receipt) in pending {
        page.note(pass, number, &receipt.outcome().await);
    }
    let counters = page.close(&handle).await;
    page.resent = counters.resent;
    let acknowledged = page.acknowledged.len();
    let told = [
        page.written.len() + acknowledged,
        page.interrupted.len(),
        page.not_sent.len(),
        acknowledged,
    ];
    let counted = [
        counters.written,
        counters.interrupted,
        counters.not_sent,
        counters.acknowledged,
    ];
    if told != counted || counters.accepted != share {
        page.problems
            .push(format!("the receipts told {told:?}: {counters:?}"));
    }
    page
}

/// Takes batches until the server says that there are no more.
async fn receive(handle: ConnectionHandle, share: u64) -> ClientPage {
    let mut page = ClientPage::default();
    let mut generation = 0;
    let mut seen = 0;
    'batches: while let Some(batch) = handle.next_batch().await {
        let mut seam = if batch.generation() == generation {
            Seam::WithinSocket
        } else {
            Seam::BetweenSockets
        };
        if batch.generation() < generation {
            page.problems
                .push(format!("socket {} after {generation}", batch.generation()));
        }
        generation = batch.generation();
        for message in &batch {
            seen += 1;
            match (message.kind(), number(message)) {
                (Kind::Text, _) if message.as_bytes() == wire::END => break 'batches,
                (Kind::Binary, Some(number)) => {
                    page.arrived(number, seam);
                    seam = Seam::WithinSocket;
                }
                (Kind::Text | Kind::Binary, _) => page.strange += 1,
            }
        }
    }
    if page.last < share {
        page.gaps.push((page.last + 1, share, Seam::BetweenSockets));
    }
    let counters = page.close(&handle).await;
    if counters.received < seen || counters.delivered < seen {
        page.problems
            .push(format!("{seen} messages came: {counters:?}"));
    }
    page
}

impl ClientPage {
    fn note(&mut self, pass: Pass, number: u64, outcome: &Outcome) {
        let was = match (outcome, pass.replies()) {
            (Outcome::Acknowledged(reply), Replies::Yes)
                if reply.as_bytes() == number.to_be_bytes() =>
            {
                self.acknowledged.insert(number)
            }
            (Outcome::Written, _) => self.written.insert(number),
            (Outcome::Interrupted, _) => self.interrupted.insert(number),
            (Outcome::NotSent, _) => self.not_sent.insert(number),
            (Outcome::Acknowledged(_) | Outcome::Expired | Outcome::Dropped(_), _) => Was::Known,
        };
        self.strange += u64::from(was == Was::Known);
    }

    fn arrived(&mut self, number: u64, seam: Seam) {
        if number <= self.last {
            self.repeated += 1;
            return;
        }
        if number > self.last + 1 {
            self.gaps.push((self.last + 1, number - 1, seam));
        }
        self.last = number;
        self.received += 1;
    }

    /// Ends the connection; its counters.
    async fn close(&mut self, handle: &ConnectionHandle) -> Counters {
        let Some(report) = handle.close(CLOSE_MAX).await else {
            self.problems.push("there is no report".to_owned());
            return Counters::default();
        };
        if report.state == ropewalk_driver::State::GaveUp {
            self.problems.push("it gave up".to_owned());
        }
        if !report.counters.are_conserved() {
            self.problems
                .push(format!("not conserved: {:?}", report.counters));
        }
        report.counters
    }
}
