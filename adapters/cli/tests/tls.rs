//! `wss` URLs, and `[connection.tls]`, from outside.

#![allow(clippy::unwrap_used, reason = "a failure here fails the test")]

mod support;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ropewalk_core::tls::rustls;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use support::{RUNTIMES, raw_server, records, ropewalk, run, text, written};
use tungstenite::{Message, WebSocket};

type Session = WebSocket<StreamOwned<ServerConnection, TcpStream>>;

/// Somebody who vouches for both sides.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// A file with the root.
    fn roots(&self, name: &str) -> PathBuf {
        written(name, &self.0.pem())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A file with a certificate and its key.
    fn identity(&self, name: &str) -> PathBuf {
        let (certificate, key) = self.issue("client.example");
        written(name, &(key.serialize_pem() + &certificate.pem()))
    }

    /// A server at 127.0.0.1 with this authority's certificate.
    fn server(&self, clients: Clients, serve: impl Fn(Session) + Send + Sync + 'static) -> String {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Clients::Anybody => builder.with_no_client_auth(),
            Clients::Known => {
                let mut roots = RootCertStore::empty();
                roots.add(self.0.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (certificate, key) = self.issue("127.0.0.1");
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = Arc::new(
            builder
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap(),
        );
        let url = raw_server(move |_, stream| {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            if let Ok(session) = tungstenite::accept(StreamOwned::new(tls, stream)) {
                serve(session);
            }
        });
        url.replace("ws://", "wss://")
    }
}

/// Whom a server lets in.
#[derive(Clone, Copy)]
enum Clients {
    Anybody,
    /// Those that its own authority vouches for.
    Known,
}

/// Runs the command on a system whose authorities are those in this file.
fn trusting(roots: &Path, arguments: &[&str]) -> Output {
    ropewalk(arguments)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap()
}

fn greet(mut session: Session) {
    session.send(Message::text("hello")).unwrap();
    while session.read().is_ok() {}
}

/// Says something, and closes when it came back.
fn converse(mut session: Session) {
    let message = Message::binary(vec![7; 1 << 20]);
    session.send(message.clone()).unwrap();
    assert!(session.read().unwrap() == message);
    session.close(None).unwrap();
    while session.read().is_ok() {}
}

fn hello_came(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(records(&output.stdout)[0]["data"], "hello");
}

#[test]
fn the_authorities_of_the_system_are_trusted_on_every_runtime() {
    let authority = Authority::new();
    let roots = authority.roots("system.pem");
    let greeting = authority.server(Clients::Anybody, greet);
    let conversing = authority.server(Clients::Anybody, converse);
    for runtime in RUNTIMES {
        let tap = ["tap", "--runtime", runtime, "--count", "1", &greeting];
        let echo = ["echo", "--runtime", runtime, &conversing];
        hello_came(&trusting(&roots, &tap));
        let output = trusting(&roots, &echo);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

/// Elsewhere the platform does not ask the environment whom to trust.
#[cfg(target_os = "linux")]
#[test]
fn the_platform_judges_servers_where_it_is_asked_to() {
    let authority = Authority::new();
    let roots = authority.roots("platform.pem");
    let url = authority.server(Clients::Known, greet);
    let config = format!(
        "[[connection]]\nurl = \"{url}\"\n[connection.backoff]\nattempts_max = 1\n[connection.tls]\nroots = \"platform\"\nclient_certificate = \"{}\"\n",
        authority.identity("platform-client.pem").display(),
    );
    let config = written("platform.toml", &config);
    let path = config.to_str().unwrap();
    let printed = trusting(&roots, &["check", path]);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let again = written("platform-again.toml", text(&printed.stdout));
    let again = again.to_str().unwrap();
    for runtime in RUNTIMES {
        let tap = ["tap", "--runtime", runtime, "--count", "1", "--config"];
        hello_came(&trusting(&roots, &[&tap[..], &[path]].concat()));
        hello_came(&trusting(&roots, &[&tap[..], &[again]].concat()));
    }

    let strangers = Authority::new().roots("platform-stranger.pem");
    let output = trusting(&strangers, &["tap", "--config", path]);
    assert_eq!(output.status.code(), Some(1));
    let events = text(&output.stderr);
    assert!(events.contains("no trusted authority issued"), "{events}");

    let nobody = written("platform-none.pem", "");
    let output = trusting(&nobody, &["check", path]);
    assert_eq!(output.status.code(), Some(2));
    let problem = text(&output.stderr);
    assert!(problem.contains("`connection.tls.roots`"), "{problem}");
    assert!(problem.contains("cannot verify servers"), "{problem}");
}

#[test]
fn others_are_not_trusted_and_the_reason_is_told() {
    let url = Authority::new().server(Clients::Anybody, greet);
    let roots = Authority::new().roots("stranger.pem");
    let config = format!(
        "[[connection]]\nurl = \"{url}\"\n[connection.backoff]\nattempts_max = 1\n[connection.tls]\nroots = \"{}\"\n",
        roots.display()
    );
    let config = written("stranger.toml", &config);
    let output = run(&["tap", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let events = text(&output.stderr);
    assert!(events.contains("no trusted authority issued"), "{events}");

    let output = trusting(&roots, &["echo", &url]);
    assert_eq!(output.status.code(), Some(1));
    let problem = text(&output.stderr);
    assert!(problem.contains("no trusted authority issued"), "{problem}");
}

#[test]
fn a_system_without_authorities_is_told_from_a_wrong_url() {
    let none = written("none.pem", "");
    let config = written("none.toml", "[[connection]]\nurl = \"wss://127.0.0.1/\"\n");
    let check = ["check", config.to_str().unwrap()];
    for arguments in [&check, &["echo", "wss://127.0.0.1/"]] {
        let output = trusting(&none, arguments);
        assert_eq!(output.status.code(), Some(2));
        let problem = text(&output.stderr);
        let words = "no root certificate of this system";
        assert!(problem.contains(words), "{problem}");
    }
}

#[test]
fn a_configuration_names_roots_and_a_client_certificate() {
    let authority = Authority::new();
    let url = authority.server(Clients::Known, greet);
    let config = format!(
        "[defaults.tls]\nroots = \"{}\"\n[[connection]]\nurl = \"{url}\"\n[connection.tls]\nclient_certificate = \"{}\"\n",
        authority.roots("own.pem").display(),
        authority.identity("client.pem").display(),
    );
    let config = written("own.toml", &config);
    let path = config.to_str().unwrap();
    hello_came(&run(&["tap", "--count", "1", "--config", path]));

    // What is printed means the same.
    let printed = run(&["check", path]);
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let again = written("own-again.toml", text(&printed.stdout));
    let path = again.to_str().unwrap();
    hello_came(&run(&["tap", "--count", "1", "--config", path]));
}

#[test]
fn a_client_certificate_without_its_key_is_refused_with_its_place() {
    let authority = Authority::new();
    let roots = authority.roots("keyless.pem");
    let config = format!(
        "[[connection]]\nurl = \"wss://a.example\"\n[connection.tls]\nroots = \"{0}\"\nclient_certificate = \"{0}\"\n",
        roots.display(),
    );
    let config = written("keyless.toml", &config);
    let output = run(&["check", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "ropewalk: {}:5: `connection.tls.client_certificate` is wrong: {}: there is no private key",
        config.display(),
        roots.display(),
    );
    let problem = text(&output.stderr);
    assert!(problem.starts_with(&expected), "{problem}");
}
