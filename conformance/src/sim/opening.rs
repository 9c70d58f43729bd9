//! What a simulation consists of: connections to open, and servers to dial.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_core::{Config, Consumer, Hooks, Instant, Settings, Target};

use super::LinkProfile;
use crate::scenario::Consuming;
use crate::script::DialPlan;

/// Decides what becomes of each dial.
pub trait Servers: fmt::Debug {
    /// What the server does with this connection's dial of this number, and over which network.
    fn plan(&mut self, connection: &str, dial: u32, now: Instant) -> (DialPlan, LinkProfile);
}

/// What to open.
#[derive(Debug)]
pub struct Opening {
    /// The name in traces.
    pub name: String,
    /// Where to.
    pub target: Target,
    /// Its URLs, in order, for traces that tell them apart.
    pub urls: Vec<String>,
    /// The address that its host name has.
    pub address: SocketAddr,
    /// The configuration.
    pub config: Arc<Config>,
    /// Who takes the messages.
    pub consumer: Consumer,
    /// Whether they are taken from the start.
    pub consuming: Consuming,
    /// How long the consumer is busy with a batch.
    pub busy: Duration,
}

impl Opening {
    /// A connection that pulls its messages, to an address of its own.
    ///
    /// # Panics
    /// If the settings are not sound, or there are more than 4,096 connections.
    pub fn simple(name: &str, index: u32, settings: Settings) -> Self {
        assert!(index < 4_096, "the addresses of 10.0.0.0/16 are used up");
        let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0001 + index * 16), 9000));
        let url = format!("ws://{address}/{name}");
        let config = Config::new(settings, Hooks::default()).expect("the settings are sound");
        Self {
            name: name.into(),
            target: Target::parse(&url).expect("an address makes a URL"),
            urls: vec![url],
            address,
            config: Arc::new(config),
            consumer: Consumer::Pull,
            consuming: Consuming::Yes,
            busy: Duration::ZERO,
        }
    }
}

/// The same servers, whatever the connection and the dial.
#[derive(Clone, Debug)]
pub struct Always {
    /// What they do.
    pub plan: DialPlan,
    /// Over this network.
    pub profile: LinkProfile,
}

impl Servers for Always {
    fn plan(&mut self, _: &str, _: u32, _: Instant) -> (DialPlan, LinkProfile) {
        (self.plan.clone(), self.profile)
    }
}
