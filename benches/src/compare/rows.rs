//! Which work is compared, and who does it.

use crate::contestants::Contestant;
use crate::work::Work;

/// One row of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures, for people.
    pub title: &'static str,
    pub work: Work,
    pub who: &'static [Contestant],
    pub unit: Unit,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds of processor time a message.
    CpuPerMessage,
    /// Microseconds from a message to its echo: the 99th percentile.
    RoundTrip99,
    /// Bytes of memory a connection.
    MemoryPerConnection,
}

use Contestant::{
    AsyncTungsteniteAsyncStd, AsyncTungsteniteSmol, BareAsyncStd, BareSmol, BareTokio,
    Fastwebsockets, RopewalkAsyncStd, RopewalkSmol, RopewalkTokio, TokioTungstenite,
    TokioWebsockets, Yawc,
};

const CLIENTS: &[Contestant] = &[
    RopewalkTokio,
    Fastwebsockets,
    TokioTungstenite,
    TokioWebsockets,
    Yawc,
    RopewalkSmol,
    AsyncTungsteniteSmol,
    RopewalkAsyncStd,
    AsyncTungsteniteAsyncStd,
];

const EVERYBODY: &[Contestant] = &Contestant::ALL;

const CLIENTS_AND_LOOPS: &[Contestant] = &[
    RopewalkTokio,
    Fastwebsockets,
    TokioTungstenite,
    TokioWebsockets,
    Yawc,
    BareTokio,
    RopewalkSmol,
    AsyncTungsteniteSmol,
    BareSmol,
    RopewalkAsyncStd,
    AsyncTungsteniteAsyncStd,
    BareAsyncStd,
];

/// Everything.
pub const ROWS: &[Row] = &[
    Row {
        name: "receive-128",
        title: "receive 128 B text, one connection",
        work: Work::Receive {
            bytes: 128,
            messages: 2_000_000,
        },
        who: EVERYBODY,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "hand-over-128",
        title: "receive 128 B and hand over through a bounded queue",
        work: Work::HandOver {
            bytes: 128,
            messages: 1_000_000,
        },
        who: CLIENTS,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "receive-16k",
        title: "receive 16 KiB",
        work: Work::Receive {
            bytes: 16 << 10,
            messages: 100_000,
        },
        who: EVERYBODY,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "receive-1m",
        title: "receive 1 MiB",
        work: Work::Receive {
            bytes: 1 << 20,
            messages: 2_000,
        },
        who: EVERYBODY,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "paced-100",
        title: "100 connections, bursts of 4 every 2 ms",
        work: Work::Paced {
            connections: 100,
            messages: 300_000,
        },
        who: CLIENTS_AND_LOOPS,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "paced-1000",
        title: "1,000 connections, the same messages",
        work: Work::Paced {
            connections: 1_000,
            messages: 300_000,
        },
        who: CLIENTS_AND_LOOPS,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "paced-10000",
        title: "10,000 connections, the same messages",
        work: Work::Paced {
            connections: 10_000,
            messages: 300_000,
        },
        who: CLIENTS_AND_LOOPS,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "send-128",
        title: "send a million of 128 B",
        work: Work::Send {
            bytes: 128,
            messages: 1_000_000,
        },
        who: CLIENTS,
        unit: Unit::CpuPerMessage,
    },
    Row {
        name: "echo-128",
        title: "echo of 128 B, one at a time",
        work: Work::Echo {
            bytes: 128,
            messages: 50_000,
        },
        who: CLIENTS,
        unit: Unit::RoundTrip99,
    },
    Row {
        name: "idle-2000",
        title: "memory of an idle connection",
        work: Work::Idle { connections: 2_000 },
        who: CLIENTS,
        unit: Unit::MemoryPerConnection,
    },
];
