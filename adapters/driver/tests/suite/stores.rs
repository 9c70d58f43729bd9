//! Dead letters in a store, and the way back.

use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ropewalk_driver::{
    Batch, Bytes, Change, Connect, EventKind, Events, Fate, Filter, Fleet, HistoryEntry, Kind,
    LetterId, LetterRecord, LetterState, LetterStore, MemoryStore, QueuePolicy, Runtime, Settings,
    Stage, StoreError, StoreQueue, StoredLetter, Verdict,
};
use tungstenite::Message;

use super::eager;
use super::server::Server;

const FAST: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

fn sends(texts: &'static [&'static str]) -> Server {
    Server::start(move |_, mut session| {
        for text in texts {
            session.send(Message::text(*text)).unwrap();
        }
        while session.read().is_ok() {}
    })
}

/// A processor that tells each message that it is given, with the letter that it comes from, and rejects those that
/// are not letters.
fn rejecting(connect: Connect) -> (Connect, Receiver<(String, Option<u64>)>) {
    let (tell, told) = channel();
    let tell: Mutex<Sender<_>> = Mutex::new(tell);
    let connect = connect.process(move |batch: Batch| {
        let tell = tell.lock().unwrap().clone();
        async move {
            let letter = batch.letter();
            batch.judge(|message| {
                let text = message.text().unwrap().to_owned();
                let verdict = match letter {
                    Some(_) if text != "hopeless" => Verdict::Ack,
                    Some(_) => Verdict::reject("still no"),
                    None => Verdict::reject("no"),
                };
                tell.send((text, letter)).unwrap();
                verdict
            })
        }
    });
    (connect, told)
}

async fn until<T>(events: &mut Events, wanted: impl Fn(&EventKind) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the fleet runs").event;
        if let Some(found) = wanted(&event.kind) {
            return found;
        }
    }
}

async fn until_stored(events: &mut Events, letters: usize) {
    for _ in 0..letters {
        until(events, |kind| {
            matches!(kind, EventKind::LetterStored { .. }).then_some(())
        })
        .await;
    }
}

async fn fate(events: &mut Events) -> (u64, Fate) {
    until(events, |kind| {
        let EventKind::Redriven { letter, fate } = kind else {
            return None;
        };
        Some((*letter, fate.clone()))
    })
    .await
}

pub(crate) async fn stored_letters_are_redriven_in_order_and_once<R: Runtime>() {
    let server = sends(&["one", "hopeless", "three"]);
    let builder = Fleet::<R>::builder().letter_store(MemoryStore::default());
    let mut fleet = builder.build().unwrap();
    let (letters, mut events) = (fleet.letters(), fleet.events());
    let (connect, told) = rejecting(eager(&server.url()).named("a"));
    fleet.open(connect);
    until_stored(&mut events, 3).await;
    let listed = letters.list(Filter::default()).await.unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|letter| (&letter.record.payload[..], letter.state))
        .collect();
    let waiting = |text: &'static [u8]| (text, LetterState::Waiting);
    assert_eq!(
        shown,
        [waiting(b"one"), waiting(b"hopeless"), waiting(b"three")]
    );
    let age = listed[0].record.first_failed_at.elapsed().unwrap();
    assert!(
        age < Duration::from_secs(3_600),
        "on the wall clock: {age:?}"
    );

    assert!(
        letters
            .edit(LetterId(3), Bytes::from_static(b"3"))
            .await
            .unwrap()
    );
    assert_eq!(letters.redrive(FAST).await.unwrap(), 3);
    let no = Fate::Failed {
        reason: "still no".into(),
        attempts: 1,
    };
    let fates = [
        fate(&mut events).await,
        fate(&mut events).await,
        fate(&mut events).await,
    ];
    assert_eq!(fates, [(1, Fate::Delivered), (2, no), (3, Fate::Delivered)]);
    let (hopeless, history) = letters.show(LetterId(2)).await.unwrap().unwrap();
    assert_eq!(
        (hopeless.state, hopeless.record.attempts),
        (LetterState::Waiting, 2)
    );
    let words: Vec<_> = history.iter().map(|entry| &*entry.what).collect();
    assert_eq!(words, ["stored", "retry", "failed"]);
    let report = fleet.shutdown(Duration::from_secs(60)).await;
    let processed: Vec<_> = told.try_iter().skip(3).collect();
    let letter = |text: &str, id| (text.to_owned(), Some(id));
    assert_eq!(
        processed,
        [letter("one", 1), letter("hopeless", 2), letter("3", 3)]
    );
    let counters = report.connections[0].report.counters;
    assert_eq!((counters.received, counters.redriven), (3, 3));
    assert_eq!((counters.delivered, counters.rejected), (2, 4));
    let counts = letters.counts().unwrap();
    assert_eq!((counts.taken, counts.stored, counts.dropped), (3, 3, 0));
    assert_eq!((counts.delivered, counts.failed_again), (2, 1));
}

