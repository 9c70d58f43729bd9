//! One writer for many producers of lines, with back-pressure.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use event_listener::Event;

/// Producers wait while this much is waiting for the writer, in bytes.
const WAITING_MAX: usize = 4 << 20;

/// This much is written at once even if the last write was a moment ago, in bytes.
const LARGE_WRITE: usize = 128 << 10;

/// Small writes are at least this far apart, so that a steady stream costs few of them.
const PAUSE: Duration = Duration::from_millis(1);

/// Whole lines on their way to a file, a pipe or a terminal. Clones share one writer thread.
#[derive(Clone)]
pub(crate) struct Lines {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    /// Notified when there is room again, and when the writer has ended.
    drained: Event,
}

struct State {
    waiting: Vec<u8>,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Open,
    Finishing,
    Ended(Ended),
}

/// How the writer ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// Everything was written.
    Finished,
    /// Nobody reads the pipe any more.
    ReaderGone,
    /// The file could not be written.
    Failed(Arc<io::Error>),
}

/// Nothing is written any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, which is replaced.
    File(PathBuf),
}

impl Place {
    /// What an option means: `-` is standard output.
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "-" => Self::Stdout,
            path => Self::File(path.into()),
        }
    }

    /// Opens the place for writing.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Stderr => Box::new(io::stderr()),
            Self::File(path) => Box::new(File::create(path)?),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Lines {
    /// Starts a thread that writes to `sink` and calls `ended` when it stops before it was told to.
    pub(crate) fn start(
        sink: Box<dyn Write + Send>,
        ended: impl FnOnce(&Ended) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                waiting: Vec::new(),
                phase: Phase::Open,
            }),
            filled: Condvar::new(),
            drained: Event::new(),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("ropewalk-writer".into())
            .spawn(move || writer.run(sink, ended))?;
        Ok(Self { shared })
    }

    /// Whether both go to the same writer.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Hands over whole lines, after waiting until there is room for them.
    pub(crate) async fn write(&self, lines: &[u8]) -> Result<(), Closed> {
        loop {
            let room = {
                let mut state = self.shared.lock();
                match state.phase {
                    Phase::Open => {}
                    Phase::Finishing | Phase::Ended(_) => return Err(Closed),
                }
                if state.waiting.len() < WAITING_MAX {
                    let before = state.waiting.len();
                    state.waiting.extend_from_slice(lines);
                    if before == 0 || (before < LARGE_WRITE && state.waiting.len() >= LARGE_WRITE) {
                        self.shared.filled.notify_one();
                    }
                    return Ok(());
                }
                // Registered under the lock, so that the writer's notice cannot come in between.
                self.shared.drained.listen()
            };
            room.await;
        }
    }

    /// Waits until everything handed over so far is written; nothing is accepted afterwards.
    pub(crate) async fn finish(&self) -> Ended {
        loop {
            let ended = {
                let mut state = self.shared.lock();
                match &state.phase {
                    Phase::Ended(how) => return how.clone(),
                    Phase::Open => state.phase = Phase::Finishing,
                    Phase::Finishing => {}
                }
                self.shared.filled.notify_one();
                self.shared.drained.listen()
            };
            ended.await;
        }
    }
}

impl Shared {
    fn run(&self, mut sink: Box<dyn Write + Send>, ended: impl FnOnce(&Ended)) {
        let how = self.write_all(&mut *sink);
        self.lock().phase = Phase::Ended(how.clone());
        self.drained.notify(usize::MAX);
        match how {
            Ended::Finished => {}
            Ended::ReaderGone | Ended::Failed(_) => ended(&how),
        }
    }

    fn write_all(&self, sink: &mut dyn Write) -> Ended {
        let mut writing = Vec::new();
        let mut written_at: Option<Instant> = None;
        loop {
            {
                let mut state = self
                    .filled
                    .wait_while(self.lock(), |state| {
                        state.waiting.is_empty() && state.is_open()
                    })
                    .unwrap_or_else(PoisonError::into_inner);
                let pause =
                    written_at.map_or(Duration::ZERO, |at| PAUSE.saturating_sub(at.elapsed()));
                if !pause.is_zero() {
                    state = self
                        .filled
                        .wait_timeout_while(state, pause, |state| {
                            state.waiting.len() < LARGE_WRITE && state.is_open()
                        })
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                if state.waiting.is_empty() {
                    return Ended::Finished;
                }
                std::mem::swap(&mut writing, &mut state.waiting);
            }
            self.drained.notify(usize::MAX);
            if let Err(error) = sink.write_all(&writing).and_then(|()| sink.flush()) {
                return if error.kind() == io::ErrorKind::BrokenPipe {
                    Ended::ReaderGone
                } else {
                    Ended::Failed(Arc::new(error))
                };
            }
            written_at = Some(Instant::now());
            writing.clear();
            writing.shrink_to(LARGE_WRITE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only whole lines are ever appended, so the state is sound whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.send(bytes.to_vec()) {
                Ok(()) => Ok(bytes.len()),
                Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_whole_and_in_order() {
        let (sender, receiver) = mpsc::sync_channel(1024);
        let lines = Lines::start(Box::new(Pipe(sender)), |_| {}).unwrap();
        smol::block_on(async {
            for number in 0..10_000 {
                lines.write(format!("{number}\n").as_bytes()).await.unwrap();
            }
            assert!(matches!(lines.finish().await, Ended::Finished));
            assert!(lines.write(b"late\n").await.is_err());
        });
        let written = receiver.into_iter().flatten().collect::<Vec<_>>();
        let expected = (0..10_000).map(|n| format!("{n}\n")).collect::<String>();
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn a_slow_reader_makes_producers_wait() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let lines = Lines::start(Box::new(Pipe(sender)), |_| {}).unwrap();
        let block = vec![b'x'; WAITING_MAX];
        smol::block_on(async {
            // The first block is taken by the writer, which then waits for the reader; the second fills the room.
            lines.write(&block).await.unwrap();
            while !lines.shared.lock().waiting.is_empty() {
                thread::yield_now();
            }
            lines.write(&block).await.unwrap();
            let producer = lines.clone();
            let mut third = Box::pin(async move { producer.write(&block).await });
            let polled = third.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "nobody read, and all was accepted");
            let reader =
                thread::spawn(move || receiver.into_iter().map(|b| b.len()).sum::<usize>());
            third.await.unwrap();
            assert!(matches!(lines.finish().await, Ended::Finished));
            drop(lines);
            assert_eq!(reader.join().unwrap(), 3 * WAITING_MAX);
        });
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_writer_and_the_producers() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (told, heard) = mpsc::channel();
        let lines = Lines::start(Box::new(Pipe(sender)), move |how| {
            told.send(matches!(how, Ended::ReaderGone)).unwrap();
        })
        .unwrap();
        drop(receiver);
        smol::block_on(async {
            lines.write(b"one\n").await.unwrap();
            assert!(heard.recv().unwrap());
            assert!(lines.write(b"two\n").await.is_err());
            assert!(matches!(lines.finish().await, Ended::ReaderGone));
        });
    }
}
