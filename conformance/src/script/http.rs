//! The server's half of the opening handshake, under control to the byte.

use tungstenite::handshake::derive_accept_key;

/// A request as it arrives.
#[derive(Debug, Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
    end: Option<usize>,
}

impl Request {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.end.is_none() {
            let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
            self.end = end.map(|at| at + 4);
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.end.is_some()
    }

    /// The accept value that answers the request.
    pub(super) fn accept(&self) -> Result<String, String> {
        let head = self.head();
        if !head.starts_with("GET ") {
            return Err(format!("the request is not a GET: {head:?}"));
        }
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-version", "13"),
        ] {
            if self.header(name) != Some(value) {
                return Err(format!("the request has no `{name}: {value}`: {head:?}"));
            }
        }
        let key = self
            .header("sec-websocket-key")
            .ok_or("the request has no Sec-WebSocket-Key")?;
        Ok(derive_accept_key(key.as_bytes()))
    }

    pub(super) fn contains(&self, part: &[u8]) -> bool {
        self.bytes.windows(part.len().max(1)).any(|w| w == part)
    }

    /// What came after the head.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        self.bytes.split_off(self.end.unwrap_or(self.bytes.len()))
    }

    fn head(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.end.unwrap_or(0)]).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let head = std::str::from_utf8(&self.bytes[..self.end?]).ok()?;
        head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A 101 with more header lines.
pub(super) fn switching(accept: &str, headers: &[String]) -> Vec<u8> {
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    push_headers(&mut response, headers);
    response.into_bytes()
}

/// A response of another status, without a body.
pub(super) fn status(status: u16, headers: &[String]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 {status} Scripted\r\nContent-Length: 0\r\n");
    push_headers(&mut response, headers);
    response.into_bytes()
}

/// The template with the accept value in its place.
pub(super) fn fill(template: &[u8], accept: &str) -> Vec<u8> {
    let marker = b"{accept}";
    let mut response = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.windows(marker.len()).position(|w| w == marker) {
        response.extend_from_slice(&rest[..at]);
        response.extend_from_slice(accept.as_bytes());
        rest = &rest[at + marker.len()..];
    }
    response.extend_from_slice(rest);
    response
}

fn push_headers(response: &mut String, headers: &[String]) {
    for header in headers {
        response.push_str(header);
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
}