pub(crate) async fn a_letter_that_is_held_or_discarded_is_not_redriven<R: Runtime>() {
    let server = sends(&["held", "discarded", "wanted"]);
    let builder = Fleet::<R>::builder().letter_store(MemoryStore::default());
    let mut fleet = builder.build().unwrap();
    let (letters, mut events) = (fleet.letters(), fleet.events());
    let (connect, told) = rejecting(eager(&server.url()));
    fleet.open(connect);
    until_stored(&mut events, 3).await;
    letters.hold(vec![LetterId(1)]).await.unwrap();
    letters.discard(vec![LetterId(2)]).await.unwrap();
    assert_eq!(letters.redrive(FAST).await.unwrap(), 1);
    assert_eq!(fate(&mut events).await, (3, Fate::Delivered));
    // Whoever holds a letter can still retry it; what is discarded is over.
    let retried = letters.retry(vec![LetterId(1), LetterId(2)]).await.unwrap();
    assert_eq!(retried, [LetterId(1)]);
    assert_eq!(fate(&mut events).await, (1, Fate::Delivered));
    fleet.shutdown(Duration::from_secs(60)).await;
    let processed: Vec<_> = told.try_iter().skip(3).map(|(text, _)| text).collect();
    assert_eq!(processed, ["wanted", "held"]);
}

