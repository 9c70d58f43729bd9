//! websockets, in Python, as its documentation advises: `connect` of its asyncio client, with its defaults; compression only
//! where it is measured, then with its own defaults: zlib's level 6 and a window of 15 bits as the others have, and `memLevel` 5,
//! where they have 8. The interpreter is that of the environment's `PYTHON`, or else `python3`.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::place::Compression;
use super::{Place, Problem};
use crate::work::{Done, Work};

const PROGRAM: &str = include_str!("python.py");

fn interpreter() -> Command {
    let name = std::env::var_os("PYTHON").unwrap_or_else(|| OsString::from("python3"));
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Whether there is an interpreter with the library.
pub(super) fn is_here() -> bool {
    let status = interpreter()
        .args(["-c", "import websockets.asyncio.client"])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

pub(super) fn work(work: Work, to: &Place) -> Result<Done, Problem> {
    let compression = match to.compression {
        Compression::Off => "off",
        Compression::Offered => "offered",
    };
    let output = interpreter()
        .args(["-c", PROGRAM, &serde_json::to_string(&work)?])
        .args([&super::drive::text(work), &to.url, compression])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("Python did not do it".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
