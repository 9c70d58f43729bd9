//! Servers that do everything a server can do wrong, by chance.

use std::time::Duration;

use ropewalk_core::{Instant, Jitter};

use super::{LinkProfile, Servers, pick};
use crate::script::{DialPlan, Greeting, Step};
use crate::wire::server_frame;

/// Which faults happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// All of them.
    Storm,
    /// Those that no number of makes a connection give up.
    Rain,
    /// None.
    Calm,
}

/// Random servers, each dial's from the seed, the connection and the dial's number alone.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// The seed.
    pub seed: u64,
    /// Until `calm_after`.
    pub weather: Weather,
    /// From here on all servers are well.
    pub calm_after: Instant,
    /// Connections whose servers are well from the start.
    pub spared: Vec<String>,
}

impl Servers for Chaos {
    fn plan(&mut self, connection: &str, dial: u32, now: Instant) -> (DialPlan, LinkProfile) {
        if now >= self.calm_after || self.spared.iter().any(|name| name == connection) {
            return (healthy(dial), LinkProfile::LOOPBACK);
        }
        let name = connection.bytes().fold(self.seed, |sum, byte| {
            sum.wrapping_mul(257) ^ u64::from(byte)
        });
        let mut rng = Jitter::from_state(name ^ (u64::from(dial) << 40));
        rng.next_u64();
        let profile = LinkProfile::draw(&mut rng);
        let plan = match self.weather {
            Weather::Calm => healthy(dial),
            Weather::Storm => stormy(&mut rng, dial, Weather::Storm),
            Weather::Rain => stormy(&mut rng, dial, Weather::Rain),
        };
        (plan, profile)
    }
}

fn healthy(dial: u32) -> DialPlan {
    DialPlan {
        greeting: Greeting::Accept,
        steps: vec![upgrade(dial), Step::Echo],
    }
}

/// Opens a WebSocket; what it says to an offer of compression goes in turn, so that one connection has it now and then.
fn upgrade(dial: u32) -> Step {
    match dial % 3 {
        0 => Step::Upgrade(Vec::new()),
        1 => Step::UpgradeDeflating(""),
        _ => Step::UpgradeDeflating("; client_no_context_takeover; client_max_window_bits=10"),
    }
}

fn stormy(rng: &mut Jitter, dial: u32, weather: Weather) -> DialPlan {
    let mut steps = Vec::new();
    let greeting = match rng.next_u64() % 24 {
        0..=2 => Greeting::Refuse,
        3 => Greeting::Blackhole,
        4 => Greeting::Unreachable,
        5 => Greeting::OutOfResources,
        6 => Greeting::SelfConnect,
        7 if weather == Weather::Storm => Greeting::Denied,
        _ => Greeting::Accept,
    };
    if greeting == Greeting::Accept {
        if rng.next_u64().is_multiple_of(5) {
            steps.push(bad_answer(rng, weather));
        } else {
            steps.push(upgrade(dial));
            for _ in 0..rng.next_u64() % 8 {
                steps.push(good_step(rng));
            }
            steps.extend(bad_end(rng, weather));
        }
    }
    DialPlan { greeting, steps }
}

/// What a server does instead of opening a WebSocket.
fn bad_answer(rng: &mut Jitter, weather: Weather) -> Step {
    let retried: [u16; 8] = [408, 425, 429, 500, 502, 503, 504, 522];
    let others: [u16; 10] = [200, 301, 400, 401, 403, 404, 407, 410, 426, 700];
    match rng.next_u64() % 8 {
        0 => Step::Stall,
        1 => Step::Eof,
        2 => Step::Reset,
        3 => Step::Status(503, vec!["Retry-After: 1".into()]),
        4 | 5 => Step::Status(pick(rng, &retried), Vec::new()),
        _ if weather == Weather::Rain => Step::Status(pick(rng, &retried), Vec::new()),
        6 => Step::Status(pick(rng, &others), Vec::new()),
        _ => pick_response(rng),
    }
}

fn pick_response(rng: &mut Jitter) -> Step {
    let responses: [&str; 5] = [
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm9ub25vbm9ub25vbm9ub25vbm8=\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.0 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: x-unheard-of\r\n\r\n",
    ];
    Step::Respond(pick(rng, &responses).as_bytes().to_vec())
}

fn good_step(rng: &mut Jitter) -> Step {
    let number = rng.next_u64() % 1_000_000;
    match rng.next_u64() % 12 {
        0 => Step::SendPing(number.to_be_bytes().to_vec()),
        1 => Step::SendBinary(number.to_be_bytes().repeat(pick(rng, &[0, 1, 20, 500]))),
        2 => Step::SendText(format!("retry {number}")),
        3 => Step::SendText(format!("reject {number}")),
        4 => {
            let mut raw = server_frame(0x01, format!("{number} in ").as_bytes());
            raw.extend(server_frame(0x89, b"between"));
            raw.extend(server_frame(0x00, b""));
            raw.extend(server_frame(0x80, b"pieces"));
            Step::SendRaw(raw)
        }
        5 => Step::SendRaw(server_frame(0x81, format!("{number};").as_bytes()).repeat(30)),
        6 | 7 => Step::Sleep(Duration::from_micros(rng.next_u64() % 3_000_000)),
        8 => Step::SendText("€".repeat(pick(rng, &[1, 50, 1_000]))),
        _ => Step::SendText(format!("{number}")),
    }
}

/// How a session ends, if its server ends it.
fn bad_end(rng: &mut Jitter, weather: Weather) -> Vec<Step> {
    let retried: [u16; 6] = [1000, 1001, 1011, 1014, 4000, 4999];
    let others: [u16; 8] = [1002, 1003, 1007, 1008, 1009, 3000, 3003, 3500];
    let close = |code| vec![Step::Close(Some((code, "by chance".into())))];
    match rng.next_u64() % 12 {
        0 => vec![Step::Reset],
        1 => vec![Step::Eof],
        2 => vec![Step::Stall],
        3 => vec![Step::Close(None)],
        4 | 5 => close(pick(rng, &retried)),
        6 => vec![Step::SendRaw(vec![0x81, 0x7e, 0x01]), Step::Reset],
        7 => vec![Step::SendRaw(vec![0x82, 0x7f, 0, 0, 0, 0, 0, 1]), Step::Eof],
        8 if weather == Weather::Storm => close(pick(rng, &others)),
        9 | 10 if weather == Weather::Storm => {
            let mistakes: [&[u8]; 6] = [
                &[0x81, 0x81, 1, 2, 3, 4, 5],
                &[0xd1, 0x00],
                &[0x83, 0x00],
                &[0x09, 0x00],
                &[0x81, 0x02, 0xc3, 0x28],
                &[0x88, 0x02, 0x03, 0xed],
            ];
            vec![Step::SendRaw(pick(rng, &mistakes).to_vec())]
        }
        _ => vec![Step::Echo],
    }
}
