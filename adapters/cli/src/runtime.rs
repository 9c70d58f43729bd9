//! One job on any of three runtimes.

use std::future::Future;
use std::io;

use clap::ValueEnum;
use ropewalk_driver::Runtime;
use serde::{Deserialize, Serialize};

/// Which async runtime carries the connections.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RuntimeName {
    /// tokio, with its multi-threaded scheduler
    #[default]
    Tokio,
    /// smol
    Smol,
    /// async-std, which is discontinued
    AsyncStd,
}

impl RuntimeName {
    /// The word for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
        }
    }
}

/// Something to do that is written once for every runtime.
pub(crate) trait Job {
    type Output;

    fn run<R: Runtime>(self) -> impl Future<Output = Self::Output>;
}

/// Does the job on the runtime and waits for it.
///
/// # Errors
/// The system refused what the runtime needs (threads, a poller).
pub(crate) fn block_on<J: Job>(runtime: RuntimeName, job: J) -> io::Result<J::Output> {
    match runtime {
        RuntimeName::Tokio => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let output = runtime.block_on(job.run::<ropewalk_tokio::Tokio>());
            // A resolver thread that hangs in the system's resolver must not keep the process.
            runtime.shutdown_background();
            Ok(output)
        }
        RuntimeName::Smol => Ok(smol::block_on(job.run::<ropewalk_smol::Smol>())),
        RuntimeName::AsyncStd => Ok(async_std::task::block_on(
            job.run::<ropewalk_async_std::AsyncStd>(),
        )),
    }
}
