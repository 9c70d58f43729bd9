//! How long a connection's messages take beside a connection whose processor fails, and beside none: measured in turns, since
//! only what is measured in the same minute can be compared.
#![forbid(unsafe_code)]

use std::fmt::Debug;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use ropewalk_driver::{
    Batch, Connect, ConnectionHandle, Fleet, Runtime, Sender as Client, Verdict,
};
use ropewalk_smol::Smol;
use ropewalk_tokio::Tokio;
use tungstenite::{Message, WebSocket};

/// So many messages go and come back in one round.
const TRIPS: usize = 2_000;
const ROUNDS: usize = 5;

/// The median beside a failing processor is at most so many times that without it, and a little.
const RATIO: u32 = 3;
const GRAIN: Duration = Duration::from_micros(100);

const PANIC: &str = "a test's panic";

/// What the other connection's processor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// There is none.
    Absent,
    Sound,
    FailsOneInAHundred,
    PanicsOneInTen,
    Hangs,
    /// A call is out when its connection is told to end, in the middle of the round.
    IsOutAtTheEnd,
}

const OTHERS: [Other; 6] = [
    Other::Absent,
    Other::Sound,
    Other::FailsOneInAHundred,
    Other::PanicsOneInTen,
    Other::Hangs,
    Other::IsOutAtTheEnd,
];

#[test]
#[ignore = "sixty thousand round trips: run by .ci/run in release"]
fn a_failing_processor_delays_no_neighbour() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&PANIC) {
            before(info);
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    compare::<Tokio>("tokio", |future| runtime.block_on(future));
    compare::<Smol>("smol", smol::block_on);
}

type Trips = std::pin::Pin<Box<dyn Future<Output = Vec<Duration>>>>;

fn compare<R: Runtime + Debug>(name: &str, block_on: impl Fn(Trips) -> Vec<Duration>) {
    let mut delays = OTHERS.map(|other| (other, Vec::new()));
    for _ in 0..ROUNDS {
        for (other, delays) in &mut delays {
            delays.extend(block_on(Box::pin(round::<R>(*other))));
        }
    }
    let mut alone = Duration::MAX;
    for (other, mut delays) in delays {
        delays.sort_unstable();
        let (median, p99) = (delays[delays.len() / 2], delays[delays.len() * 99 / 100]);
        println!("{name}, {other:?}: median {median:?}, p99 {p99:?}");
        if other == Other::Absent {
            alone = median;
        }
        assert!(median <= alone * RATIO + GRAIN, "{other:?}");
    }
}

/// The times that messages take to the processor of a sound connection, and its answers back.
async fn round<R: Runtime>(other: Other) -> Vec<Duration> {
    let builder = Fleet::<R>::builder().shards(NonZeroUsize::MIN);
    let mut fleet = builder.build().expect("a seed and threads");
    let (url, sessions) = listen(if other == Other::Absent { 1 } else { 2 });
    let mut beside = None;
    if other != Other::Absent {
        let handle = fleet.open(failing(&url, other));
        beside = Some((handle, sessions.recv().expect("it connects")));
    }
    let connect = Connect::to(&url).expect("a URL");
    let (tell, client) = channel::<Client>();
    let replying = replies(client);
    let handle = fleet.open(connect.process(replying));
    tell.send(handle.sender()).expect("the processor is there");
    let session = sessions.recv().expect("it connects");
    let (delays, half) = measure(session, beside);
    if let Ok(handle) = half.recv() {
        if other == Other::IsOutAtTheEnd {
            let report = handle.close(Duration::from_millis(1)).await;
            assert!(report.is_some_and(|report| report.counters.dropped > 0));
        }
        drop(handle);
    }
    let delays = delays.join().expect("the server does not fail");
    fleet.shutdown(Duration::from_secs(1)).await;
    delays
}

/// Sends each message's text back.
fn replies(client: Receiver<Client>) -> impl Fn(Batch) -> Answer + Send + Sync + 'static {
    let (waiting, sender) = (Mutex::new(client), OnceLock::new());
    move |batch| {
        let sender = sender.get_or_init(|| {
            let waiting = waiting.lock().expect("nobody panics with it");
            waiting.recv().expect("it comes at once")
        });
        let sender = sender.clone();
        Box::pin(async move {
            for message in &batch {
                let text = message.text().expect("texts are sent").to_owned();
                // At the end the connection is gone.
                sender.send(text).await.map(drop).ok();
            }
            batch.ack()
        })
    }
}

type Answer = std::pin::Pin<Box<dyn Future<Output = ropewalk_driver::Judged> + Send>>;

fn failing(url: &str, other: Other) -> Connect {
    let connect = Connect::to(url).expect("a URL");
    connect.process(move |batch: Batch| async move {
        let number = |text: &str| text.parse::<usize>().expect("numbers are sent");
        let ends = |rest: usize, of: usize| {
            let mut texts = batch.iter().filter_map(|message| message.text().ok());
            texts.any(|text| number(text) % of == rest)
        };
        match other {
            Other::Absent | Other::Sound => {}
            Other::FailsOneInAHundred => {
                return batch.judge(|message| match message.text() {
                    Ok(text) if number(text) % 100 == 7 => Verdict::reject("one in a hundred"),
                    Ok(_) | Err(_) => Verdict::Ack,
                });
            }
            Other::PanicsOneInTen if ends(7, 10) => std::panic::panic_any(PANIC),
            Other::PanicsOneInTen => {}
            Other::Hangs | Other::IsOutAtTheEnd => std::future::pending().await,
        }
        batch.ack()
    })
}

/// Accepts so many sessions, one after the other.
fn listen(count: usize) -> (String, Receiver<WebSocket<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (tell, sessions) = channel();
    spawn(move || {
        for stream in listener.incoming().flatten().take(count) {
            stream.set_nodelay(true).ok();
            let session = tungstenite::accept(stream).expect("it is asked for a WebSocket");
            tell.send(session).expect("it is waited for");
        }
    });
    (format!("ws://{address}/"), sessions)
}

/// One message after the other, and one to the other connection with each. In the middle of it all the other's handle comes
/// back.
fn measure(
    mut session: WebSocket<TcpStream>,
    other: Option<(ConnectionHandle, WebSocket<TcpStream>)>,
) -> (JoinHandle<Vec<Duration>>, Receiver<ConnectionHandle>) {
    let (half, at_half): (Sender<ConnectionHandle>, _) = channel();
    let (mut handle, mut other) = other.unzip();
    let delays = spawn(move || {
        let mut delays = Vec::with_capacity(TRIPS);
        for number in 0..TRIPS {
            if let Some(other) = &mut other {
                // It may have left.
                other.send(Message::text(number.to_string())).ok();
            }
            if number == TRIPS / 2
                && let Some(handle) = handle.take()
            {
                half.send(handle).ok();
            }
            let sent = Instant::now();
            session
                .send(Message::text(number.to_string()))
                .expect("the client is there");
            while !session.read().expect("the client is there").is_text() {}
            delays.push(sent.elapsed());
        }
        delays
    });
    (delays, at_half)
}
