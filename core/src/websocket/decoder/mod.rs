//! From received bytes to messages and control frames.

mod in_place;

use std::borrow::Cow;

use super::deflate::Inflator;
use super::header::{Coding, ControlOpcode, End, FrameType, HEADER_BYTES_MAX, Header, split_plain};
use super::utf8::{NotUtf8, Utf8Progress, is_utf8};
use super::{CONTROL_BYTES_MAX, CloseFrame, ProtocolError};
use crate::message::Kind;

/// What a retained fragment is charged beyond its bytes, so that a flood of tiny or empty fragments
/// has its price ([`Decoder::charged`]).
pub const FRAGMENT_OVERHEAD_BYTES: usize = 64;

/// How far ahead of the bytes that have arrived memory is taken on the word of a frame's length.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

/// How large a message may be. Each limit is inclusive, and is applied to what a frame's header
/// announces, before its payload arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of a message, all its fragments together; of a compressed one, both as it is sent
    /// and as it becomes. Default 16 MiB. While a message is cut, the memory it takes is at most twice
    /// what has arrived of it, and 16 KiB, but for memory that an earlier message has left.
    pub message_bytes_max: usize,
    /// Payload bytes of one text, binary or continuation frame. Default 16 MiB.
    pub frame_bytes_max: usize,
    /// Frames of one message, empty ones included. Default 4,096.
    pub fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 * 1024 * 1024,
            frame_bytes_max: 16 * 1024 * 1024,
            fragments_max: 4_096,
        }
    }
}

/// What a server sent.
///
/// Exhaustive: there is nothing else in the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A whole message. The payload of a text message is UTF-8.
    Message {
        /// Text or binary.
        kind: Kind,
        /// All fragments together. What lay whole in the input is borrowed; what was put together is the caller's.
        payload: Cow<'a, [u8]>,
    },
    /// A ping, which wants a pong with the same payload (RFC 6455 §5.5.2).
    Ping(&'a [u8]),
    /// A pong, asked for or not (RFC 6455 §5.5.3).
    Pong(&'a [u8]),
    /// A close frame; `None` is one without a code (RFC 6455 §5.5.1). The last item of a stream.
    Close(Option<CloseFrame>),
}

/// The receiving half of one WebSocket, client side.
///
/// Feed it whatever arrives, cut anywhere: what comes out depends on the bytes alone. A message that
/// lies whole in the input is handed over where it lies; only what is cut is copied. A decoder with
/// nothing partial in it holds no heap memory.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The message being put together.
    message: Vec<u8>,
    /// A control frame that was cut, or, until the next call, the one just handed over.
    control: Option<Box<CutControl>>,
    stage: Stage,
    /// Frames begun in the message being put together.
    fragments: u32,
    /// The message being put together; `None` between messages.
    kind: Option<Kind>,
    utf8: Utf8Progress,
    head_len: u8,
    /// The first `head_len` bytes of a header that was cut, which has at least one more.
    head: [u8; HEADER_BYTES_MAX - 1],
    /// Only if compression was agreed on.
    inflator: Option<Box<Inflator>>,
}

/// There is one for each open connection, whose budget is 512 bytes in all.
const _: () = assert!(size_of::<Decoder>() <= 72);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// At the start of a frame, or inside its header.
    #[default]
    Head,
    /// At the start of a frame after a message that was read directly.
    HeadAfterDirect,
    /// Inside the payload of a data frame of `self.kind`'s message.
    Data { left: u64, end: End },
    /// Inside the payload of `self.kind`'s last frame; the next bytes are to be read to the last `room` bytes of `self.message`.
    Direct { left: u32, room: u32 },
    /// Inside the payload of `self.control`.
    Control,
    /// A close frame or a violation has been seen: the rest of the stream has no meaning.
    Ended,
}

#[derive(Debug)]
struct CutControl {
    opcode: ControlOpcode,
    len: u8,
    filled: u8,
    bytes: [u8; CONTROL_BYTES_MAX],
}

