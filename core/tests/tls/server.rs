//! A TLS server in memory, and a client of it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use ropewalk_core::tls::rustls::pki_types::{CertificateRevocationListDer, PrivateKeyDer};
use ropewalk_core::tls::rustls::server::WebPkiClientVerifier;
use ropewalk_core::tls::rustls::{
    self, ALL_VERSIONS, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use ropewalk_core::tls::{CertificateRequests, TlsConfigBuilder};
use ropewalk_core::{Consumer, Hooks, Settings, State, Target, TlsConfig};

use crate::pair::{Pair, response_to};

/// Where the client dials unless the test is about names.
pub const URL: &str = "wss://feed.example/v1";
pub const HOST: &str = "feed.example";

/// Somebody who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::named("Test Authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        roots
    }

    /// The list of certificates that this authority took back.
    pub fn revoking(&self, serial: SerialNumber) -> CertificateRevocationListDer<'static> {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2000, 1, 1),
            next_update: date_time_ymd(3000, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: serial,
                revocation_time: date_time_ymd(2001, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).expect("a list").into()
    }

    /// Issues a certificate for these names, valid now.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(3000, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Issued { certificate, key }
    }
}

/// A certificate with its key.
pub struct Issued {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
}

impl Issued {
    fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("PKCS#8")
    }
}

/// How a server is set up.
pub struct Setup {
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub protocols: Vec<Vec<u8>>,
    /// Whose certificates clients must have.
    pub client_roots: Option<RootCertStore>,
    /// Whether clients may have none.
    pub is_client_optional: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            versions: ALL_VERSIONS.to_vec(),
            protocols: vec![b"http/1.1".to_vec()],
            client_roots: None,
            is_client_optional: false,
        }
    }
}

impl Setup {
    pub fn config(self, issued: &Issued) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .expect("known versions");
        let builder = match self.client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = if self.is_client_optional {
                    verifier.allow_unauthenticated()
                } else {
                    verifier
                };
                builder.with_client_cert_verifier(verifier.build().expect("roots"))
            }
        };
        let chain = vec![issued.certificate.der().clone()];
        let mut config = builder
            .with_single_cert(chain, issued.key_der())
            .expect("a good certificate");
        config.alpn_protocols = self.protocols;
        Arc::new(config)
    }
}

/// One connection's server.
pub struct Server {
    pub tls: ServerConnection,
    /// What the client said, decrypted, that the test has not taken.
    pub plaintext: Vec<u8>,
    pub error: Option<rustls::Error>,
}

impl Server {
    pub fn new(config: &Arc<ServerConfig>) -> Self {
        Self {
            tls: ServerConnection::new(Arc::clone(config)).expect("a good configuration"),
            plaintext: Vec::new(),
            error: None,
        }
    }

    pub fn feed(&mut self, mut ciphertext: &[u8]) {
        while !ciphertext.is_empty() && self.error.is_none() {
            let taken = self.tls.read_tls(&mut ciphertext).expect("room");
            if taken == 0 {
                return;
            }
            self.error = self.tls.process_new_packets().err();
            // What there is; the end of it is an error like any other.
            let _ = self.tls.reader().read_to_end(&mut self.plaintext);
        }
    }

    /// What the server sends.
    pub fn take(&mut self) -> Vec<u8> {
        let mut ciphertext = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut ciphertext).expect("a vector");
        }
        ciphertext
    }

    pub fn say(&mut self, plaintext: &[u8]) {
        self.tls.writer().write_all(plaintext).expect("room");
    }

    /// What the server sends when it says this.
    pub fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.tls.set_buffer_limit(None);
        self.say(plaintext);
        self.take()
    }
}

/// A client of a server that it has reason to trust, and that server.
pub struct Secure {
    pub pair: Pair,
    pub server: Server,
    pub config: Arc<ServerConfig>,
}

impl Secure {
    pub fn new() -> Self {
        Self::with(Setup::default(), Settings::default(), Hooks::default())
    }

    pub fn with(setup: Setup, settings: Settings, hooks: Hooks) -> Self {
        let authority = Authority::new();
        let config = setup.config(&authority.issue(&[HOST]));
        let tls = trusting(&authority).build().expect("roots");
        Self::to(URL, tls, config, settings, hooks)
    }

    pub fn to(
        url: &str,
        tls: TlsConfig,
        config: Arc<ServerConfig>,
        settings: Settings,
        hooks: Hooks,
    ) -> Self {
        let target = Target::parse_with_tls(url, tls).expect("a good URL");
        let mut pair = Pair::dialling(target, settings, hooks, Consumer::Pull, 1);
        pair.accept();
        Self {
            pair,
            server: Server::new(&config),
            config,
        }
    }

    /// Lets both sides say what they have to say, the server in pieces of this size.
    pub fn exchange(&mut self, piece: usize) {
        loop {
            let from_client = self.pair.take_written();
            self.server.feed(&from_client);
            let from_server = self.server.take();
            if from_client.is_empty() && from_server.is_empty() {
                return;
            }
            for bytes in from_server.chunks(piece) {
                if self.pair.socket.is_none() {
                    return;
                }
                assert_eq!(self.pair.receive(bytes), bytes.len());
            }
        }
    }

    /// To an open WebSocket.
    pub fn open(&mut self) {
        self.open_in_pieces(usize::MAX);
    }

    pub fn open_in_pieces(&mut self, piece: usize) {
        self.exchange(piece);
        let request = std::mem::take(&mut self.server.plaintext);
        self.server.say(&response_to(&request));
        self.exchange(piece);
        assert_eq!(self.pair.state(), State::Open, "{:?}", self.pair.kinds());
    }

    /// Waits for the next dial, and accepts it: a new connection to the same server.
    pub fn accept_again(&mut self) {
        while self.pair.socket.is_none() {
            self.pair.advance(Duration::from_millis(10));
        }
        self.server = Server::new(&self.config);
        self.pair.accept();
    }
}

pub fn trusting(authority: &Authority) -> TlsConfigBuilder {
    TlsConfig::builder()
        .roots_pem(authority.pem().as_bytes())
        .expect("a certificate")
        .certificate_requests(CertificateRequests::Refuse)
}

/// The types of the records in a stream (RFC 8446 §5.1).
pub fn record_types(mut stream: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = stream {
        types.push(*kind);
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        stream = &rest[len.min(rest.len())..];
    }
    types
}
