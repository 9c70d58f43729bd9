//! Everybody who does the work: Ropewalk on its runtimes, its peers, and the bare kernel.

mod bare;
mod drive;
mod elsewhere;
mod fastwebsockets;
mod one_thread;
mod place;
mod python;
mod ropewalk;
mod tokio_tungstenite;
mod tokio_websockets;
mod tungstenite_elsewhere;
mod yawc;

use serde::{Deserialize, Serialize};

use crate::peer::Address;
use crate::work::{Done, Work};
pub use one_thread::{ONE_THREAD, on_one_thread};
pub(crate) use place::Place;

/// Who does the work.
#[derive(
    Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    /// This library on tokio.
    RopewalkTokio,
    /// This library on smol.
    RopewalkSmol,
    /// This library on async-std.
    RopewalkAsyncStd,
    /// fastwebsockets, on tokio.
    Fastwebsockets,
    /// tokio-tungstenite.
    TokioTungstenite,
    /// tokio-websockets.
    TokioWebsockets,
    /// yawc, on tokio.
    Yawc,
    /// async-tungstenite on smol.
    AsyncTungsteniteSmol,
    /// async-tungstenite on async-std.
    AsyncTungsteniteAsyncStd,
    /// websockets, in Python, if there is one: for reference, since it is another language's.
    Python,
    /// No client: tokio reads what comes and looks at nothing.
    BareTokio,
    /// No client: smol reads what comes and looks at nothing.
    BareSmol,
    /// No client: async-std reads what comes and looks at nothing.
    BareAsyncStd,
    /// No client and no runtime: headers parsed over one shared buffer, UTF-8 checked.
    Probe,
    /// No client and no runtime: what the kernel's `read` costs.
    Kernel,
}

/// What a contestant is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// This library.
    Ropewalk,
    /// Another one, which it is compared with.
    Peer,
    /// No client, but what none can do without.
    Bound,
}

/// What a contestant runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsOn {
    /// One thread of tokio.
    Tokio,
    /// smol's executor, with one thread; the work is one of its tasks.
    Smol,
    /// async-std's executor, with one thread; the work is one of its tasks.
    AsyncStd,
    /// Python's event loop.
    Asyncio,
    /// A thread that blocks.
    Nothing,
}

/// What goes wrong in a contestant goes wrong in the measurement.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

