//! The attacks.

use std::io::{self, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvError, channel};
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use rcgen::{CertificateParams, KeyPair};
use ropewalk_conformance::wire::server_frame;
use ropewalk_core::settings::{Deflate, Reconnect};
use ropewalk_core::websocket::ProtocolError;
use ropewalk_core::websocket::deflate::INFLATOR_BYTES;
use ropewalk_core::{CloseReason, Reading, TimerKind, TlsConfig, TransportErrorKind, UpgradeError};
use ropewalk_driver::{AdmissionLimits, Connect, EventKind, Message, Runtime, Settings};

use super::field::{ALLOWANCE, Field, KIB, MIB, Note, connect, peak};
use super::server::{Play, Server, open, read_request};

const MESSAGE_BYTES_MAX: usize = 2 * MIB;

/// What a message that waits to be sent costs beside its payload, at most: a receipt, an entry for its outcome, and its
/// places in the mailbox and in the queue, each of which has up to three times its share while it grows.
const MESSAGE_OVERHEAD: usize = 320;

/// All of them, one after the other.
pub(crate) fn all<R: Runtime>(pings_count: usize) {
    bomb::<R>();
    bombs_that_nobody_takes::<R>();
    empty_fragments::<R>();
    announced_giant::<R>();
    drip_of_a_giant::<R>();
    pings::<R>(pings_count);
    messages_that_nobody_takes::<R>();
    endless_heads::<R>();
    unread::<R>();
    handshake_of_tls_without_end::<R>();
    giants::<R>();
}

/// Whether the victim's messages are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consumer {
    Takes,
    TakesOne,
}

fn settings() -> Settings {
    let mut settings = Settings {
        reconnect: Reconnect::Never,
        ..Settings::default()
    };
    settings.limits.message_bytes_max = MESSAGE_BYTES_MAX;
    settings.limits.frame_bytes_max = MESSAGE_BYTES_MAX;
    settings
}

/// Lets a server play its part against a connection, until this happens to it.
#[track_caller]
fn suffer<R: Runtime>(
    play: Play,
    settings: Settings,
    consumer: Consumer,
    cap: usize,
    is_end: impl FnMut(&EventKind) -> bool,
) {
    let server = Server::start(play);
    let connect = connect(&server, settings);
    suffer_from::<R>(server, connect, consumer, cap, is_end);
}

#[track_caller]
fn suffer_from<R: Runtime>(
    server: Server,
    connect: Connect,
    consumer: Consumer,
    cap: usize,
    is_end: impl FnMut(&EventKind) -> bool,
) {
    let mut field = Field::<R>::new(AdmissionLimits::default());
    let handle = Arc::new(field.open(server, connect));
    let victim = Arc::clone(&handle);
    R::spawn(
        async move { while victim.next_batch().await.is_some() && consumer == Consumer::Takes {} },
    );
    field.wait_until(is_end);
    // The victim's allowance, and the neighbour's.
    let (peak, allowed) = (peak(), cap + 2 * ALLOWANCE);
    drop(handle);
    field.finish();
    assert!(peak <= allowed, "{peak} bytes held, {allowed} allowed");
}

/// An end for this reason; another is a failure.
fn closed(is_right: impl Fn(&CloseReason) -> bool) -> impl FnMut(&EventKind) -> bool {
    move |event| match closed_reason(event) {
        Some(reason) => {
            assert!(is_right(reason), "{reason:?}");
            true
        }
        None => false,
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "events are open-ended")]
fn closed_reason(event: &EventKind) -> Option<&CloseReason> {
    match event {
        EventKind::Closed { reason, .. } => Some(reason),
        _ => None,
    }
}

fn is_paused(event: &EventKind) -> bool {
    assert!(closed_reason(event).is_none(), "{event:?}");
    matches!(event, EventKind::Reading(Reading::Paused))
}

fn is_end_of_stream(reason: &CloseReason) -> bool {
    matches!(reason, CloseReason::Transport(error) if error.kind == TransportErrorKind::Eof)
}

/// One MiB that would become one GiB, as a compressed frame.
fn bomb<R: Runtime>() {
    let mut mebibyte = vec![0; 4 * KIB];
    let mut state = Compress::new(Compression::best(), false);
    state
        .compress(&vec![0; MIB], &mut mebibyte, FlushCompress::Sync)
        .expect("a fresh compressor");
    mebibyte.truncate(usize::try_from(state.total_out()).expect("small"));
    let frame = server_frame(0xc2, &mebibyte.repeat(KIB));
    suffer::<R>(
        Box::new(move |stream| {
            open(stream, "Sec-WebSocket-Extensions: permessage-deflate\r\n")?;
            stream.write_all(&frame)
        }),
        with_deflate(),
        Consumer::Takes,
        MESSAGE_BYTES_MAX,
        closed(|reason| {
            matches!(
                reason,
                CloseReason::Protocol(ProtocolError::MessageTooBig { .. })
            )
        }),
    );
}

