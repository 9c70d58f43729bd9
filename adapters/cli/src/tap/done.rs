//! Waiting for what happens once.

use std::sync::{Arc, OnceLock};

use event_listener::Event;

/// Something that happens once and that others wait for.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    shared: Arc<(OnceLock<()>, Event)>,
}

impl Done {
    pub(super) fn tell(&self) {
        let (done, notice) = &*self.shared;
        if done.set(()).is_ok() {
            notice.notify(usize::MAX);
        }
    }

    pub(super) async fn wait(&self) {
        let (done, notice) = &*self.shared;
        loop {
            let told = notice.listen();
            if done.get().is_some() {
                return;
            }
            told.await;
        }
    }
}
