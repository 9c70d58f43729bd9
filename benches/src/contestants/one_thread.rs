//! Executors with one thread, so that no runtime does the work on more processors than another.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What smol and async-std read when their executors start.
pub const ONE_THREAD: [(&str, &str); 2] = [("SMOL_THREADS", "1"), ("ASYNC_STD_THREAD_COUNT", "1")];

/// Starts this process anew with [`ONE_THREAD`], unless its environment says how many threads there are to be.
///
/// # Errors
/// It does not start.
pub fn on_one_thread() -> io::Result<()> {
    if ONE_THREAD
        .iter()
        .all(|(name, _)| env::var_os(name).is_some())
    {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe()?);
    Err(again.args(env::args_os().skip(1)).envs(ONE_THREAD).exec())
}