/// An item that is complete, before its payload is borrowed from where it lies.
enum Ready<'i> {
    Message(Kind, Payload<'i>),
    Ping(Payload<'i>),
    Pong(Payload<'i>),
    Close(Option<CloseFrame>),
}

/// Where a complete payload lies.
#[derive(Clone, Copy)]
enum Payload<'i> {
    /// Whole in the input.
    Input(&'i [u8]),
    /// In the decoder, which put it together.
    Held,
}

impl Decoder {
    /// A decoder at the first byte after the opening handshake.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder of a stream whose messages may be compressed (RFC 7692).
    pub fn inflating(inflator: Inflator) -> Self {
        Self {
            inflator: Some(Box::new(inflator)),
            ..Self::default()
        }
    }

    /// Takes the next item from the front of `input` and advances `input` behind it.
    ///
    /// `None` means that the input is used up; what is partial is kept inside. The memory of a control frame just
    /// handed over is given back by the next call, or by [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// The first rule or limit that the stream breaks. After an error, as after [`Item::Close`], the
    /// stream is over: what is held is freed, and every further call uses up its input and returns
    /// `None` (RFC 6455 §5.5.1, §7.1.7).
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        limits: &Limits,
        input: &mut &'i [u8],
    ) -> Result<Option<Item<'a>>, ProtocolError> {
        self.release();
        let mut run = self.run(limits, input);
        if let Some((kind, payload)) = run.next() {
            *input = run.rest();
            let payload = Cow::Borrowed(payload);
            return Ok(Some(Item::Message { kind, payload }));
        }
        let ready = match self.advance(limits, input) {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.end(input);
                return Err(error);
            }
        };
        Ok(Some(self.item(ready)))
    }

    fn item<'a, 'i: 'a>(&'a mut self, ready: Ready<'i>) -> Item<'a> {
        match ready {
            Ready::Message(kind, payload) => Item::Message {
                kind,
                payload: match payload {
                    Payload::Input(payload) => Cow::Borrowed(payload),
                    Payload::Held => Cow::Owned(std::mem::take(&mut self.message)),
                },
            },
            Ready::Ping(payload) => Item::Ping(self.control_payload(payload)),
            Ready::Pong(payload) => Item::Pong(self.control_payload(payload)),
            Ready::Close(frame) => Item::Close(frame),
        }
    }

    /// What the decoder holds, in bytes: the memory taken for what is partial,
    /// [`FRAGMENT_OVERHEAD_BYTES`] for each fragment of an unfinished message, empty ones included, and
    /// the state of its inflator.
    pub fn charged(&self) -> usize {
        let control = self.control.as_ref().map_or(0, |_| size_of::<CutControl>());
        let fragments = usize::try_from(self.fragments).unwrap_or(usize::MAX);
        fragments
            .saturating_mul(FRAGMENT_OVERHEAD_BYTES)
            .saturating_add(self.message.capacity())
            .saturating_add(control)
            .saturating_add(self.inflator.as_ref().map_or(0, |it| it.charged()))
    }

    /// Whether something incomplete is held: part of a header, of a frame or of a message.
    pub fn is_partial(&self) -> bool {
        match self.stage {
            Stage::Head => self.head_len > 0 || self.kind.is_some(),
            Stage::Data { .. } | Stage::Direct { .. } | Stage::Control => true,
            Stage::HeadAfterDirect => false,
            Stage::Ended => false,
        }
    }

    /// Whether a message has begun and is not complete, be it that only a part of its first header is there.
    pub fn is_mid_message(&self) -> bool {
        /// Set in the opcodes of control frames (RFC 6455 §5.2).
        const CONTROL: u8 = 0x08;
        self.kind.is_some() || (self.head_len > 0 && self.head[0] & CONTROL == 0)
    }

    /// What lies whole at the front of `input`, as far as it is the commonest thing there is: plain messages in one frame each. They
    /// are taken in the fewest steps. What is anything else, and what breaks a rule, is left to [`next`](Self::next).
    #[inline]
    pub fn run<'i>(&self, limits: &Limits, input: &'i [u8]) -> Run<'i> {
        let is_between = self.stage == Stage::Head
            && self.head_len == 0
            && self.kind.is_none()
            && self.inflator.is_none()
            && limits.fragments_max > 0;
        Run {
            rest: input,
            bytes_max: match is_between {
                true => Some(limits.frame_bytes_max.min(limits.message_bytes_max)),
                false => None,
            },
        }
    }

    /// Whether `input` begins between two messages and is nothing but a part of a plain one, or of its header.
    pub(crate) fn is_cut(&self, limits: &Limits, input: &[u8]) -> bool {
        let Some(bytes_max) = self.run(limits, input).bytes_max else {
            return false;
        };
        let is_cut = |(_, len, rest): (Kind, usize, &[u8])| len > rest.len() && len <= bytes_max;
        input.is_empty() || split_plain(input).is_some_and(is_cut)
    }

    fn advance<'i>(
        &mut self,
        limits: &Limits,
        input: &mut &'i [u8],
    ) -> Result<Option<Ready<'i>>, ProtocolError> {
        loop {
            match self.stage {
                Stage::HeadAfterDirect | Stage::Direct { .. } => self.leave_direct(),
                Stage::Head => {
                    let Some((header, len)) = self.read_head(limits, input)? else {
                        return Ok(None);
                    };
                    if let Some(ready) = self.begin(&header, len, input)? {
                        return Ok(Some(ready));
                    }
                }
                Stage::Data { left, end } if self.is_uncut(left, end, input) => {
                    self.stage = Stage::Head;
                    return self.finish_uncut(take(input, left)).map(Some);
                }
                Stage::Data { left, end } => {
                    let here = take(input, left);
                    if self.is_inflating() {
                        self.inflate(here, limits)?;
                    } else {
                        self.append(here, left, end)?;
                    }
                    let left = left - here.len() as u64;
                    if left > 0 {
                        self.stage = Stage::Data { left, end };
                        return Ok(None);
                    }
                    self.stage = Stage::Head;
                    if end == End::OfMessage {
                        return self.finish_message().map(Some);
                    }
                }
                Stage::Control => {
                    let control = self.control.as_mut().expect("the stage is set with it");
                    let start = usize::from(control.filled);
                    let here = take(input, u64::from(control.len - control.filled));
                    control.bytes[start..start + here.len()].copy_from_slice(here);
                    control.filled += u8::try_from(here.len()).expect("at most `len`, a u8");
                    if control.filled < control.len {
                        return Ok(None);
                    }
                    let opcode = control.opcode;
                    self.stage = Stage::Head;
                    return self.finish_control(opcode, Payload::Held, input).map(Some);
                }
                Stage::Ended => {
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    /// Reads a frame's header and the length of its payload, or keeps what there is of it.
    fn read_head(
        &mut self,
        limits: &Limits,
        input: &mut &[u8],
    ) -> Result<Option<(Header, u64)>, ProtocolError> {
        let held = usize::from(self.head_len);
        let mut joined = [0; HEADER_BYTES_MAX];
        let bytes = if held == 0 {
            *input
        } else {
            let more = input.len().min(HEADER_BYTES_MAX - held);
            joined[..held].copy_from_slice(&self.head[..held]);
            joined[held..held + more].copy_from_slice(&input[..more]);
            &joined[..held + more]
        };
        if let Some(header) = Header::parse(bytes, self.allowed_coding())? {
            self.check_order(&header, limits)?;
            if let Some((size, len)) = header.sizes()? {
                self.check_limits(&header, len, limits)?;
                *input = &input[size - held..];
                self.head_len = 0;
                return Ok(Some((header, len)));
            }
        }
        let kept = bytes.len();
        self.head[held..kept].copy_from_slice(&bytes[held..]);
        self.head_len = u8::try_from(kept).expect("a cut header without a mask has at most nine");
        *input = &[];
        Ok(None)
    }

    /// Whether a frame of this type may come now (RFC 6455 §5.4).
    fn check_order(&self, header: &Header, limits: &Limits) -> Result<(), ProtocolError> {
        match (header.frame_type, self.kind) {
            (FrameType::Control(_), _) => return Ok(()),
            (FrameType::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            (FrameType::Start(_), Some(_)) => return Err(ProtocolError::ExpectedContinuation),
            (FrameType::Continuation, Some(_)) | (FrameType::Start(_), None) => {}
        }
        if self.fragments >= limits.fragments_max {
            let max = limits.fragments_max;
            return Err(ProtocolError::TooManyFragments { max });
        }
        Ok(())
    }

    /// Whether a frame with a payload of `len` bytes stays within the limits.
    fn check_limits(
        &self,
        header: &Header,
        len: u64,
        limits: &Limits,
    ) -> Result<(), ProtocolError> {
        if matches!(header.frame_type, FrameType::Control(_)) {
            return Ok(());
        }
        if len > limits.frame_bytes_max as u64 {
            let max = limits.frame_bytes_max;
            return Err(ProtocolError::FrameTooBig { bytes: len, max });
        }
        let bytes = len.saturating_add(self.received());
        if bytes > limits.message_bytes_max as u64 {
            let max = limits.message_bytes_max;
            return Err(ProtocolError::MessageTooBig { bytes, max });
        }
        Ok(())
    }

    /// Payload bytes of the message so far, as they were sent.
    fn received(&self) -> u64 {
        if self.fragments == 0 {
            return 0;
        }
        match &self.inflator {
            Some(inflator) if inflator.is_active() => inflator.announced(),
            Some(_) | None => self.message.len() as u64,
        }
    }

    /// Begins a frame whose header has passed. A control frame that lies whole in the input is ready
    /// at once and is not copied.
    fn begin<'i>(
        &mut self,
        header: &Header,
        len: u64,
        input: &mut &'i [u8],
    ) -> Result<Option<Ready<'i>>, ProtocolError> {
        match header.frame_type {
            FrameType::Control(opcode) if len <= input.len() as u64 => {
                let payload = Payload::Input(take(input, len));
                return self.finish_control(opcode, payload, input).map(Some);
            }
            FrameType::Control(opcode) => {
                let len = u8::try_from(len).expect("a control frame has at most 125 bytes");
                self.control = Some(Box::new(CutControl {
                    opcode,
                    len,
                    filled: 0,
                    bytes: [0; CONTROL_BYTES_MAX],
                }));
                self.stage = Stage::Control;
                return Ok(None);
            }
            FrameType::Start(kind) => self.kind = Some(kind),
            FrameType::Continuation => {}
        }
        if let Some(inflator) = &mut self.inflator {
            if header.coding() == Coding::Compressed {
                inflator.begin();
            }
            inflator.announce(len);
        }
        self.fragments += 1;
        self.stage = Stage::Data {
            left: len,
            end: header.end,
        };
        Ok(None)
    }

    /// Whether the message is one frame whose whole payload lies in the input.
    fn is_uncut(&self, left: u64, end: End, input: &[u8]) -> bool {
        let is_untouched = self.fragments == 1 && self.message.is_empty();
        is_untouched && !self.is_inflating() && end == End::OfMessage && left <= input.len() as u64
    }

    fn finish_uncut<'i>(&mut self, payload: &'i [u8]) -> Result<Ready<'i>, ProtocolError> {
        let kind = self.finish_kind();
        if kind == Kind::Text && !is_utf8(payload) {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(Ready::Message(kind, Payload::Input(payload)))
    }

    /// Adds `here` to the message: the front of the `left` bytes that its frame still has to bring.
    fn append(&mut self, here: &[u8], left: u64, end: End) -> Result<(), ProtocolError> {
        let needed = self.message.len() + here.len();
        if needed > self.message.capacity() {
            // Doubling keeps the copying linear. The end of the message, once it is known, bounds it.
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let total = self.message.len().saturating_add(left);
            let doubled = self.message.capacity().saturating_mul(2);
            let ahead = self.message.len() + left.min(AHEAD_BYTES_MAX);
            let target = match end {
                End::OfMessage => ahead.max(doubled.min(total)),
                End::OfFragment => ahead.max(doubled),
            };
            self.message
                .reserve_exact(target.max(needed) - self.message.len());
        }
        self.message.extend_from_slice(here);
        if self.kind == Some(Kind::Text) {
            self.utf8.grow(&self.message, here.len())?;
        }
        Ok(())
    }

    /// Adds what `here` decompresses to. Kept out of the way of messages that are not compressed.
    #[inline(never)]
    fn inflate(&mut self, here: &[u8], limits: &Limits) -> Result<(), ProtocolError> {
        let inflator = self.inflator.as_mut().expect("a compressed message");
        let (utf8, is_text) = (&mut self.utf8, self.kind == Some(Kind::Text));
        let check = |message: &[u8], grown_by| match is_text {
            true => utf8.grow(message, grown_by).map_err(ProtocolError::from),
            false => Ok(()),
        };
        inflator.inflate(here, &mut self.message, limits.message_bytes_max, check)
    }

    fn finish_message<'i>(&mut self) -> Result<Ready<'i>, ProtocolError> {
        if let Some(inflator) = &mut self.inflator
            && inflator.is_active()
        {
            inflator.finish()?;
        }
        self.utf8.finish()?;
        Ok(Ready::Message(self.finish_kind(), Payload::Held))
    }

    fn finish_kind(&mut self) -> Kind {
        self.fragments = 0;
        self.kind.take().expect("a data frame belongs to a message")
    }

    fn finish_control<'i>(
        &mut self,
        opcode: ControlOpcode,
        payload: Payload<'i>,
        input: &mut &'i [u8],
    ) -> Result<Ready<'i>, ProtocolError> {
        Ok(match opcode {
            ControlOpcode::Ping => Ready::Ping(payload),
            ControlOpcode::Pong => Ready::Pong(payload),
            ControlOpcode::Close => {
                let frame = CloseFrame::parse(self.control_payload(payload))?;
                self.end(input);
                Ready::Close(frame)
            }
        })
    }

    fn is_inflating(&self) -> bool {
        self.inflator.as_ref().is_some_and(|it| it.is_active())
    }

    fn allowed_coding(&self) -> Coding {
        match self.inflator {
            Some(_) => Coding::Compressed,
            None => Coding::Plain,
        }
    }

    fn control_payload<'a>(&'a self, payload: Payload<'a>) -> &'a [u8] {
        match payload {
            Payload::Input(payload) => payload,
            Payload::Held => {
                let control = self.control.as_ref().expect("kept until the next call");
                &control.bytes[..usize::from(control.len)]
            }
        }
    }

    /// Frees what the last call of [`next`](Self::next) handed over.
    pub fn release(&mut self) {
        if self.control.is_some() && self.stage != Stage::Control {
            self.control = None;
        }
    }

    /// The stream is over: nothing is kept, nothing more is read.
    fn end(&mut self, input: &mut &[u8]) {
        *self = Self {
            stage: Stage::Ended,
            ..Self::default()
        };
        *input = &[];
    }
}

