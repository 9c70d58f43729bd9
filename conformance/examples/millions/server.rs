//! The server: a thread for each socket, and an end for most of them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::books::{ServerBook, ServerPage, Was};
use super::plan::{Ending, Life, Mark, Pass, Pause, Plan, Replies};
use super::wire::{self, Reader, push_frame};

/// How much is written at once.
const WRITE: usize = 64 << 10;
/// The longest segment, as on an Ethernet.
const MSS: u32 = 1_460;
/// What the server's kernel holds for each socket, about, in each direction.
const KERNEL: usize = 64 << 10;
/// How long the server stops reading before some ends.
const PAUSE: Duration = Duration::from_millis(30);
/// How long a client that was told to go may take.
const FINISH_MAX: Duration = Duration::from_secs(10);
/// How long a read waits for the half of a frame.
const HALF_MAX: Duration = Duration::from_millis(20);

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    books: Arc<[ServerBook]>,
    acceptor: JoinHandle<()>,
}

impl Server {
    /// Listens on the loopback interface.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        // What is in the kernels' hands when a socket ends is what nobody can know about: it shall not be everything. The
        // loopback interface has segments of 64 KiB, and buffers that are many times that.
        let socket = SockRef::from(&listener);
        socket.set_tcp_mss(MSS)?;
        socket.set_recv_buffer_size(KERNEL)?;
        socket.set_send_buffer_size(KERNEL)?;
        let address = listener.local_addr()?;
        let books: Arc<[ServerBook]> = (0..plan.connections)
            .map(|_| ServerBook::default())
            .collect();
        let kept = Arc::clone(&books);
        let acceptor = std::thread::spawn(move || accept(&listener, plan, &kept));
        Ok(Self {
            address,
            books,
            acceptor,
        })
    }

    /// Waits for every socket to end, and closes the books. Clients must have gone.
    pub(crate) fn stop(self) -> Vec<ServerPage> {
        // Wakes the acceptor, which takes an end of the stream before a request as its own.
        drop(TcpStream::connect(self.address));
        if self.acceptor.join().is_err() {
            self.books[0]
                .lock()
                .problems
                .push("the acceptor panicked".to_owned());
        }
        self.books.iter().map(|book| book.lock().clone()).collect()
    }
}

fn accept(listener: &TcpListener, plan: Plan, books: &Arc<[ServerBook]>) {
    let mut sessions: Vec<JoinHandle<()>> = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        // The last dial is the server's own, and says nothing.
        if is_silent(&stream) {
            break;
        }
        let books = Arc::clone(books);
        sessions.retain(|session| !session.is_finished());
        sessions.push(std::thread::spawn(move || serve(stream, plan, &books)));
    }
    for session in sessions {
        if session.join().is_err() {
            books[0]
                .lock()
                .problems
                .push("a session panicked".to_owned());
        }
    }
}

/// Whether the client goes without a word.
fn is_silent(stream: &TcpStream) -> bool {
    matches!(stream.peek(&mut [0]), Ok(0))
}

fn serve(stream: TcpStream, plan: Plan, books: &[ServerBook]) {
    let path = stream
        .set_nodelay(true)
        .and_then(|()| wire::accept(&stream));
    let connection = match &path {
        Ok(path) => path.trim_start_matches('/').parse::<u64>().ok(),
        // A client that goes in the middle of its request is none to be counted.
        Err(_) => return,
    };
    let book = connection
        .and_then(|connection| usize::try_from(connection).ok())
        .and_then(|index| books.get(index));
    let (Some(connection), Some(book)) = (connection, book) else {
        books[0].lock().problems.push(format!("a dial of {path:?}"));
        return;
    };
    let socket = {
        let mut page = book.lock();
        page.sockets += 1;
        page.sockets - 1
    };
    let mut session = Session {
        stream,
        reader: Reader::new(),
        book,
        plan,
        life: plan.life(connection, socket),
        share: plan.share(connection),
    };
    if let Err(error) = session.run()
        && error.kind() == io::ErrorKind::InvalidData
    {
        book.lock().problems.push(error.to_string());
    }
}

