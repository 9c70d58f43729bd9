//! The driver's suite on this runtime.

#[path = "../../driver/tests/suite/mod.rs"]
mod suite;

suite::tests!(ropewalk_smol::Smol, crate::block_on);

fn block_on<F: Future>(future: F) -> F::Output {
    smol::block_on(future)
}
