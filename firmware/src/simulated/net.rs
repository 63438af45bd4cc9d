//! A TCP connection in memory: what one end writes the other reads at once, unless the wire is cut.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// What a socket takes while nobody acknowledges it.
const SEND_BUFFER_LEN: usize = 8_192;

/// How the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Open,
    /// The other end has closed.
    Closed,
    /// Both ends are told that it broke.
    Reset,
    /// Nothing passes any more, and nobody is told.
    Dead,
}

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) wire: Wire,
    /// From the device, not read yet.
    pub(super) up: VecDeque<u8>,
    down: VecDeque<u8>,
    swallowed: usize,
    waker: Option<Waker>,
}

impl Pipe {
    pub(super) fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            wire: Wire::Open,
            up: VecDeque::new(),
            down: VecDeque::new(),
            swallowed: 0,
            waker: None,
        }))
    }

    /// To the device.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        if self.wire == Wire::Open {
            self.down.extend(bytes);
            self.wake();
        }
    }

    pub(super) fn cut(&mut self, wire: Wire) {
        self.wire = wire;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The device's end. The broker is asked at once when something was written.
pub(crate) struct DeviceEnd<F: Fn()> {
    pub(super) pipe: Rc<RefCell<Pipe>>,
    pub(super) written: F,
}

impl<F: Fn()> ErrorType for DeviceEnd<F> {
    type Error = ErrorKind;
}

impl<F: Fn()> Read for DeviceEnd<F> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        poll_fn(|context| {
            let mut pipe = self.pipe.borrow_mut();
            let len = pipe.down.len().min(buffer.len());
            if len > 0 {
                for (to, from) in buffer.iter_mut().zip(pipe.down.drain(..len)) {
                    *to = from;
                }
                return Poll::Ready(Ok(len));
            }
            match pipe.wire {
                Wire::Closed => Poll::Ready(Ok(0)),
                Wire::Reset => Poll::Ready(Err(ErrorKind::ConnectionReset)),
                Wire::Open | Wire::Dead => {
                    pipe.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl<F: Fn()> Write for DeviceEnd<F> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        let len = poll_fn(|context| {
            let mut pipe = self.pipe.borrow_mut();
            match pipe.wire {
                Wire::Closed | Wire::Reset => Poll::Ready(Err(ErrorKind::ConnectionReset)),
                Wire::Open => {
                    pipe.up.extend(bytes);
                    Poll::Ready(Ok(bytes.len()))
                }
                Wire::Dead if pipe.swallowed < SEND_BUFFER_LEN => {
                    pipe.swallowed += bytes.len();
                    Poll::Ready(Ok(bytes.len()))
                }
                Wire::Dead => {
                    pipe.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await?;
        (self.written)();
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl<F: Fn()> Drop for DeviceEnd<F> {
    fn drop(&mut self) {
        let mut pipe = self.pipe.borrow_mut();
        if pipe.wire == Wire::Open {
            pipe.wire = Wire::Closed;
        }
        drop(pipe);
        (self.written)();
    }
}