/// One open socket.
struct Session<'a> {
    stream: TcpStream,
    reader: Reader,
    book: &'a ServerBook,
    plan: Plan,
    life: Life,
    share: u64,
}

/// What the client has said.
enum Said {
    /// So many messages, which are in the book.
    Messages,
    /// The socket has lived as long as it was to.
    Enough,
    /// It closes.
    Close,
}

impl Session<'_> {
    fn run(&mut self) -> io::Result<()> {
        match self.plan.pass {
            Pass::OutboundAcknowledged | Pass::OutboundMixed | Pass::OutboundPlain => self.listen(),
            Pass::InboundResumed => {
                let from = self.await_resume()?;
                self.speak(from)
            }
            Pass::InboundPlain => {
                let from = self.book.lock().high + 1;
                self.speak(from)
            }
        }
    }

    /// Reads messages until the client closes or the socket's life is over.
    fn listen(&mut self) -> io::Result<()> {
        let mut visit = Visit {
            before: self.book.lock().high,
            last: None,
        };
        let mut replies = Vec::new();
        loop {
            if self.reader.fill(&self.stream, usize::MAX)? == 0 {
                return Ok(());
            }
            let said = self.hear(&mut visit, &mut replies)?;
            match said {
                Said::Messages => (&self.stream).write_all(&replies)?,
                Said::Enough => {
                    // Every other time the client learns what has arrived, as far as the end lets it.
                    if self.life.messages.is_multiple_of(2) {
                        (&self.stream).write_all(&replies)?;
                    }
                    return self.inflict();
                }
                Said::Close => return self.close(&mut replies),
            }
            replies.clear();
        }
    }

    /// Takes down what was read, and puts together what to reply.
    fn hear(&mut self, visit: &mut Visit, replies: &mut Vec<u8>) -> io::Result<Said> {
        let mut page = self.book.lock();
        while let Some(frame) = self.reader.next()? {
            match frame.opcode {
                wire::BINARY => {
                    let Some(number) = wire::number(frame.payload) else {
                        page.broken += 1;
                        continue;
                    };
                    visit.note(self.plan.pass, number, &mut page);
                    if self.plan.pass.replies() == Replies::Yes {
                        push_frame(replies, wire::BINARY, &number.to_be_bytes());
                    }
                    let is_over = page.high >= visit.before + self.life.messages;
                    if is_over && page.high < self.share {
                        return Ok(Said::Enough);
                    }
                }
                wire::PING => push_frame(replies, wire::PONG, frame.payload),
                wire::CLOSE => return Ok(Said::Close),
                _ => page.broken += 1,
            }
        }
        Ok(Said::Messages)
    }

    /// The number that the client wants next.
    fn await_resume(&mut self) -> io::Result<u64> {
        loop {
            if let Some(frame) = self.reader.next()? {
                let text = std::str::from_utf8(frame.payload).ok();
                let from = text.and_then(|text| text.strip_prefix("from ")?.parse().ok());
                return from.ok_or_else(|| wire::invalid("not a request to resume"));
            }
            if self.reader.fill(&self.stream, usize::MAX)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Writes messages from this number on, and that there are no more after the last.
    fn speak(&mut self, from: u64) -> io::Result<()> {
        let before = self.book.lock().high;
        if from == 0 || from > before + 1 {
            return Err(wire::invalid("a client that wants what was never sent"));
        }
        let to = self.share.min(before + self.life.messages);
        let mut out = Vec::with_capacity(WRITE + (32 << 10));
        let mut next = from;
        let mut result = Ok(());
        while next <= to && result.is_ok() {
            while next <= to && out.len() < WRITE {
                push_frame(&mut out, wire::BINARY, &wire::payload(next));
                next += 1;
            }
            // Written as far as anybody can tell; only those whose socket ended well must arrive.
            result = self.write_noted(&mut out, next);
        }
        let mut page = self.book.lock();
        page.repeated += (before + 1).saturating_sub(from);
        if result.is_err() || to == self.share {
            page.carried.push((from, next - 1, None));
            drop(page);
            result?;
            push_frame(&mut out, wire::TEXT, wire::END);
            (&self.stream).write_all(&out)?;
            out.clear();
            return self.await_close();
        }
        page.carried.push((from, to, Some(self.life.ending)));
        drop(page);
        self.inflict()
    }

    fn write_noted(&self, out: &mut Vec<u8>, next: u64) -> io::Result<()> {
        let mut page = self.book.lock();
        page.high = page.high.max(next - 1);
        drop(page);
        let result = (&self.stream).write_all(out);
        out.clear();
        result
    }

    /// Waits for the client to close, after the last message.
    fn await_close(&mut self) -> io::Result<()> {
        let mut replies = Vec::new();
        loop {
            while let Some(frame) = self.reader.next()? {
                match frame.opcode {
                    wire::PING => push_frame(&mut replies, wire::PONG, frame.payload),
                    wire::CLOSE => return self.close(&mut replies),
                    _ => {}
                }
            }
            (&self.stream).write_all(&replies)?;
            replies.clear();
            if self.reader.fill(&self.stream, usize::MAX)? == 0 {
                return Ok(());
            }
        }
    }

    /// Answers the client's close frame.
    fn close(&mut self, replies: &mut Vec<u8>) -> io::Result<()> {
        push_frame(replies, wire::CLOSE, &1000_u16.to_be_bytes());
        (&self.stream).write_all(replies)?;
        self.finish()
    }

    /// Ends the socket as its life was to end.
    fn inflict(&mut self) -> io::Result<()> {
        let ending = self.life.ending;
        self.book.lock().count(ending);
        if self.life.pause == Pause::Yes {
            std::thread::sleep(PAUSE);
        }
        if ending.is_mid_frame() {
            self.read_half()?;
            let mut frame = Vec::new();
            push_frame(&mut frame, wire::BINARY, &wire::payload(u64::MAX));
            (&self.stream).write_all(&frame[..frame.len() / 2])?;
        }
        match ending {
            Ending::Reset | Ending::ResetMidFrame => {
                SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
            }
            Ending::Eof | Ending::EofMidFrame => self.finish(),
            Ending::Close => {
                let mut frame = Vec::new();
                push_frame(&mut frame, wire::CLOSE, &1001_u16.to_be_bytes());
                (&self.stream).write_all(&frame)?;
                self.finish()
            }
        }
    }

    /// Sees to it that what was read ends in the middle of a frame, if the client has anything to say.
    fn read_half(&mut self) -> io::Result<()> {
        if !self.reader.is_mid_frame() {
            self.stream.set_read_timeout(Some(HALF_MAX))?;
            // It may have nothing to say.
            drop(self.reader.fill(&self.stream, 1));
        }
        Ok(())
    }

    /// Ends the server's side, and throws away what comes until the client has ended its own: to close with bytes unread
    /// would be a reset.
    fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let deadline = Instant::now() + FINISH_MAX;
        let mut chunk = [0; 16 << 10];
        self.stream.set_read_timeout(Some(FINISH_MAX))?;
        while Instant::now() < deadline && (&self.stream).read(&mut chunk)? > 0 {}
        Ok(())
    }
}

/// What one socket has carried to the server.
struct Visit {
    /// The highest number of the sockets before it.
    before: u64,
    last: Option<u64>,
}

impl Visit {
    /// Judges the next message.
    ///
    /// Numbers grow on each socket. None that is marked is passed over. What other sockets were past already is marked, and
    /// comes first; without marks the numbers of a socket follow each other.
    fn note(&mut self, pass: Pass, number: u64, page: &mut ServerPage) {
        let is_marked = |number| pass.mark(number) == Mark::Idempotent;
        let after = self.last.unwrap_or(self.before);
        let is_gap = match (self.last, pass) {
            (Some(last), Pass::OutboundPlain) => number > last + 1,
            _ => (after + 1..number).any(is_marked),
        };
        let is_back = self.last.is_some_and(|last| number <= last);
        page.misplaced += u64::from(is_gap || is_back);
        match page.received.insert(number) {
            Was::Known if is_back || !is_marked(number) => page.duplicates += 1,
            Was::Known => page.repeated += 1,
            Was::New if number <= self.before && !is_marked(number) => page.misplaced += 1,
            Was::New => {}
        }
        self.last = Some(number);
        page.high = page.high.max(number);
    }
}