fn outbound(name: &str, payload: &'static str) -> LetterRecord {
    LetterRecord {
        connection: name.into(),
        endpoint: "ws://before/".into(),
        generation: 9,
        seq: 77,
        direction: ropewalk_driver::Direction::Outbound,
        stage: Stage::Network,
        reason: "the process ended".into(),
        attempts: 1,
        received_at: SystemTime::now(),
        first_failed_at: SystemTime::now(),
        kind: Kind::Text,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

pub(crate) async fn letters_to_the_server_are_sent_again<R: Runtime>() {
    let (tell, told) = channel();
    let server = Server::start(move |_, mut session| {
        while let Ok(message) = session.read() {
            if message.is_text() {
                tell.send(message.into_text().unwrap().to_string()).unwrap();
            }
        }
    });
    let mut store = MemoryStore::default();
    store
        .append(
            &[outbound("a", "first"), outbound("a", "second")],
            SystemTime::now(),
        )
        .unwrap();
    let mut fleet = Fleet::<R>::builder().letter_store(store).build().unwrap();
    let (letters, mut events) = (fleet.letters(), fleet.events());
    let _handle = fleet.open(eager(&server.url()).named("a"));
    letters.redrive(FAST).await.unwrap();
    assert_eq!(fate(&mut events).await, (1, Fate::Delivered));
    assert_eq!(fate(&mut events).await, (2, Fate::Delivered));
    assert_eq!(told.iter().take(2).collect::<Vec<_>>(), ["first", "second"]);
    fleet.shutdown(Duration::from_secs(60)).await;
}

pub(crate) async fn letters_left_from_before_go_to_the_connection_of_their_name<R: Runtime>() {
    let server = sends(&[]);
    let mut store = MemoryStore::default();
    let mut inbound = [outbound("a", "mine"), outbound("b", "another's")];
    for letter in &mut inbound {
        letter.direction = ropewalk_driver::Direction::Inbound;
    }
    let ids = store.append(&inbound, SystemTime::now()).unwrap();
    store
        .change(&ids, &Change::Retry, SystemTime::now())
        .unwrap();
    let mut fleet = Fleet::<R>::builder().letter_store(store).build().unwrap();
    let (letters, mut events) = (fleet.letters(), fleet.events());
    let handle = fleet.open(eager(&server.url()).named("a"));
    let batch = handle.next_batch().await.unwrap();
    let message = batch.get(0).unwrap();
    assert_eq!(
        (message.text(), message.seq(), batch.letter()),
        (Ok("mine"), 77, Some(1))
    );
    assert_eq!(fate(&mut events).await, (1, Fate::Delivered));
    let (other, _) = letters.show(LetterId(2)).await.unwrap().unwrap();
    assert_eq!(
        other.state,
        LetterState::Retrying,
        "until there is a connection of its name"
    );
    fleet.shutdown(Duration::from_secs(60)).await;
}

/// A store that fails as long as it is told to.
struct Failing {
    store: MemoryStore,
    fails: Arc<Mutex<bool>>,
}

impl Failing {
    fn new() -> (Self, Arc<Mutex<bool>>) {
        let fails = Arc::new(Mutex::new(true));
        let store = MemoryStore::default();
        (
            Self {
                store,
                fails: Arc::clone(&fails),
            },
            fails,
        )
    }
}

impl LetterStore for Failing {
    fn append(
        &mut self,
        letters: &[LetterRecord],
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError> {
        if *self.fails.lock().unwrap() {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(StoreError::Failed(Box::new(full)));
        }
        self.store.append(letters, at)
    }

    fn list(&mut self, filter: &Filter) -> Result<Vec<StoredLetter>, StoreError> {
        self.store.list(filter)
    }

    fn get(&mut self, id: LetterId) -> Result<Option<StoredLetter>, StoreError> {
        self.store.get(id)
    }

    fn history(&mut self, id: LetterId) -> Result<Vec<HistoryEntry>, StoreError> {
        self.store.history(id)
    }

    fn change(
        &mut self,
        ids: &[LetterId],
        change: &Change,
        at: SystemTime,
    ) -> Result<Vec<LetterId>, StoreError> {
        self.store.change(ids, change, at)
    }

    fn retrying(&mut self, connection: &str) -> Result<Vec<LetterId>, StoreError> {
        self.store.retrying(connection)
    }
}

async fn not_stored(events: &mut Events) -> (String, u64) {
    until(events, |kind| {
        let EventKind::LettersNotStored { reason, waiting } = kind else {
            return None;
        };
        Some((reason.to_string(), *waiting))
    })
    .await
}

pub(crate) async fn a_store_that_fails_stops_nothing_and_has_every_letter_later<R: Runtime>() {
    let server = sends(&["one", "two", "three", "four"]);
    let (store, fails) = Failing::new();
    let mut fleet = Fleet::<R>::builder().letter_store(store).build().unwrap();
    let (letters, mut events) = (fleet.letters(), fleet.events());
    let (connect, told) = rejecting(eager(&server.url()));
    fleet.open(connect);
    let (reason, waiting) = not_stored(&mut events).await;
    assert!(
        reason.contains("no storage space") && waiting > 0,
        "{reason}"
    );
    assert_eq!(told.iter().take(4).count(), 4, "the flow goes on");
    assert_eq!(letters.counts().unwrap().stored, 0);
    *fails.lock().unwrap() = false;
    until_stored(&mut events, 4).await;
    let listed = letters.list(Filter::default()).await.unwrap();
    let seqs: Vec<_> = listed.iter().map(|letter| letter.record.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4]);
    let counts = letters.counts().unwrap();
    assert_eq!((counts.taken, counts.stored, counts.dropped), (4, 4, 0));
    assert!(counts.failures > 0);
    fleet.shutdown(Duration::from_secs(60)).await;
}

pub(crate) async fn letters_that_cannot_wait_are_counted<R: Runtime>() {
    let server = sends(&["one", "two", "three", "four"]);
    let (store, _fails) = Failing::new();
    let queue = StoreQueue {
        letters_max: NonZeroUsize::new(3).unwrap(),
        when_full: QueuePolicy::DropNewest,
        ..StoreQueue::default()
    };
    let builder = Fleet::<R>::builder().letter_store_behind(queue, store);
    let mut fleet = builder.build().unwrap();
    let (letters, mut events) = (fleet.letters(), fleet.events());
    let mut settings = Settings::default();
    settings.batch.count_max = 1;
    let connect = Connect::to(&server.url()).unwrap().settings(settings);
    let (connect, _told) = rejecting(connect);
    fleet.open(connect);
    let dropped = |kind: &EventKind| {
        let EventKind::LettersDropped { total } = kind else {
            return None;
        };
        Some(*total)
    };
    assert_eq!(until(&mut events, dropped).await, 1);
    let counts = letters.counts().unwrap();
    assert_eq!((counts.taken, counts.waiting, counts.dropped), (4, 3, 1));
    // What the end cannot store either is told, too: nothing is lost in silence.
    fleet.shutdown(Duration::from_millis(300)).await;
    assert_eq!(until(&mut events, dropped).await, 4);
    let counts = letters.counts().unwrap();
    assert_eq!((counts.waiting, counts.dropped), (0, 4));
}
