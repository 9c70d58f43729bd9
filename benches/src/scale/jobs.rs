//! Contestants in processes of their own, several at once where what is measured does not depend on the others.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::traced::WaitLog;
use crate::contestants::{Contestant, ONE_THREAD, Part, Problem};
use crate::peer::Running;
use crate::work::{Done, Work};

/// Who does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Who.
    pub who: Contestant,
    /// What.
    pub work: Work,
    /// Whether somebody looks how often it waits.
    pub trace: Trace,
}

/// Whether `strace` counts how often a process waits for its sockets. That makes it sleep more often than it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nobody looks.
    Off,
    /// [`Done::calls`] is how often it waited while it was measured.
    Waits,
}

impl Trace {
    /// What this machine allows.
    pub fn if_possible() -> Self {
        match super::traced::is_here() {
            true => Self::Waits,
            false => Self::Off,
        }
    }
}

/// What came of a job.
pub type Measured = (Job, Done);

/// Up to here, a fleet is measured beside others, and with fewer messages.
const FEW: usize = 100;
const MESSAGES: u64 = 300_000;
const MESSAGES_OF_FEW: u64 = 40_000;

/// Who is measured.
const WHO: [Contestant; 9] = [
    Contestant::RopewalkTokio,
    Contestant::RopewalkSmol,
    Contestant::RopewalkAsyncStd,
    Contestant::Fastwebsockets,
    Contestant::TokioTungstenite,
    Contestant::TokioWebsockets,
    Contestant::BareTokio,
    Contestant::BareSmol,
    Contestant::BareAsyncStd,
];

/// All jobs for these numbers of connections: what stands in one list is done at one time. Processor time is measured alone;
/// memory and wake-ups of small fleets together; those of large ones alone, and runtime beside runtime.
/// `intervals` are those of the pings, in seconds; what takes longer than the first is measured of large fleets only.
pub fn plan(sizes: &[usize], rounds: usize, intervals: &[u64], trace: Trace) -> Vec<Vec<Job>> {
    let mut plan = Vec::new();
    let mut few = Vec::new();
    let job = |who, work| Job {
        who,
        work,
        trace: Trace::Off,
    };
    for &connections in sizes {
        let messages = if connections > FEW {
            MESSAGES
        } else {
            MESSAGES_OF_FEW
        };
        let paced = Work::Paced {
            connections,
            messages,
        };
        for _ in 0..rounds {
            plan.extend(WHO.map(|who| vec![job(who, paced)]));
        }
        let idle = WHO.map(|who| job(who, Work::Idle { connections }));
        if connections <= FEW {
            few.extend(idle);
        } else {
            plan.extend(idle.map(|job| vec![job]));
        }
        for (at, every_seconds) in intervals.iter().copied().enumerate() {
            let pinged = Work::Pinged {
                connections,
                every_seconds,
                seconds: every_seconds,
            };
            let ours = WHO.into_iter().filter(|who| who.part() == Part::Ropewalk);
            let mut beside: Vec<_> = ours.map(|who| job(who, pinged)).collect();
            if trace == Trace::Waits {
                beside.extend(beside.clone().into_iter().map(|job| Job { trace, ..job }));
            }
            if connections > FEW {
                plan.push(beside);
            } else if at == 0 {
                few.extend(beside);
            }
        }
    }
    plan.push(few);
    plan
}

/// Does all of them at one time, each with a peer of its own. `program` is this program, which is also the peer and every
/// contestant.
///
/// # Errors
/// A process that could not be started or that failed, or one that saw other messages than the peer sent.
pub fn together(program: &Path, jobs: &[Job]) -> Result<Vec<Measured>, Problem> {
    let started: Result<Vec<_>, _> = jobs
        .iter()
        .map(|job| Process::start(program, *job))
        .collect();
    started?.into_iter().map(Process::finish).collect()
}

/// A job under way. What is left of it ends with this value.
struct Process {
    job: Job,
    child: Option<Child>,
    log: Option<WaitLog>,
    _peer: Running,
}

impl Process {
    fn start(program: &Path, job: Job) -> Result<Self, Problem> {
        let peer = Running::start(program)?;
        let log = match job.trace {
            Trace::Off => None,
            Trace::Waits => Some(WaitLog::new()?),
        };
        let mut command = match &log {
            None => Command::new(program),
            Some(log) => log.command(program),
        };
        let who = serde_json::to_string(&job.who)?;
        let child = command
            .args(["contest", who.trim_matches('"')])
            .arg(serde_json::to_string(&job.work)?)
            .arg(serde_json::to_string(peer.address())?)
            .envs(ONE_THREAD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            job,
            child: Some(child),
            log,
            _peer: peer,
        })
    }

    fn finish(mut self) -> Result<Measured, Problem> {
        let Job { who, work, .. } = self.job;
        let child = self.child.take().expect("it is finished once");
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("{} did not do {work:?}", who.name()).into());
        }
        let mut done: Done = serde_json::from_slice(&output.stdout)?;
        let is_all = match who.looks() {
            true => work.is_all(done.seen),
            false => done.seen.messages >= work.seen(),
        };
        if !is_all {
            let seen = done.seen;
            return Err(format!("{} saw other messages in {work:?}: {seen:?}", who.name()).into());
        }
        if let (Some(log), Some(window)) = (&self.log, done.window_micros) {
            done.calls = Some(log.waits(window)?);
        }
        Ok((self.job, done))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_measured_alone_and_small_fleets_rest_together() {
        let plan = plan(&[10, 1_000], 2, &[5, 20], Trace::Waits);
        let is = |kind: fn(&Work) -> bool| {
            let count = |jobs: &Vec<Job>| jobs.iter().filter(|job| kind(&job.work)).count();
            plan.iter()
                .map(count)
                .filter(|count| *count > 0)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            is(|work| matches!(work, Work::Paced { .. })),
            [1; 9 * 2 * 2]
        );
        let idle = is(|work| matches!(work, Work::Idle { .. }));
        assert_eq!(idle.iter().sum::<usize>(), 2 * 9);
        assert_eq!(idle.last(), Some(&9), "the small fleets");
        // Three runtimes, each traced and not: both intervals of the large fleet, and the first one of the small.
        assert_eq!(is(|work| matches!(work, Work::Pinged { .. })), [6, 6, 6]);
    }
}
