//! Which work is compared, and who does it.

use super::Measure;
use crate::contestants::Contestant;
use crate::work::Work;

/// One row of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it measures, for people.
    pub title: &'static str,
    /// What is done.
    pub work: Work,
    /// By whom, in this order.
    pub who: &'static [Contestant],
    /// What is compared, the most important first.
    pub measures: &'static [Measure],
}

use Contestant::{
    AsyncTungsteniteAsyncStd, AsyncTungsteniteSmol, BareAsyncStd, BareSmol, BareTokio,
    Fastwebsockets, Python, RopewalkAsyncStd, RopewalkSmol, RopewalkTokio, TokioTungstenite,
    TokioWebsockets, Yawc,
};
use Measure::{
    CallsPerMessage, CpuPerConnection, CpuPerMessage, MemoryPerConnection, RoundTrip50,
    RoundTrip99, RoundTrip999, SleepsPerSecond, Wall, WallPerConnection, WireBytes,
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

/// Where the other language may be of interest.
const CLIENTS_AND_PYTHON: &[Contestant] = &[
    RopewalkTokio,
    Fastwebsockets,
    TokioTungstenite,
    TokioWebsockets,
    Yawc,
    RopewalkSmol,
    AsyncTungsteniteSmol,
    RopewalkAsyncStd,
    AsyncTungsteniteAsyncStd,
    Python,
];

/// The other clients have no permessage-deflate.
const COMPRESSING: &[Contestant] = &[RopewalkTokio, Yawc, RopewalkSmol, RopewalkAsyncStd, Python];

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
        measures: &[CpuPerMessage],
    },
    Row {
        name: "hand-over-128",
        title: "receive 128 B and hand over through a bounded queue",
        work: Work::HandOver {
            bytes: 128,
            messages: 1_000_000,
        },
        who: CLIENTS,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "receive-16k",
        title: "receive 16 KiB",
        work: Work::Receive {
            bytes: 16 << 10,
            messages: 100_000,
        },
        who: EVERYBODY,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "receive-1m",
        title: "receive 1 MiB",
        work: Work::Receive {
            bytes: 1 << 20,
            messages: 2_000,
        },
        who: EVERYBODY,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "tls-128",
        title: "receive 128 B over TLS",
        work: Work::ReceiveTls {
            bytes: 128,
            messages: 1_000_000,
        },
        who: CLIENTS,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "inflate-1k",
        title: "receive 1 KiB of JSON, compressed",
        work: Work::Inflate {
            bytes: 1 << 10,
            messages: 200_000,
        },
        who: COMPRESSING,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "paced-100",
        title: "100 connections, bursts of 4 every 2 ms",
        work: Work::Paced {
            connections: 100,
            messages: 300_000,
        },
        who: CLIENTS_AND_LOOPS,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "paced-1000",
        title: "1,000 connections, the same messages",
        work: Work::Paced {
            connections: 1_000,
            messages: 300_000,
        },
        who: CLIENTS_AND_LOOPS,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "paced-10000",
        title: "10,000 connections, the same messages",
        work: Work::Paced {
            connections: 10_000,
            messages: 300_000,
        },
        who: CLIENTS_AND_LOOPS,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "send-128",
        title: "send a million of 128 B",
        work: Work::Send {
            bytes: 128,
            messages: 1_000_000,
        },
        who: CLIENTS_AND_PYTHON,
        measures: &[CpuPerMessage],
    },
    Row {
        name: "deflate-1k",
        title: "send 1 KiB of JSON, compressed",
        work: Work::Deflate {
            bytes: 1 << 10,
            messages: 50_000,
        },
        who: COMPRESSING,
        measures: &[CpuPerMessage, WireBytes],
    },
    Row {
        name: "echo-128",
        title: "echo of 128 B, one at a time",
        work: Work::Echo {
            bytes: 128,
            messages: 50_000,
        },
        who: CLIENTS_AND_PYTHON,
        measures: &[RoundTrip50, RoundTrip99, RoundTrip999, CpuPerMessage],
    },
    Row {
        name: "connect-2000",
        title: "2,000 connections one after the other, each until its first message",
        work: Work::Connect { connections: 2_000 },
        who: CLIENTS,
        measures: &[CpuPerConnection, WallPerConnection],
    },
    Row {
        name: "recover-1000",
        title: "1,000 dropped connections until all are back",
        work: Work::Recover { connections: 1_000 },
        who: CLIENTS,
        measures: &[CpuPerConnection, Wall],
    },
    Row {
        name: "idle-2000",
        title: "2,000 idle connections",
        work: Work::Idle { connections: 2_000 },
        who: CLIENTS_AND_PYTHON,
        measures: &[MemoryPerConnection, SleepsPerSecond],
    },
    Row {
        name: "calls-receive-128",
        title: "system calls: receive 128 B",
        work: Work::Receive {
            bytes: 128,
            messages: 500_000,
        },
        who: CLIENTS,
        measures: &[CallsPerMessage],
    },
    Row {
        name: "calls-send-128",
        title: "system calls: send 128 B",
        work: Work::Send {
            bytes: 128,
            messages: 200_000,
        },
        who: CLIENTS,
        measures: &[CallsPerMessage],
    },
    Row {
        name: "calls-echo-128",
        title: "system calls: echo of 128 B",
        work: Work::Echo {
            bytes: 128,
            messages: 10_000,
        },
        who: CLIENTS,
        measures: &[CallsPerMessage],
    },
];