impl Contestant {
    /// Everybody.
    pub const ALL: [Self; 15] = [
        Self::RopewalkTokio,
        Self::RopewalkSmol,
        Self::RopewalkAsyncStd,
        Self::Fastwebsockets,
        Self::TokioTungstenite,
        Self::TokioWebsockets,
        Self::Yawc,
        Self::AsyncTungsteniteSmol,
        Self::AsyncTungsteniteAsyncStd,
        Self::Python,
        Self::BareTokio,
        Self::BareSmol,
        Self::BareAsyncStd,
        Self::Probe,
        Self::Kernel,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::RopewalkTokio => "ropewalk (tokio)",
            Self::RopewalkSmol => "ropewalk (smol)",
            Self::RopewalkAsyncStd => "ropewalk (async-std)",
            Self::Fastwebsockets => "fastwebsockets",
            Self::TokioTungstenite => "tokio-tungstenite",
            Self::TokioWebsockets => "tokio-websockets",
            Self::Yawc => "yawc",
            Self::AsyncTungsteniteSmol => "async-tungstenite (smol)",
            Self::AsyncTungsteniteAsyncStd => "async-tungstenite (async-std)",
            Self::Python => "websockets (Python)",
            Self::BareTokio => "read loop (tokio)",
            Self::BareSmol => "read loop (smol)",
            Self::BareAsyncStd => "read loop (async-std)",
            Self::Probe => "headers and UTF-8 over one buffer",
            Self::Kernel => "kernel's read",
        }
    }

    /// What it is there for.
    pub fn part(self) -> Part {
        match self {
            Self::RopewalkTokio | Self::RopewalkSmol | Self::RopewalkAsyncStd => Part::Ropewalk,
            Self::Fastwebsockets
            | Self::TokioTungstenite
            | Self::TokioWebsockets
            | Self::Yawc
            | Self::AsyncTungsteniteSmol
            | Self::AsyncTungsteniteAsyncStd
            | Self::Python => Part::Peer,
            Self::BareTokio | Self::BareSmol | Self::BareAsyncStd | Self::Probe | Self::Kernel => {
                Part::Bound
            }
        }
    }

    /// What it runs on.
    pub fn runs_on(self) -> RunsOn {
        match self {
            Self::RopewalkTokio
            | Self::Fastwebsockets
            | Self::TokioTungstenite
            | Self::TokioWebsockets
            | Self::Yawc
            | Self::BareTokio => RunsOn::Tokio,
            Self::RopewalkSmol | Self::AsyncTungsteniteSmol | Self::BareSmol => RunsOn::Smol,
            Self::RopewalkAsyncStd | Self::AsyncTungsteniteAsyncStd | Self::BareAsyncStd => {
                RunsOn::AsyncStd
            }
            Self::Python => RunsOn::Asyncio,
            Self::Probe | Self::Kernel => RunsOn::Nothing,
        }
    }

    /// Whether it looks at payloads. The others only count bytes.
    pub fn looks(self) -> bool {
        match self {
            Self::BareTokio | Self::BareSmol | Self::BareAsyncStd | Self::Kernel => false,
            Self::Probe
            | Self::RopewalkTokio
            | Self::RopewalkSmol
            | Self::RopewalkAsyncStd
            | Self::Fastwebsockets
            | Self::TokioTungstenite
            | Self::TokioWebsockets
            | Self::Yawc
            | Self::AsyncTungsteniteSmol
            | Self::AsyncTungsteniteAsyncStd
            | Self::Python => true,
        }
    }

    /// Whether it can do anything on this machine: what is not Rust may be missing.
    pub fn is_here(self) -> bool {
        self != Self::Python || python::is_here()
    }

    /// What of the work it does: all, unless it would need very long. What is measured is divided by the messages.
    #[must_use]
    pub fn share(self, work: Work) -> Work {
        match self {
            Self::Python => work.nth(10),
            Self::RopewalkTokio
            | Self::RopewalkSmol
            | Self::RopewalkAsyncStd
            | Self::Fastwebsockets
            | Self::TokioTungstenite
            | Self::TokioWebsockets
            | Self::Yawc
            | Self::AsyncTungsteniteSmol
            | Self::AsyncTungsteniteAsyncStd
            | Self::BareTokio
            | Self::BareSmol
            | Self::BareAsyncStd
            | Self::Probe
            | Self::Kernel => work,
        }
    }

    /// Does the work, with a peer at this address.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub fn work(self, work: Work, peer: &Address) -> Result<Done, Problem> {
        let place = Place::of(work, peer)?;
        let to = &place;
        match self {
            Self::RopewalkTokio => ropewalk::on_tokio(work, to),
            Self::RopewalkSmol => ropewalk::on_smol(work, place),
            Self::RopewalkAsyncStd => ropewalk::on_async_std(work, place),
            Self::Fastwebsockets => drive::on_tokio::<fastwebsockets::Client>(work, to),
            Self::TokioTungstenite => drive::on_tokio::<tokio_tungstenite::Client>(work, to),
            Self::TokioWebsockets => drive::on_tokio::<tokio_websockets::Client>(work, to),
            Self::Yawc => drive::on_tokio::<yawc::Client>(work, to),
            Self::AsyncTungsteniteSmol => tungstenite_elsewhere::on_smol(work, place),
            Self::AsyncTungsteniteAsyncStd => tungstenite_elsewhere::on_async_std(work, place),
            Self::Python => python::work(work, to),
            Self::BareTokio => bare::on_tokio(work, to),
            Self::BareSmol => bare::on_smol(work, place),
            Self::BareAsyncStd => bare::on_async_std(work, place),
            Self::Probe => bare::probe(work, to),
            Self::Kernel => bare::kernel(work, to),
        }
    }
}
