//! Everybody who does the work: Ropewalk on its runtimes, its peers, and the bare kernel.

mod bare;
mod drive;
mod fastwebsockets;
mod ropewalk;
mod tokio_tungstenite;
mod tokio_websockets;
mod tungstenite_elsewhere;
mod yawc;

use serde::{Deserialize, Serialize};

use crate::work::{Done, Work};

/// Who does the work.
#[derive(
    Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Contestant {
    RopewalkTokio,
    RopewalkSmol,
    RopewalkAsyncStd,
    Fastwebsockets,
    TokioTungstenite,
    TokioWebsockets,
    Yawc,
    AsyncTungsteniteSmol,
    AsyncTungsteniteAsyncStd,
    /// No client: tokio reads what comes and looks at nothing.
    BareTokio,
    BareSmol,
    BareAsyncStd,
    /// No client and no runtime: what the kernel's `read` costs.
    Kernel,
}

/// What goes wrong in a contestant goes wrong in the measurement.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

impl Contestant {
    /// Everybody.
    pub const ALL: [Self; 13] = [
        Self::RopewalkTokio,
        Self::RopewalkSmol,
        Self::RopewalkAsyncStd,
        Self::Fastwebsockets,
        Self::TokioTungstenite,
        Self::TokioWebsockets,
        Self::Yawc,
        Self::AsyncTungsteniteSmol,
        Self::AsyncTungsteniteAsyncStd,
        Self::BareTokio,
        Self::BareSmol,
        Self::BareAsyncStd,
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
            Self::BareTokio => "read loop (tokio)",
            Self::BareSmol => "read loop (smol)",
            Self::BareAsyncStd => "read loop (async-std)",
            Self::Kernel => "kernel's read",
        }
    }

    /// Does the work, with a peer on this port.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub fn work(self, work: Work, port: u16) -> Result<Done, Problem> {
        let url = format!("ws://127.0.0.1:{port}{}", work.service().path());
        match self {
            Self::RopewalkTokio => ropewalk::on_tokio(work, &url),
            Self::RopewalkSmol => ropewalk::on_smol(work, &url),
            Self::RopewalkAsyncStd => ropewalk::on_async_std(work, &url),
            Self::Fastwebsockets => drive::on_tokio::<fastwebsockets::Client>(work, &url),
            Self::TokioTungstenite => drive::on_tokio::<tokio_tungstenite::Client>(work, &url),
            Self::TokioWebsockets => drive::on_tokio::<tokio_websockets::Client>(work, &url),
            Self::Yawc => drive::on_tokio::<yawc::Client>(work, &url),
            Self::AsyncTungsteniteSmol => tungstenite_elsewhere::on_smol(work, &url),
            Self::AsyncTungsteniteAsyncStd => tungstenite_elsewhere::on_async_std(work, &url),
            Self::BareTokio => bare::on_tokio(work, &url),
            Self::BareSmol => bare::on_smol(work, &url),
            Self::BareAsyncStd => bare::on_async_std(work, &url),
            Self::Kernel => bare::kernel(work, &url),
        }
    }
}
