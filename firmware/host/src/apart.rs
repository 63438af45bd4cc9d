//! Futures driven side by side, each with a waker of its own that keeps its identity.
//!
//! The clock keeps one alarm per waker and tells wakers apart with `will_wake`. A waker and its clone may differ there (each copy
//! of the code may have a table of its own), and then every poll sets another alarm, which wakes for nothing. So a future is
//! always polled with the same clone.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// A future of this thread.
pub(crate) type Local<'f> = Pin<Box<dyn Future<Output = ()> + 'f>>;

/// Drives futures to their ends. One is polled for its own events only: the link's timers are not set again for every byte
/// that comes from the bus.
pub(crate) async fn apart<const N: usize>(futures: [Local<'_>; N]) {
    let steady = futures.map(|future| Steady { future, waker: None });
    let mut running: FuturesUnordered<_> = steady.into_iter().collect();
    while running.next().await.is_some() {}
}

struct Steady<'f> {
    future: Local<'f>,
    waker: Option<Waker>,
}

impl Future for Steady<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Two wakers with the same data are those of one task.
        let known = this
            .waker
            .take()
            .filter(|waker| waker.data() == context.waker().data());
        let waker = this
            .waker
            .insert(known.unwrap_or_else(|| context.waker().clone()));
        this.future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_future_sees_one_waker_only() {
        let seen: RefCell<Vec<Waker>> = RefCell::new(Vec::new());
        let look = async {
            for _ in 0..10 {
                poll_fn(|context| {
                    let mut seen = seen.borrow_mut();
                    let known = seen.iter().any(|waker| waker.will_wake(context.waker()));
                    if !known {
                        seen.push(context.waker().clone());
                    }
                    Poll::Ready(())
                })
                .await;
                tokio::task::yield_now().await;
            }
        };
        apart([Box::pin(look), Box::pin(async { tokio::task::yield_now().await })]).await;
        assert_eq!(seen.borrow().len(), 1);
    }

    #[tokio::test]
    async fn all_come_to_their_end_and_one_that_waits_holds_up_no_other() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = RefCell::new(Vec::new());
        let waits = async {
            receiver.await.unwrap();
            done.borrow_mut().push("waits");
        };
        let sends = async {
            tokio::task::yield_now().await;
            done.borrow_mut().push("sends");
            sender.send(()).unwrap();
        };
        apart([Box::pin(waits), Box::pin(sends)]).await;
        assert_eq!(*done.borrow(), ["sends", "waits"]);
    }
}
