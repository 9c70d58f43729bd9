//! In place of `poller`, where there is no epoll: streams are the runtime's to watch.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use crate::mailbox::Mailbox;
use crate::runtime::Runtime;
use crate::watched::Change;

/// Watches nothing.
pub(crate) struct Poller;

impl Poller {
    pub(crate) fn new(_: Arc<Mailbox>) -> Self {
        Self
    }

    /// # Errors
    /// Always.
    #[allow(clippy::extra_unused_type_parameters, reason = "the real one has it")]
    pub(crate) fn add<R: Runtime>(&mut self, _: &TcpStream, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn poll(&mut self, _: impl FnMut(u32, Change)) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn look_again(&mut self, _: impl FnMut(u32, Change)) {}
}
