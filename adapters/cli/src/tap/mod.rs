//! `ropewalk tap`: messages of many connections as JSON lines.

mod counting;
mod done;
mod processor;
mod run;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_driver::Connect;
use ropewalk_letters::{OpenError, SqliteStore};

use crate::args::TapArguments;
use crate::config::{ConnectionPlan, Parts, Plan};
use crate::control::{ListenError, Listener};
use crate::names::{Names, name_urls};
use crate::output::{Ended, Lines, Place};
use crate::records::EventForm;
use crate::runtime;
use crate::stop::{Stop, Why};
use crate::{Failure, process};
use counting::Quota;
use processor::Groups;
use run::{EventSink, LetterBox, Tap};

/// Connects, and writes what comes until it is told to stop.
pub(crate) fn run(arguments: TapArguments) -> Result<ExitCode, Failure> {
    let mut names = Names::default();
    let mut plan = match &arguments.config {
        Some(file) => Plan::read(file, &mut names).map_err(Failure::usage)?,
        None => Plan::without_file(),
    };
    for (name, url) in name_urls(arguments.urls, &mut names).map_err(Failure::usage)? {
        plan.connections.push(plan.defaults.to_url(name, url));
    }
    if plan.connections.is_empty() {
        return Err(Failure::usage(
            "the configuration has no `[[connection]]`, and no URL was given",
        ));
    }
    let connections = plan
        .connections
        .iter()
        .map(|plan| Ok((connect(plan)?, plan.processor())));
    let mut connections = connections.collect::<Result<Vec<_>, Failure>>()?;

    let letters = plan.letters.store.as_deref();
    let mut letters = letters
        .map(|path| open_store(path, plan.letters.keep))
        .transpose()?;
    let numbered = match &mut letters {
        Some(letters) => Numbered::begin(&mut letters.store, &plan.connections),
        None => None,
    };
    if let Some(numbered) = &numbered {
        let numbered = connections.into_iter().zip(&numbered.after);
        let numbered = numbered
            .map(|((connect, processor), (_, last))| (connect.numbered_after(*last), processor));
        connections = numbered.collect();
    }
    process::raise_descriptor_limit();
    let stop = Stop::default();
    let groups = Groups::default();
    stop.on_signals_then({
        let groups = groups.clone();
        move || groups.kill_all()
    })
    .map_err(Failure::runtime)?;
    let messages = open(&arguments.output, {
        let stop = stop.clone();
        move |_: &Ended| stop.ask(Why::OutputEnded)
    })?;
    let events = match (&arguments.events, arguments.quiet) {
        (None, true) => None,
        (Some(place), _) if *place == arguments.output => Some(EventSink {
            lines: messages.clone(),
            form: EventForm::Json,
        }),
        (place, _) => {
            let place = place.as_ref().unwrap_or(&Place::Stderr);
            Some(EventSink {
                lines: open(place, |_: &Ended| {})?,
                form: form_for(place),
            })
        }
    };
    let tap = Tap {
        connections,
        admission: plan.admission,
        letters,
        messages,
        events,
        quota: Arc::new(Quota::new(arguments.count)),
        groups,
        time: arguments.time,
        stop,
    };
    let runtime = arguments.runtime.or(plan.runtime).unwrap_or_default();
    let outcome = runtime::block_on(runtime, tap).map_err(Failure::runtime)??;
    if let Some(numbered) = numbered {
        numbered.end(&outcome.received);
    }
    if !arguments.quiet {
        summary::print(&outcome.summary);
    }
    match outcome.output {
        Some(Ended::Finished | Ended::ReaderGone) => {}
        Some(Ended::Failed(error)) => {
            return Err(Failure::runtime(format_args!(
                "cannot write messages: {error}"
            )));
        }
        None => {
            let problem = "the output did not take every message in time; the last ones are lost";
            return Err(Failure::runtime(problem));
        }
    }
    Ok(match outcome.why {
        Why::NothingLeft => ExitCode::from(crate::FAILURE),
        Why::Interrupted | Why::TimeUp | Why::Counted | Why::OutputEnded => ExitCode::SUCCESS,
    })
}

pub(crate) fn connect(plan: &ConnectionPlan) -> Result<Connect, Failure> {
    let Parts {
        target,
        settings,
        hooks,
    } = plan.parts().map_err(Failure::usage)?;
    Connect::to_target(target)
        .named(plan.name.as_str())
        .settings(settings)
        .hooks(hooks)
        .check()
        .map_err(Failure::usage)
}

/// The store, and the socket by which others reach this run. One that cannot be used now may be later: messages flow
/// meanwhile, and events tell of it.
fn open_store(path: &Path, keep: Option<Duration>) -> Result<LetterBox, Failure> {
    let store = match SqliteStore::open(path) {
        Ok(store) => store,
        Err(error @ OpenError::Unusable { .. }) if path.exists() => {
            crate::complain(format_args!(
                "{error}; letters wait in memory until it goes"
            ));
            SqliteStore::open_later(path)
        }
        Err(error) => return Err(Failure::usage(error)),
    };
    let listener = match Listener::bind(path) {
        Ok(listener) => Some(listener),
        Err(error @ ListenError::Taken(_)) => return Err(Failure::usage(error)),
        Err(error @ ListenError::System { .. }) => {
            crate::complain(format_args!("{error}; nobody can reach this run"));
            None
        }
    };
    let store = match keep {
        Some(keep) => store.keep_settled(keep),
        None => store,
    };
    Ok(LetterBox { store, listener })
}

/// Messages whose numbers the store keeps, so that no later run uses one again.
struct Numbered {
    store: PathBuf,
    /// The last number of each connection before this run.
    after: Vec<(String, u64)>,
}

impl Numbered {
    fn begin(store: &mut SqliteStore, connections: &[ConnectionPlan]) -> Option<Self> {
        let names = || connections.iter().map(|plan| plan.name.as_str());
        match store.begin_numbering(names()) {
            Ok(after) => Some(Self {
                store: store.path().to_owned(),
                after: names().map(str::to_owned).zip(after).collect(),
            }),
            Err(error) => {
                crate::complain(format_args!("{error}; messages are numbered from 1 again"));
                None
            }
        }
    }

    /// So many messages were received by each connection.
    fn end(self, received: &BTreeMap<Arc<str>, u64>) {
        let last = self.after.iter().filter_map(|(name, after)| {
            // Of one that is missing in the report nobody knows how many it had.
            Some((name.as_str(), after + received.get(name.as_str())?))
        });
        let noted = SqliteStore::open_existing(&self.store)
            .map_err(|error| error.to_string())
            .and_then(|mut store| store.end_numbering(last).map_err(|error| error.to_string()));
        if let Err(error) = noted {
            crate::complain(format_args!("{error}; the next run leaves numbers out"));
        }
    }
}

fn open(place: &Place, ended: impl FnOnce(&Ended) + Send + 'static) -> Result<Lines, Failure> {
    let sink = place
        .open()
        .map_err(|error| Failure::usage(format_args!("cannot write {place}: {error}")))?;
    Lines::start(sink, ended).map_err(Failure::runtime)
}

/// In words where a person is looking.
fn form_for(place: &Place) -> EventForm {
    let is_terminal = match place {
        Place::Stdout => io::stdout().is_terminal(),
        Place::Stderr => io::stderr().is_terminal(),
        Place::File(_) => false,
    };
    if is_terminal {
        EventForm::Human
    } else {
        EventForm::Json
    }
}
