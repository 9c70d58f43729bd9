//! Records that never end, and handshakes that never do.
//!
//! What rustls keeps of a record, or of a message of a handshake that is cut into records, is charged to nobody; it has
//! to be bounded by itself.

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use ropewalk_conformance::wire::{server_frame, switching_protocols};
use ropewalk_core::tls::rustls::pki_types::PrivateKeyDer;
use ropewalk_core::tls::rustls::{ServerConfig, ServerConnection};
use ropewalk_core::{
    AdmissionLimits, CloseReason, ConnectionId, Settings, Target, TlsConfig, TlsErrorKind,
};

use crate::world::{ALLOWANCE, Fed, KIB, MIB, World, measured, peak, start_counting, turn};

const ADDRESS: &str = "10.0.1.1";
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// The longest message of a handshake that rustls gathers from records.
const HANDSHAKE_BYTES_MAX: usize = 64 * KIB;
/// The most that may follow a record's header (RFC 8446 §5.2).
const RECORD_BYTES_MAX: usize = 16 * KIB + 256;

/// A server, and whom its clients trust.
fn server() -> (Arc<ServerConfig>, TlsConfig) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([ADDRESS.to_owned()]).expect("an address is a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("PKCS#8");
    let server = ServerConfig::builder_with_provider(Arc::new(
        ropewalk_core::tls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("the provider has them")
    .with_no_client_auth()
    .with_single_cert(vec![certificate.der().clone()], private)
    .expect("a good certificate");
    let client = TlsConfig::builder()
        .roots_pem(certificate.pem().as_bytes())
        .and_then(ropewalk_core::tls::TlsConfigBuilder::build)
        .expect("a good authority");
    (Arc::new(server), client)
}

fn connected(world: &mut World, client: TlsConfig) -> ConnectionId {
    let url = format!("wss://{ADDRESS}:9000/");
    let target = Target::parse_with_tls(&url, client).expect("a good URL");
    let mut settings = Settings::default();
    settings.limits.message_bytes_max = MIB;
    settings.limits.frame_bytes_max = MIB;
    world.insert_to(target, &settings)
}

/// A connection whose server is known to it, and what that server encrypts with.
fn opened(world: &mut World) -> (ConnectionId, ServerConnection) {
    let (config, client) = server();
    let id = connected(world, client);
    let mut tls = ServerConnection::new(config).expect("a good configuration");
    tls.set_buffer_limit(None);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let written = world.take_written(id);
        let mut rest = &written[..];
        while !rest.is_empty() {
            tls.read_tls(&mut rest).expect("room");
            tls.process_new_packets().expect("good records");
        }
        // What there is; there is no end yet.
        let _ = tls.reader().read_to_end(&mut request);
        let said = take(&mut tls);
        assert_eq!(world.feed(id, &said), Fed::All);
    }
    let response = encrypt(&mut tls, &switching_protocols(&request, ""));
    assert_eq!(world.feed(id, &response), Fed::All);
    assert_eq!(world.set.state(id), Some(ropewalk_core::State::Open));
    (id, tls)
}

fn take(tls: &mut ServerConnection) -> Vec<u8> {
    let mut ciphertext = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut ciphertext).expect("a vector");
    }
    ciphertext
}

fn encrypt(tls: &mut ServerConnection, plaintext: &[u8]) -> Vec<u8> {
    tls.writer().write_all(plaintext).expect("no limit");
    take(tls)
}

/// A record of this type that is not encrypted.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a record is short");
    let mut record = vec![kind, 3, 3];
    record.extend(len.to_be_bytes());
    record.extend_from_slice(payload);
    record
}

#[track_caller]
fn check(cap: usize) {
    let (allowed, peak) = (cap + ALLOWANCE, peak());
    assert!(peak <= allowed, "{peak} bytes held, {allowed} allowed");
}

#[test]
fn a_record_that_drips_is_held_once() {
    let _turn = turn();
    measured(AdmissionLimits::default(), |world| {
        let (id, mut tls) = opened(world);
        let message = server_frame(0x82, &[b'x'; 16 * KIB - 4]);
        let record = encrypt(&mut tls, &message);
        start_counting();
        let (last, drip) = record.split_last().expect("a record");
        for byte in drip {
            assert_eq!(world.feed(id, &[*byte]), Fed::All);
        }
        check(0);
        assert_eq!(world.delivered(id), 0);
        world.feed(id, &[*last]);
        assert_eq!(world.delivered(id), 1);
        check(0);
    });
}