fn with_deflate() -> Settings {
    let deflate = Deflate {
        ratio_max: None,
        ..Deflate::default()
    };
    Settings {
        deflate: Some(deflate),
        ..settings()
    }
}

fn bombs_that_nobody_takes<R: Runtime>() {
    let mut state = Compress::new(Compression::best(), false);
    let message = vec![0; MIB / 2];
    let bombs = [0, 1].map(|_| {
        let mut payload = vec![0; 4 * KIB];
        let before = state.total_out();
        state
            .compress(&message, &mut payload, FlushCompress::Sync)
            .expect("a compressor in order");
        let len = usize::try_from(state.total_out() - before).expect("small");
        payload.truncate(len - 4);
        server_frame(0xc2, &payload)
    });
    let [first, other] = bombs;
    let others = other.repeat(1_000);
    drop((state, message));
    let settings = with_deflate();
    let cap = settings.inbound.bytes_max + MIB / 2 + INFLATOR_BYTES;
    suffer::<R>(
        Box::new(move |stream| {
            open(stream, "Sec-WebSocket-Extensions: permessage-deflate\r\n")?;
            stream.write_all(&first)?;
            stream.write_all(&others)
        }),
        settings,
        Consumer::TakesOne,
        // What was taken, too.
        cap + MIB,
        is_paused,
    );
}

fn empty_fragments<R: Runtime>() {
    let fragments = [0x00, 0].repeat(100_000);
    suffer::<R>(
        Box::new(move |stream| {
            open(stream, "")?;
            stream.write_all(&[0x01, 0])?;
            // Some of them one by one.
            for piece in fragments[..4_000].chunks(2) {
                stream.write_all(piece)?;
            }
            stream.write_all(&fragments)
        }),
        settings(),
        Consumer::Takes,
        0,
        closed(|reason| {
            matches!(
                reason,
                CloseReason::Protocol(ProtocolError::TooManyFragments { .. })
            )
        }),
    );
}

fn announced_giant<R: Runtime>() {
    for bytes in [(1_u64 << 63) - 1, u64::from(u32::MAX)] {
        suffer::<R>(
            Box::new(move |stream| {
                open(stream, "")?;
                stream.write_all(&giant_header(bytes))?;
                stream.write_all(&[0; 64 * KIB])
            }),
            settings(),
            Consumer::Takes,
            0,
            closed(|reason| {
                matches!(
                    reason,
                    CloseReason::Protocol(ProtocolError::FrameTooBig { .. })
                )
            }),
        );
    }
}

fn giant_header(bytes: u64) -> Vec<u8> {
    let mut header = vec![0x82, 127];
    header.extend(bytes.to_be_bytes());
    header
}

fn drip_of_a_giant<R: Runtime>() {
    const DRIPS: usize = 3_000;
    suffer::<R>(
        Box::new(|stream| {
            open(stream, "")?;
            stream.write_all(&giant_header(MESSAGE_BYTES_MAX as u64))?;
            drip(stream, &[b'x'; DRIPS])
        }),
        settings(),
        Consumer::Takes,
        2 * DRIPS,
        closed(is_end_of_stream),
    );
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
    }
    Ok(())
}

/// Pings whose pongs are never read.
pub(crate) fn pings<R: Runtime>(count: usize) {
    let pings = server_frame(0x89, &[b'p'; 125]).repeat(500);
    suffer::<R>(
        Box::new(move |stream| {
            open(stream, "")?;
            for _ in 0..count / 500 {
                stream.write_all(&pings)?;
            }
            Ok(())
        }),
        settings(),
        Consumer::Takes,
        0,
        closed(is_end_of_stream),
    );
}

fn messages_that_nobody_takes<R: Runtime>() {
    for len in [0, 10, 10 * KIB] {
        let frames = server_frame(0x82, &vec![b'x'; len]).repeat(8 * MIB / (len + 100));
        let settings = settings();
        let batch = settings.batch.bytes_max;
        let cap = settings.inbound.bytes_max + len;
        suffer::<R>(
            Box::new(move |stream| {
                open(stream, "")?;
                stream.write_all(&frames)
            }),
            settings,
            Consumer::TakesOne,
            // What was taken, too.
            cap + batch,
            is_paused,
        );
    }
}

fn endless_heads<R: Runtime>() {
    let drips: Play = Box::new(|stream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n")?;
        loop {
            drip(stream, b"X-Again: and again and again and again and again and again and again and again and again and again and again and again and again and again and again\r\n")?;
        }
    });
    let interim: Play = Box::new(|stream| {
        read_request(stream)?;
        loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")?;
        }
    });
    let body: Play = Box::new(|stream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 503 No\r\n\r\n")?;
        loop {
            stream.write_all(&[b'x'; 1024])?;
        }
    });
    for play in [drips, interim, body] {
        suffer::<R>(
            play,
            settings(),
            Consumer::Takes,
            16 * KIB,
            closed(|reason| {
                matches!(
                    reason,
                    CloseReason::Upgrade(
                        UpgradeError::HeadTooBig { .. }
                            | UpgradeError::TooManyHeaders { .. }
                            | UpgradeError::TooManyInterim { .. }
                            | UpgradeError::Status(_)
                    )
                )
            }),
        );
    }
}

