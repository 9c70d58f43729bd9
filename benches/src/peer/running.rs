//! The peer in a process of its own.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Address;

/// A peer's process, which ends with this value.
pub struct Running {
    process: Child,
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
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        match serde_json::from_str(&line) {
            Ok(address) => Ok(Self { process, address }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error.into())
            }
        }
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
