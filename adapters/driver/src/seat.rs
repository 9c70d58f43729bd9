//! Memory for a processor's futures: most of them are done at once, and a place that was left is as good for the next.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use ropewalk_core::Judged;

pub(crate) type BoxSeat = Pin<Box<dyn Seat>>;

/// A larger place is not kept, and a larger future is not moved again.
const BYTES_MAX: usize = 1 << 10;

/// A place for a future of a certain type.
pub(crate) trait Seat: Send {
    /// Polls the future in it; `Pending` if there is none.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Judged>;

    /// Drops what is in it.
    fn clear(self: Pin<&mut Self>);

    /// Takes the future out of `future`, an `Option` of one, if it is of the type that this is for.
    fn take_from(self: Pin<&mut Self>, future: &mut dyn Any);
}

/// Puts a future into `left`, if that is for such futures, or into a new place.
pub(crate) fn seated<F>(future: F, left: Option<BoxSeat>) -> BoxSeat
where
    F: Future<Output = Judged> + Send + 'static,
{
    let mut future = Some(future);
    if let Some(mut seat) = left
        && size_of::<F>() <= BYTES_MAX
    {
        seat.as_mut().take_from(&mut future);
        if future.is_none() {
            return seat;
        }
    }
    Box::pin(future)
}

/// Whether an empty place is worth keeping.
pub(crate) fn is_kept(seat: &BoxSeat) -> bool {
    size_of_val(&**seat) <= BYTES_MAX
}

impl<F: Future<Output = Judged> + Send + 'static> Seat for Option<F> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Judged> {
        match self.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Pending,
        }
    }

    fn clear(mut self: Pin<&mut Self>) {
        self.set(None);
    }

    fn take_from(mut self: Pin<&mut Self>, future: &mut dyn Any) {
        if let Some(future) = future.downcast_mut::<Self>() {
            self.set(future.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    async fn never<const BYTES: usize>(_: [u8; BYTES]) -> Judged {
        std::future::pending().await
    }

    fn address(seat: &BoxSeat) -> *const u8 {
        std::ptr::from_ref(&**seat).cast()
    }

    #[test]
    fn a_place_is_used_again_for_futures_of_its_type_and_for_no_others() {
        let mut seat = seated(never([1; 100]), None);
        let place = address(&seat);
        seat.as_mut().clear();
        let seat = seated(never([2; 100]), Some(seat));
        assert_eq!(address(&seat), place);
        let mut other = seated(std::future::pending::<Judged>(), Some(seat));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(other.as_mut().poll(&mut cx).is_pending());
    }

    #[test]
    fn a_large_place_is_not_kept() {
        assert!(is_kept(&seated(never([0; 500]), None)));
        assert!(!is_kept(&seated(never([0; 2_000]), None)));
    }
}
