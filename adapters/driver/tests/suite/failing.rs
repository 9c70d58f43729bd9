//! Processors that fail, each beside one that does not: sockets stay, neighbours get everything, and exactly what failed
//! becomes a letter, once.

use std::future::pending;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use ropewalk_driver::{
    Batch, Connect, Counters, Fleet, Judged, Letters, Runtime, Settings, State, Verdict,
};
use tungstenite::Message;

use super::processors::{Meeting, one_by_one};
use super::server::{Server, Session};
use super::{eager, take, texts};

/// So many messages the neighbour gets.
const OF_NEIGHBOUR: usize = 500;

/// A fleet of one shard with a sound connection in it.
struct World<R: Runtime> {
    fleet: Fleet<R>,
    letters: Letters,
    neighbour: Receiver<String>,
    _server: Server,
}

impl<R: Runtime> World<R> {
    fn new() -> Self {
        let builder = Fleet::<R>::builder().shards(NonZeroUsize::MIN);
        let fleet = builder.build().unwrap();
        let letters = fleet.letters();
        let (server, _) = counting(OF_NEIGHBOUR);
        let (tell, neighbour) = channel();
        let tell = Mutex::new(tell);
        let connect = Connect::to(&server.url()).unwrap().named("neighbour");
        fleet.open(connect.process(move |batch: Batch| {
            let tell = tell.lock().unwrap().clone();
            async move {
                texts(&batch)
                    .into_iter()
                    .for_each(|text| tell.send(text).unwrap());
                batch.ack()
            }
        }));
        Self {
            fleet,
            letters,
            neighbour,
            _server: server,
        }
    }