/// A server that reads nothing, and an application that sends what it can.
fn unread<R: Runtime>() {
    let mut settings = Settings {
        // What waits goes on waiting; otherwise dead letters would be made of it.
        reconnect: Reconnect::Always,
        ..settings()
    };
    settings.timeouts.write_progress = Duration::from_millis(500);
    let cap = settings.outbound.bytes_max + settings.outbound.items_max * MESSAGE_OVERHEAD;
    let (client_gone, wait) = channel::<()>();
    let server = Server::start(Box::new(move |stream| {
        open(stream, "")?;
        // Until the test is over.
        match wait.recv() {
            Ok(()) | Err(RecvError) => Ok(()),
        }
    }));
    let connect = connect(&server, settings);
    let mut field = Field::<R>::new(AdmissionLimits::default());
    let handle = field.open(server, connect);
    let sender = handle.sender();
    R::spawn(async move { while sender.send(Message::binary(vec![b'x'; KIB])).await.is_ok() {} });
    field.wait_until(closed(|reason| {
        *reason == CloseReason::Timeout(TimerKind::WriteProgress)
    }));
    let (peak, allowed) = (peak(), cap + 2 * ALLOWANCE);
    drop((handle, client_gone));
    field.finish();
    assert!(peak <= allowed, "{peak} bytes held, {allowed} allowed");
}

/// A server whose first message of the handshake goes on and on, in records of one byte.
fn handshake_of_tls_without_end<R: Runtime>() {
    const HANDSHAKE_BYTES_MAX: usize = 64 * KIB;
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address is a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let tls = TlsConfig::builder()
        .roots_pem(certificate.pem().as_bytes())
        .and_then(ropewalk_core::tls::TlsConfigBuilder::build)
        .expect("a good authority");
    let record = [22, 3, 3, 0, 1, 0].repeat(1_000);
    let server = Server::start(Box::new(move |stream| {
        stream.write_all(&[22, 3, 3, 0, 4, 2, 0, 0xff, 0xf0])?;
        loop {
            stream.write_all(&record)?;
        }
    }));
    let url = format!("wss://{}/", server.address);
    let connect = Connect::to_with_tls(&url, tls)
        .expect("an address makes a URL")
        .settings(settings());
    suffer_from::<R>(
        server,
        connect,
        Consumer::Takes,
        HANDSHAKE_BYTES_MAX,
        closed(|reason| matches!(reason, CloseReason::Tls(_))),
    );
}

/// Messages as large as they may be on connections that together may not hold them.
fn giants<R: Runtime>() {
    const COUNT: usize = 8;
    const EACH: usize = 3;
    const BUDGET: usize = 3 * MIB;
    let limits = AdmissionLimits {
        bytes_max: NonZeroU64::new(BUDGET as u64).expect("it is not zero"),
        ..AdmissionLimits::default()
    };
    let message: Arc<[u8]> = server_frame(0x82, &vec![b'g'; MIB]).into();
    let servers: Vec<Server> = (0..COUNT)
        .map(|_| {
            let message = Arc::clone(&message);
            Server::start(Box::new(move |stream| {
                open(stream, "")?;
                for _ in 0..EACH {
                    stream.write_all(&message)?;
                }
                Ok(())
            }))
        })
        .collect();
    let mut field = Field::<R>::new(limits);
    let mut settings = settings();
    settings.limits.message_bytes_max = MIB;
    settings.limits.frame_bytes_max = MIB;
    let mut handles = Vec::new();
    for server in servers {
        let connect = connect(&server, settings.clone());
        handles.push(field.open(server, connect));
    }
    let left = Arc::new(AtomicUsize::new(COUNT));
    for handle in handles {
        let (note, left) = (field.note(), Arc::clone(&left));
        R::spawn(async move {
            for _ in 0..EACH {
                let batch = handle.next_batch().await;
                let lens = batch.map(|batch| batch.iter().map(|m| m.as_bytes().len()).collect());
                if lens != Some(vec![MIB]) {
                    drop(note.send(Note::Wrong(format!("a giant came as {lens:?}"))));
                }
            }
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                drop(note.send(Note::Done));
            }
        });
    }
    field.wait_until(|_| false);
    // One is finished although the bytes are used up, and is copied into its batch; one may be in each consumer's hands.
    let allowed = BUDGET + (2 + COUNT) * MIB + (COUNT + 1) * ALLOWANCE;
    let peak = peak();
    field.finish();
    assert!(peak <= allowed, "{peak} bytes held, {allowed} allowed");
}