#[test]
fn a_message_that_comes_in_records_cut_anywhere_costs_its_size_and_its_copy_at_most() {
    let _turn = turn();
    measured(AdmissionLimits::default(), |world| {
        let (id, mut tls) = opened(world);
        let message = server_frame(0x82, &vec![b'x'; MIB]);
        let records = encrypt(&mut tls, &message);
        start_counting();
        for piece in records.chunks(1_000) {
            assert_eq!(world.feed(id, piece), Fed::All);
        }
        assert_eq!(world.delivered(id), 1);
        check(2 * MIB);
    });
}

#[test]
fn tiny_records_cost_no_more_than_what_is_in_them() {
    let _turn = turn();
    measured(AdmissionLimits::default(), |world| {
        let (id, mut tls) = opened(world);
        let mut records = Vec::new();
        for byte in server_frame(0x82, &[b'x'; 5_000]) {
            records.extend(encrypt(&mut tls, &[byte]));
        }
        start_counting();
        assert_eq!(world.feed(id, &records), Fed::All);
        assert_eq!(world.delivered(id), 1);
        check(2 * 5_000);
    });
}

#[test]
fn what_a_consumer_does_not_take_is_held_once_as_plaintext() {
    let _turn = turn();
    measured(AdmissionLimits::default(), |world| {
        let (id, mut tls) = opened(world);
        let message = server_frame(0x82, &[b'x'; 10 * KIB]);
        let records = encrypt(&mut tls, &message.repeat(300));
        world.stop_consuming(id);
        start_counting();
        assert_eq!(world.feed(id, &records), Fed::Stalled);
        check(Settings::default().inbound.bytes_max + 10 * KIB);
    });
}

/// Sends a piece over and over before the handshake, until the connection gives up.
fn flood_of(piece: &[u8]) -> Option<CloseReason> {
    let (_, client) = server();
    measured(AdmissionLimits::default(), |world| {
        let id = connected(world, client);
        start_counting();
        for _ in 0..100_000 {
            if world.feed(id, piece) == Fed::Gone {
                break;
            }
        }
        check(0);
        world.end(id)
    })
}

#[test]
fn handshakes_that_never_end_are_refused_with_little_held() {
    let _turn = turn();
    // A message of a handshake that claims 16 MiB, then 64 KiB, in records of one byte and of many.
    let giant = record(HANDSHAKE, &[2, 0xff, 0xff, 0xff, 0]);
    let large = record(HANDSHAKE, &[2, 0, 0xff, 0xf0, 0]);
    for start in [giant, large] {
        for piece in [&[0; 1][..], &[0; 16 * KIB]] {
            let (_, client) = server();
            let end = measured(AdmissionLimits::default(), |world| {
                let id = connected(world, client);
                start_counting();
                world.feed(id, &start);
                let piece = record(HANDSHAKE, piece);
                while world.feed(id, &piece) == Fed::All {}
                check(HANDSHAKE_BYTES_MAX);
                world.end(id)
            });
            let is_refused = matches!(
                &end,
                Some(CloseReason::Tls(error)) if error.kind == TlsErrorKind::Protocol
            );
            assert!(is_refused, "{end:?}");
        }
    }
}

#[test]
fn records_that_mean_nothing_are_refused_with_little_held() {
    let _turn = turn();
    for piece in [
        record(CHANGE_CIPHER_SPEC, &[1]),
        record(APPLICATION_DATA, &[0; 100]),
        record(APPLICATION_DATA, &[]),
        record(HANDSHAKE, &[]),
        vec![0; KIB],
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ] {
        let end = flood_of(&piece);
        assert!(matches!(end, Some(CloseReason::Tls(_))), "{end:?}");
    }
}

#[test]
fn a_first_record_that_drips_is_held_once() {
    let _turn = turn();
    let (_, client) = server();
    measured(AdmissionLimits::default(), |world| {
        let id = connected(world, client);
        let len = u16::try_from(RECORD_BYTES_MAX).expect("a record is short");
        let [high, low] = len.to_be_bytes();
        start_counting();
        world.feed(id, &[HANDSHAKE, 3, 3, high, low, 2]);
        for _ in 0..RECORD_BYTES_MAX - 2 {
            assert_eq!(world.feed(id, &[0]), Fed::All);
        }
        check(0);
    });
}