    /// The neighbour has all its messages in order, and over one socket. Returns the letters that nobody took, and
    /// the counters of the connection whose processor failed.
    async fn end(mut self) -> (Vec<String>, Counters) {
        let told: Vec<_> = self.neighbour.iter().take(OF_NEIGHBOUR).collect();
        assert_eq!(told, numbers(OF_NEIGHBOUR));
        let report = self.fleet.shutdown(Duration::from_secs(60)).await;
        let counters = |name: &str| {
            let mut all = report.connections.iter();
            let found = all.find(|it| &*it.name == name).unwrap();
            found.report.counters
        };
        let neighbour = counters("neighbour");
        assert_eq!(
            (neighbour.sessions, neighbour.delivered),
            (1, OF_NEIGHBOUR as u64)
        );
        drop(self.fleet);
        let mut left = Vec::new();
        while let Some(letter) = self.letters.next().await {
            assert_eq!(&*letter.name, "failing");
            left.push(String::from_utf8(letter.letter.payload.to_vec()).unwrap());
        }
        assert_eq!(self.letters.dropped(), 0);
        (left, counters("failing"))
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Sends so many numbers, then some pings; tells the number of the session that answered all of them.
fn counting(messages: usize) -> (Server, Receiver<usize>) {
    let (tell, told) = channel();
    let server = Server::start(move |number, mut session| {
        for text in numbers(messages) {
            session.send(Message::text(text)).unwrap();
        }
        if (0..10).all(|round| is_answered(&mut session, round)) {
            // Nobody has to listen.
            tell.send(number).ok();
        }
        while session.read().is_ok() {}
    });
    (server, told)
}

fn is_answered(session: &mut Session, round: u8) -> bool {
    session.send(Message::Ping(vec![round].into())).unwrap();
    loop {
        match session.read() {
            Ok(Message::Pong(payload)) => return payload[..] == [round],
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

fn failing(server: &Server) -> Connect {
    Connect::to(&server.url()).unwrap().named("failing")
}

fn is_hundredth(text: &str) -> bool {
    text.parse::<usize>().unwrap() % 100 == 7
}

pub(crate) async fn one_message_in_a_hundred_fails_and_no_other_is_a_letter<R: Runtime>() {
    const MESSAGES: usize = 3_000;
    let world = World::<R>::new();
    let (server, answered) = counting(MESSAGES);
    let process = |batch: Batch| async move {
        batch.judge(|message| match message.text() {
            Ok(text) if is_hundredth(text) => Verdict::reject("one in a hundred"),
            Ok(_) | Err(_) => Verdict::Ack,
        })
    };
    world.fleet.open(failing(&server).process(process));
    assert_eq!(answered.recv(), Ok(1));
    let (letters, counters) = world.end().await;
    let mut failed = numbers(MESSAGES);
    failed.retain(|text| is_hundredth(text));
    assert_eq!(letters, failed);
    assert_eq!((counters.sessions, counters.dropped), (1, 0));
    assert_eq!((counters.delivered, counters.rejected), (2_970, 30));
}

pub(crate) async fn a_processor_that_panics_now_and_then_keeps_its_socket<R: Runtime>() {
    const MESSAGES: usize = 1_500;
    let world = World::<R>::new();
    let (server, answered) = counting(MESSAGES);
    let mut settings = Settings::default();
    settings.batch.count_max = 7;
    let lost = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lost);
    let process = move |batch: Batch| {
        let lost = Arc::clone(&seen);
        async move {
            let texts = texts(&batch);
            if texts.iter().any(|text| is_hundredth(text)) {
                lost.lock().unwrap().extend(texts);
                panic!("a test's panic");
            }
            batch.ack()
        }
    };
    let connect = failing(&server).settings(settings).process(process);
    world.fleet.open(connect);
    assert_eq!(answered.recv(), Ok(1));
    let (letters, counters) = world.end().await;
    let lost = lost.lock().unwrap().clone();
    assert!(lost.len() >= MESSAGES / 100, "{lost:?}");
    assert_eq!(letters, lost);
    assert_eq!((counters.sessions, counters.dropped), (1, 0));
    assert_eq!(counters.rejected, lost.len() as u64);
    assert_eq!(counters.delivered + counters.rejected, MESSAGES as u64);
}

pub(crate) async fn a_processor_that_hangs_keeps_its_socket<R: Runtime>() {
    const MESSAGES: usize = 400;
    let world = World::<R>::new();
    let (server, answered) = counting(MESSAGES);
    let connect = one_by_one(failing(&server));
    let handle = world.fleet.open(connect.process(|batch| async move {
        pending::<()>().await;
        batch.ack()
    }));
    // Its queue holds what comes, so that pings are read and answered.
    assert_eq!(answered.recv(), Ok(1));
    assert_eq!(handle.state(), State::Open);
    let report = handle.close(Duration::from_millis(10)).await.unwrap();
    let counters = report.counters;
    assert_eq!((counters.sessions, counters.dropped), (1, MESSAGES as u64));
    let (letters, counters) = world.end().await;
    assert_eq!(letters, [""; 0], "nothing was refused");
    assert_eq!(counters.dropped, MESSAGES as u64);
}

pub(crate) async fn a_call_that_outlives_its_connection_changes_nothing<R: Runtime>() {
    let world = World::<R>::new();
    let (server, answered) = counting(3);
    let meeting = Meeting::of(2);
    let (tell, over) = channel();
    let tell = Mutex::new(tell);
    let calls = meeting.clone();
    let handle = world
        .fleet
        .open(one_by_one(failing(&server)).process(move |batch: Batch| {
            let (meeting, bell) = (calls.clone(), Bell(tell.lock().unwrap().clone()));
            async move {
                meeting.join().await;
                drop(bell);
                batch.refuse_all(&Verdict::reject("too late"))
            }
        }));
    assert_eq!(answered.recv(), Ok(1));
    let report = handle.close(Duration::from_millis(10)).await.unwrap();
    assert_eq!((report.counters.sessions, report.counters.dropped), (1, 3));
    meeting.join().await;
    over.recv().unwrap();
    let (letters, counters) = world.end().await;
    assert_eq!(letters, [""; 0], "its verdict came too late");
    assert_eq!((counters.rejected, counters.dropped), (0, 3));
}

pub(crate) async fn a_call_that_panics_when_it_is_dropped_has_had_its_say<R: Runtime>() {
    let world = World::<R>::new();
    let (server, answered) = counting(20);
    let process = |batch: Batch| Thorny(Some(batch.ack()));
    let connect = one_by_one(failing(&server)).process(process);
    world.fleet.open(connect);
    assert_eq!(answered.recv(), Ok(1));
    let (letters, counters) = world.end().await;
    assert_eq!(letters, [""; 0]);
    assert_eq!((counters.delivered, counters.dropped), (20, 0));
}

/// Returns, and then panics.
struct Thorny(Option<Judged>);

impl Future for Thorny {
    type Output = Judged;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Judged> {
        Poll::Ready(self.0.take().expect("it is polled once"))
    }
}

impl Drop for Thorny {
    fn drop(&mut self) {
        panic!("a test's panic");
    }
}

pub(crate) async fn a_processor_that_panics_when_it_is_dropped_harms_nobody<R: Runtime>() {
    let server = Server::echo();
    let fleet = Fleet::<R>::builder()
        .shards(NonZeroUsize::MIN)
        .build()
        .unwrap();
    let rough = Rough;
    let first = fleet.open(eager(&server.url()).process(move |batch: Batch| {
        let _kept = &rough;
        async { batch.ack() }
    }));
    let second = fleet.open(eager(&server.url()));
    first.close(Duration::from_secs(60)).await.unwrap();
    second.sender().send("hello").await.unwrap();
    assert_eq!(take(&second, 1).await, ["hello"]);
}

/// Panics when it goes.
struct Rough;

impl Drop for Rough {
    fn drop(&mut self) {
        panic!("a test's panic");
    }
}

/// Rings when a call is over, be it that it returned or that it was dropped.
struct Bell(Sender<()>);

impl Drop for Bell {
    fn drop(&mut self) {
        // At the end nobody listens any more.
        self.0.send(()).ok();
    }
}
