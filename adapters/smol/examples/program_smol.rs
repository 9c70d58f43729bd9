//! A fleet with one connection that is pulled and one that has a processor.

use ropewalk_smol::{Batch, Connect, Fleet, Verdict};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut fleet = Fleet::new();
    let mut events = fleet.events();

    // Pulled: batches come here, through every reconnect.
    let trades = fleet.open(
        Connect::to("ws://127.0.0.1:9001/trades")?
            .ready(r#"{"op":"subscribe","channel":"trades"}"#)
            .stale_after(Duration::from_secs(30)),
    );
    let sender = trades.sender();

    // Pushed: a processor of its own, with a verdict on each message.
    fleet.open(
        Connect::to("ws://127.0.0.1:9002/books")?.process(|batch: Batch| async move {
            batch.judge(|message| match message.text() {
                Ok("") => Verdict::retry_after(Duration::from_millis(200)),
                Ok(_) => Verdict::Ack,
                Err(error) => Verdict::reject(error),
            })
        }),
    );

    let receipt = sender.send("hello").await?;
    println!("hello was {:?}", receipt.outcome().await);
    if let Some(batch) = trades.next_batch().await {
        println!("{} messages", batch.len());
    }
    println!("{:?}", events.next().await);
    println!("{:?}", fleet.shutdown(Duration::from_secs(5)).await);
    Ok(())
}
