//! smol and async-std, as a program that embeds them runs: everything is a task of their executor, the work itself included, so
//! that nothing hops between the thread that waits for it and the executor's. The executor has one thread.

use std::future::Future;
use std::time::Duration;

use super::{Problem, drive};
use crate::work::Done;

pub(super) struct Smol;
pub(super) struct AsyncStd;

/// A runtime that does the work as one of its tasks.
pub(super) trait Elsewhere: drive::Tasks {
    /// Waits for the task.
    fn work(
        task: impl Future<Output = Result<Done, Problem>> + Send + 'static,
    ) -> Result<Done, Problem>;
}

impl Elsewhere for Smol {
    fn work(
        task: impl Future<Output = Result<Done, Problem>> + Send + 'static,
    ) -> Result<Done, Problem> {
        smol::block_on(smol::spawn(task))
    }
}

impl Elsewhere for AsyncStd {
    fn work(
        task: impl Future<Output = Result<Done, Problem>> + Send + 'static,
    ) -> Result<Done, Problem> {
        async_std::task::block_on(async_std::task::spawn(task))
    }
}

impl drive::Tasks for Smol {
    type Sender<T: Send + 'static> = smol::channel::Sender<T>;
    type Receiver<T: Send + 'static> = smol::channel::Receiver<T>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }

    fn channel<T: Send + 'static>(bound: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        smol::channel::bounded(bound)
    }

    async fn send<T: Send + 'static>(to: &Self::Sender<T>, it: T) {
        let _ = to.send(it).await;
    }

    async fn receive<T: Send + 'static>(from: &mut Self::Receiver<T>) -> Option<T> {
        from.recv().await.ok()
    }
}

impl drive::Tasks for AsyncStd {
    type Sender<T: Send + 'static> = async_std::channel::Sender<T>;
    type Receiver<T: Send + 'static> = async_std::channel::Receiver<T>;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }

    async fn sleep(time: Duration) {
        async_std::task::sleep(time).await;
    }

    fn channel<T: Send + 'static>(bound: usize) -> (Self::Sender<T>, Self::Receiver<T>) {
        async_std::channel::bounded(bound)
    }

    async fn send<T: Send + 'static>(to: &Self::Sender<T>, it: T) {
        let _ = to.send(it).await;
    }

    async fn receive<T: Send + 'static>(from: &mut Self::Receiver<T>) -> Option<T> {
        from.recv().await.ok()
    }
}
