//! What a connection does when it does not understand its server, in virtual time.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for the events that it is about"
)]

#[path = "../pair/mod.rs"]
mod pair;

mod choosing;
mod invalid;
mod walking;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pair::{Pair, frame, frames_of, text};
use ropewalk_core::settings::{Deflate, InvalidFate, InvalidPolicy, Reconnect};
use ropewalk_core::{
    Class, CloseReason, Consumer, Decode, Disagreement, EventKind, Expect, GaveUpCause, Hooks,
    Input, Invalid, InvalidKind, Kind, Message, Offering, Outcome, Provider, ReadyStep,
    Renegotiate, Renegotiation, Reply, Resume, Settings, State, Target, Template, Terms,
};

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// Messages begin with the name of their fault, or are sound.
fn decode() -> Decode {
    Decode::new(|message| {
        let kind = match message.as_bytes().first() {
            Some(b'!') => InvalidKind::Malformed,
            Some(b'b') => InvalidKind::WrongType,
            Some(b's') => InvalidKind::Protocol,
            Some(b'p') => InvalidKind::Policy,
            Some(_) | None => return Ok(()),
        };
        Err(Invalid::new(kind, format!("fault {}", message.seq())))
    })
}

fn settings() -> Settings {
    Settings {
        invalid: InvalidPolicy {
            invalid_max: 2,
            ..InvalidPolicy::default()
        },
        ..Settings::default()
    }
}

fn target(subprotocols: &[&str]) -> Target {
    let target = Target::parse("ws://127.0.0.1:9/feed").expect("a good URL");
    subprotocols.iter().fold(target, |target, name| {
        target.subprotocol(name).expect("a token")
    })
}

fn pair(subprotocols: &[&str], settings: Settings, hooks: Hooks) -> Pair {
    Pair::dialling(target(subprotocols), settings, hooks, Consumer::Pull, 1)
}

fn walking(subprotocols: &[&str]) -> Pair {
    let hooks = Hooks {
        decode: Some(decode()),
        ..Hooks::default()
    };
    pair(subprotocols, settings(), hooks)
}

fn choosing(
    subprotocols: &[&str],
    decide: impl Fn(&Disagreement) -> Renegotiation + Send + Sync + 'static,
) -> Pair {
    let hooks = Hooks {
        decode: Some(decode()),
        renegotiate: Some(Renegotiate::new(decide)),
        ..Hooks::default()
    };
    pair(subprotocols, settings(), hooks)
}

fn chosen(terms: Terms) -> Renegotiation {
    Renegotiation::Terms(Box::new(terms))
}

/// The value of a header of the upgrade request that was just written.
fn header(pair: &Pair, name: &str) -> Option<String> {
    let request = std::str::from_utf8(&pair.written).expect("a request");
    assert!(request.starts_with("GET "), "{request}");
    let line = request.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim_start_matches(": ").to_owned())
}

fn offer(pair: &Pair) -> Option<String> {
    header(pair, "Sec-WebSocket-Protocol")
}

/// Waits for the next dial and accepts it, up to the request.
fn dialled(pair: &mut Pair) {
    for _ in 0..10_000 {
        if pair.state() == State::Connecting {
            return pair.accept();
        }
        pair.advance(Duration::from_millis(10));
    }
    panic!("there is no dial: {:?}", pair.state());
}

/// The server chooses.
fn choose(pair: &mut Pair, subprotocol: &str) {
    pair.upgrade_with(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"), b"");
    assert_eq!(pair.state(), State::Open);
}

/// The server is not understood; returns the close code that it is told.
fn disagree(pair: &mut Pair, messages: &[&str]) -> u16 {
    pair.take_written();
    let frames: Vec<u8> = messages.iter().flat_map(|message| text(message)).collect();
    pair.receive(&frames);
    let frames = frames_of(&pair.take_written());
    let (opcode, payload) = frames.last().expect("a close frame");
    assert_eq!(*opcode, CLOSE);
    let socket = pair.socket.expect("there is a socket");
    pair.handle(Input::Eof { socket });
    u16::from_be_bytes([payload[0], payload[1]])
}

const GARBAGE: [&str; 3] = ["!", "!", "!"];

fn classes(pair: &Pair) -> Vec<Class> {
    let class = |kind: &&EventKind| match kind {
        EventKind::Retrying { class, .. } => Some(*class),
        _ => None,
    };
    pair.kinds().iter().filter_map(class).collect()
}

fn renegotiations(pair: &Pair) -> Vec<(String, Offering)> {
    let renegotiating = |kind: &&EventKind| match kind {
        EventKind::Renegotiating {
            subprotocols,
            compression,
        } => Some((subprotocols.join(" "), *compression)),
        _ => None,
    };
    pair.kinds().iter().filter_map(renegotiating).collect()
}

fn gave_up(pair: &Pair) -> Option<GaveUpCause> {
    pair.kinds().iter().find_map(|kind| match kind {
        EventKind::GaveUp { cause, .. } => Some(*cause),
        _ => None,
    })
}
