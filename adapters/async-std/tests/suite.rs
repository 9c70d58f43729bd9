//! The driver's suite on this runtime.

#[path = "../../driver/tests/suite/mod.rs"]
mod suite;

suite::tests!(ropewalk_async_std::AsyncStd, crate::block_on);

fn block_on<F: Future>(future: F) -> F::Output {
    async_std::task::block_on(future)
}