/// Plain messages that lie whole in the input, one after the other ([`Decoder::run`]).
#[derive(Clone, Debug)]
pub struct Run<'i> {
    rest: &'i [u8],
    /// How long a message may be; `None` if none is to be taken this way.
    bytes_max: Option<usize>,
}

impl<'i> Run<'i> {
    /// What lies behind the messages that were taken.
    pub fn rest(&self) -> &'i [u8] {
        self.rest
    }
}

impl<'i> Iterator for Run<'i> {
    /// The kind and the payload; that of a text message is UTF-8.
    type Item = (Kind, &'i [u8]);

    #[inline]
    fn next(&mut self) -> Option<(Kind, &'i [u8])> {
        let bytes_max = self.bytes_max?;
        let (kind, len, rest) = split_plain(self.rest)?;
        if len > rest.len() || len > bytes_max {
            return None;
        }
        let (payload, rest) = rest.split_at(len);
        if kind == Kind::Text && !is_utf8(payload) {
            return None;
        }
        self.rest = rest;
        Some((kind, payload))
    }
}

impl From<NotUtf8> for ProtocolError {
    fn from(NotUtf8: NotUtf8) -> Self {
        Self::InvalidUtf8
    }
}

/// Splits off the first `len_max` bytes of `input`, or all there are.
fn take<'i>(input: &mut &'i [u8], len_max: u64) -> &'i [u8] {
    let len = usize::try_from(len_max).map_or(input.len(), |len| len.min(input.len()));
    let (taken, rest) = input.split_at(len);
    *input = rest;
    taken
}
