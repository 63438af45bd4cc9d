//! The device as its link sees it.

use core::future::Future;

use embassy_time::{Duration, Instant};
use taraz_telemetry::{Ack, Channel, FRAME_LEN_MAX};

use super::{Device, DeviceEvent, LinkState, Observer};
use crate::link::{LinkEvent, Post};
use crate::queue::Queue;

impl<Q: Queue, O: Observer> Post for Device<Q, O> {
    fn next_frame<'b>(&self, now: Instant, buffer: &'b mut [u8; FRAME_LEN_MAX]) -> Option<&'b [u8]> {
        let now_ms = self.since_start_ms(now);
        let core = &mut *self.core.borrow_mut();
        match core.courier.next(now_ms, &mut core.queue, buffer) {
            Ok(outgoing) => outgoing.map(|outgoing| outgoing.frame),
            Err(error) => {
                self.observer.event(&DeviceEvent::QueueFailed {
                    error: format_args!("{error}"),
                });
                None
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due_ms = self.core.borrow().courier.next_due_ms()?;
        Some(self.started + Duration::from_millis(due_ms))
    }

    fn changed(&self) -> impl Future<Output = ()> {
        self.link_wake.wait()
    }

    fn received(&self, now: Instant, channel: Channel, payload: &[u8]) {
        if channel != Channel::Ack {
            return;
        }
        let now_ms = self.since_start_ms(now);
        let core = &mut *self.core.borrow_mut();
        let ack = match Ack::decode(payload, core.courier.key(), core.courier.device()) {
            Ok(ack) => ack,
            Err(error) => return self.observer.event(&DeviceEvent::AckRefused(error)),
        };
        match core.courier.acknowledge(now_ms, &ack, &mut core.queue) {
            Ok(records) => {
                let pending_records = core.queue.pending_records();
                self.observer.event(&DeviceEvent::Released {
                    records,
                    pending_records,
                });
            }
            Err(error) => self.observer.event(&DeviceEvent::QueueFailed {
                error: format_args!("{error}"),
            }),
        }
    }

    fn event(&self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::Connected => {
                let now_ms = self.since_start_ms(now);
                let mut core = self.core.borrow_mut();
                core.link = LinkState::Online;
                core.link_connects = core.link_connects.saturating_add(1);
                core.courier.reconnected(now_ms);
            }
            LinkEvent::Failed { error, .. } => self.core.borrow_mut().link = LinkState::Offline(error),
            LinkEvent::PublishRefused { .. } | LinkEvent::Stopped => {}
        }
        self.observer.event(&DeviceEvent::Link(event));
    }

    fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}
