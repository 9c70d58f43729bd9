//! The driver's suite on this runtime.

#[path = "../../driver/tests/suite/mod.rs"]
mod suite;

suite::tests!(ropewalk_tokio::Tokio, crate::block_on);

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads to give");
    runtime.block_on(future)
}
