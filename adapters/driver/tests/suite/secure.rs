//! The same over TLS.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::{Arc, mpsc::channel};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ropewalk_driver::ropewalk_core::TransportErrorKind;
use ropewalk_driver::ropewalk_core::tls::{CertificateProblem, rustls};
use ropewalk_driver::{
    CloseReason, Connect, EventKind, Fleet, Message, Outcome, Runtime, State, TlsConfig,
    TlsErrorKind, connect,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use tungstenite::WebSocket;

use super::server::{Server, dead_url, echo};
use super::{hasty, take, until, until_state};

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Somebody who vouches for servers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A client's configuration that trusts nobody else.
    fn trusted(&self) -> TlsConfig {
        let builder = TlsConfig::builder().roots_pem(self.0.pem().as_bytes());
        builder.unwrap().build().unwrap()
    }

    /// A server that this authority vouches for, with a script for each TCP connection.
    fn server(&self, script: impl Fn(usize, Stream) + Send + Sync + 'static) -> Server {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        Server::raw(move |number, stream| {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            script(number, StreamOwned::new(tls, stream));
        })
    }

    fn echo(&self) -> Server {
        self.server(|_, stream| {
            if let Ok(session) = tungstenite::accept(stream) {
                echo(session);
            }
        })
    }
}

fn secure_url(server: &Server) -> String {
    format!("wss://localhost:{}/", server.port())
}

fn secure(server: &Server, tls: TlsConfig) -> Connect {
    hasty(Connect::to_with_tls(&secure_url(server), tls).unwrap())
}

pub(crate) async fn secure_echoes_come_back_in_order<R: Runtime>() {
    let authority = Authority::new();
    let server = authority.echo();
    let fleet = Fleet::<R>::new();
    let handle = fleet.open(secure(&server, authority.trusted()));
    // Within a record, in exactly one, across many.
    let lengths = [0, 1, 125, 126, 16_384, 16_385, 70_000, 1 << 20];
    let messages: Vec<_> = (0..40)
        .map(|number| {
            let len = lengths[number % lengths.len()];
            format!("{number} {}", "x".repeat(len))
        })
        .collect();
    let sender = handle.sender();
    let echoed = async {
        let mut echoed = Vec::new();
        for message in &messages {
            sender.send(message.as_str()).await.unwrap();
            echoed.extend(take(&handle, 1).await);
        }
        echoed
    };
    assert!(echoed.await == messages, "something came back changed");
}

pub(crate) async fn a_plain_connection_can_be_secure<R: Runtime>() {
    let authority = Authority::new();
    let server = authority.echo();
    let url = format!("wss://127.0.0.1:{}/", server.port());
    let described = Connect::to_with_tls(&url, authority.trusted()).unwrap();
    let mut socket = connect::<R>(described).await.unwrap();
    socket.send("over TLS").await.unwrap();
    assert_eq!(socket.next().await, Some(Ok(Message::text("over TLS"))));
    socket.close().await.unwrap();
}

pub(crate) async fn a_server_that_nobody_vouches_for_is_told_nothing<R: Runtime>() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let (queued, is_queued) = channel();
    let is_queued = Mutex::new(is_queued);
    let server = Authority::new().server(move |_, mut stream| {
        // Nothing is shown before the message waits.
        is_queued.lock().unwrap().recv().unwrap();
        let mut heard = Vec::new();
        // Ends with the client's alert.
        let end = stream.read_to_end(&mut heard);
        tell.lock().unwrap().send((heard, end.is_err())).unwrap();
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(secure(&server, Authority::new().trusted()));
    let receipt = handle.sender().send("a secret").await.unwrap();
    queued.send(()).unwrap();
    let event = until(&mut events, |kind| matches!(kind, EventKind::GaveUp { .. })).await;
    let EventKind::GaveUp {
        reason: CloseReason::Tls(error),
        ..
    } = event.event.kind
    else {
        panic!("{event:?}")
    };
    let expected = TlsErrorKind::Certificate(CertificateProblem::UnknownAuthority);
    assert_eq!(error.kind, expected);
    assert_eq!(receipt.outcome().await, Outcome::NotSent);
    // Nothing is dialled any more: the server's threads end with the sockets, and drop what they tell by.
    drop(server);
    let heard: Vec<_> = told.iter().collect();
    assert!(!heard.is_empty());
    assert!(
        heard.iter().all(|heard| *heard == (Vec::new(), true)),
        "{heard:?}"
    );
}

pub(crate) async fn a_secure_connection_survives_resets<R: Runtime>() {
    const SESSIONS: usize = 4;
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let authority = Authority::new();
    let server = authority.server(move |number, stream| {
        let Ok(mut session) = tungstenite::accept(stream) else {
            return;
        };
        let kind = session.get_ref().conn.handshake_kind().unwrap();
        tell.lock().unwrap().send(kind).unwrap();
        session
            .send(tungstenite::Message::text(number.to_string()))
            .unwrap();
        if number < SESSIONS {
            // Neither a close frame nor TLS's own end.
            session.get_ref().sock.shutdown(Shutdown::Write).unwrap();
        }
        read_to_end(session);
    });
    let fleet = Fleet::<R>::new();
    let mut events = fleet.events();
    let handle = fleet.open(secure(&server, authority.trusted()));
    assert_eq!(take(&handle, SESSIONS).await, ["1", "2", "3", "4"]);
    for _ in 1..SESSIONS {
        let event = until(&mut events, |kind| matches!(kind, EventKind::Closed { .. })).await;
        let EventKind::Closed {
            reason: CloseReason::Transport(error),
            ..
        } = event.event.kind
        else {
            panic!("{event:?}")
        };
        assert_eq!(error.kind, TransportErrorKind::Eof);
    }
    until_state(&mut events, State::Open).await;
    // Redials resume the session of TLS: no certificate is sent again.
    let kinds: Vec<_> = told.try_iter().collect();
    assert_eq!(kinds[0], HandshakeKind::Full);
    assert_eq!(kinds[1..], [HandshakeKind::Resumed; SESSIONS - 1]);
}

pub(crate) async fn secure_and_other_urls_stand_side_by_side<R: Runtime>() {
    let authority = Authority::new();
    let server = authority.echo();
    let fleet = Fleet::<R>::new();
    let described = Connect::to(&dead_url())
        .unwrap()
        .tls(authority.trusted())
        .or(&secure_url(&server))
        .unwrap();
    let handle = fleet.open(hasty(described));
    handle.sender().send("the second one").await.unwrap();
    assert_eq!(take(&handle, 1).await, ["the second one"]);
}

fn read_to_end(mut session: WebSocket<Stream>) {
    while session.read().is_ok() {}
}
