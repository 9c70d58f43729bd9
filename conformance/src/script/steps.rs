//! What a server's script can say.

use std::time::Duration;

/// What the server does with one dial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DialPlan {
    /// Before anything else.
    pub greeting: Greeting,
    /// Afterwards, in order; then it serves until the client is done.
    pub steps: Vec<Step>,
}

/// What becomes of the attempt to connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Greeting {
    /// It is accepted.
    #[default]
    Accept,
    /// Nobody listens.
    Refuse,
    /// No answer ever comes.
    Blackhole,
    /// There is no way to the server.
    Unreachable,
    /// The client's machine has no descriptor left.
    OutOfResources,
    /// The client's machine forbids it.
    Denied,
    /// The client's socket finds itself at the other end.
    SelfConnect,
    /// The name of the server cannot be resolved.
    Unresolvable,
    /// The resolver never answers.
    ResolverSilent,
    /// The resolver knows the name and no address.
    NoAddress,
}

/// One step of a server's script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads the request and answers 101, with these extra header lines.
    Upgrade(Vec<String>),
    /// The same, and agrees to permessage-deflate with these parameters if the request offers it.
    UpgradeDeflating(&'static str),
    /// Reads the request and answers this status, with these header lines.
    Status(u16, Vec<String>),
    /// Reads the request and answers these bytes, in which `{accept}` is the right accept value.
    Respond(Vec<u8>),
    /// Reads the request and fails the scenario unless this is a part of it.
    ExpectRequest(Vec<u8>),
    /// Sends a text message.
    SendText(String),
    /// Sends a binary message.
    SendBinary(Vec<u8>),
    /// Sends a ping.
    SendPing(Vec<u8>),
    /// Sends bytes that need not make sense.
    SendRaw(Vec<u8>),
    /// Sends the data messages that the client sends, as they come, for ever.
    Echo,
    /// Waits for the next data message and fails the scenario unless this is it.
    ExpectText(String),
    /// Waits for the next data message and fails the scenario unless this is it.
    ExpectBinary(Vec<u8>),
    /// Waits for a ping.
    ExpectPing,
    /// Waits for a pong with this payload.
    ExpectPong(Vec<u8>),
    /// Waits for a close frame, or for the end of the stream.
    ExpectClose,
    /// Waits until the client's stream ends or breaks.
    ExpectEnd,
    /// Sends a close frame, with this code and reason if there is one.
    Close(Option<(u16, String)>),
    /// Resets the connection.
    Reset,
    /// Ends the server's half of the stream without a close frame.
    Eof,
    /// Reads nothing and answers nothing from now on, pings and close frames included.
    Stall,
    /// Reads again after a stall.
    Unstall,
    /// Gathers what is sent from here on.
    Cork,
    /// Sends what was gathered, in one write.
    Uncork,
    /// Cuts what is sent from here on into pieces of this many bytes, with this pause before each.
    Pace(usize, Duration),
    /// Does nothing for a while; pings are answered meanwhile.
    Sleep(Duration),
    /// Does nothing until the story gives this signal; pings are answered meanwhile.
    Await(String),
}
