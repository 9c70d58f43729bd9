//! The peer in a process of its own.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::Address;

/// A peer's process, which ends with this value.
pub struct Running {
    process: Child,
    says: BufReader<ChildStdout>,
    address: Address,
}

impl Running {
    /// Starts the peer that the program `compare` is when it is told to.
    ///
    /// # Errors
    /// The program does not start, or does not say where it listens.
    pub fn start(compare: &Path) -> io::Result<Self> {
        let mut process = Command::new(compare)
            .arg("peer")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().expect("it was asked for");
        let mut says = BufReader::new(stdout);
        let mut line = String::new();
        let read = says.read_line(&mut line);
        match read.and_then(|_| Ok(serde_json::from_str(&line)?)) {
            Ok(address) => Ok(Self {
                process,
                says,
                address,
            }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// How many bytes the frames had that a contestant has sent it, compressed. To be asked once for each that has.
    ///
    /// # Errors
    /// The process has ended.
    pub fn frame_bytes(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        line.trim().parse().map_err(io::Error::other)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
