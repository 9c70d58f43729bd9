//! The loop that feeds a processor, in a task of its own.

use std::sync::Arc;

use ropewalk_core::{Batch, Judged, Verdict};

use crate::application::{Process, call};
use crate::handle::next_batch;
use crate::link::Link;

/// Hands batch after batch to the processor until the connection has ended. A panic rejects the batch it
/// happened in, and nothing else.
pub(crate) async fn work(link: Arc<Link>, process: Process) {
    while let Some(batch) = next_batch(&link).await {
        let kept = batch.clone();
        let judged = match call(|| (process.0)(batch)).await {
            Ok(judged) if is_about(&judged, &kept) => judged,
            Ok(_) => kept.refuse_all(&Verdict::reject(
                "the processor returned verdicts on another batch",
            )),
            Err(panicked) => {
                kept.refuse_all(&Verdict::reject(format_args!("the processor {panicked}")))
            }
        };
        link.judged(judged);
    }
}

fn is_about(judged: &Judged, batch: &Batch) -> bool {
    let name = |batch: &Batch| {
        (
            batch.connection(),
            batch.attempt(),
            batch.len(),
            batch.get(0).map(ropewalk_core::MessageRef::seq),
        )
    };
    name(judged.batch()) == name(batch)
}
