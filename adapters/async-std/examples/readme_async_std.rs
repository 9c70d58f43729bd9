//! The README's program.

use std::time::Duration;

use ropewalk_async_std::{Batch, Connect, Fleet, Verdict};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    async_std::task::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut fleet = Fleet::new();

    // Pushed: a processor of its own, with a verdict on each message.
    let books = Connect::to("ws://127.0.0.1:9001/books")?;
    fleet.open(books.process(|batch: Batch| async move {
        batch.judge(|message| match message.text() {
            Ok(_) => Verdict::Ack,
            Err(error) => Verdict::reject(error),
        })
    }));

    // Pulled: batches come here, through every reconnect.
    let trades = Connect::to("ws://127.0.0.1:9001/trades")?.ready(r#"{"op":"subscribe"}"#);
    let trades = fleet.open(trades);
    while let Some(batch) = trades.next_batch().await {
        println!("{} messages", batch.len());
    }
    println!("{:?}", fleet.shutdown(Duration::from_secs(5)).await);
    Ok(())
}
