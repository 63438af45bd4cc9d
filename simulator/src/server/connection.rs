//! One connection with a bus: requests in, registers out.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_modbus::prelude::{ExceptionCode, Request, Response, SlaveRequest};
use tokio_modbus::server::Service;

use crate::check::CLOCK_ADDRESS;
use crate::device::{FaultyBus, Image, Reaction};
use crate::journal::{Answered, Journal};
use crate::maps::Block;
use crate::simulation::World;

/// Modbus function 3.
const READ_HOLDING_REGISTERS: u8 = 3;
/// Modbus function 4.
const READ_INPUT_REGISTERS: u8 = 4;
/// Registers of the bus clock: UTC ms as a big-endian u64.
const CLOCK_REGISTERS: usize = 4;

/// What all connections with one bus share.
pub(super) struct Shared {
    pub(super) bus: usize,
    pub(super) world: watch::Receiver<Arc<World>>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) follow_clock: bool,
    pub(super) offset_ms: i64,
    /// Open connections.
    pub(super) connections: AtomicUsize,
}

/// The service behind one connection. It has its own clock if the client sets it.
pub(super) struct Connection {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The bus time that the client set.
    clock_ms: Option<i64>,
    /// Per unit: what was rendered last, and for when.
    images: Vec<Option<Rendered>>,
}

#[derive(Default)]
struct Rendered {
    at_ms: i64,
    version: u64,
    image: Image,
}

/// What becomes of a request, and after how long.
type Outcome = Result<Option<Response>, ExceptionCode>;

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            shared,
            state: Mutex::default(),
        }
    }

    fn handle(&self, request: &SlaveRequest<'static>) -> (Outcome, u32) {
        let shared = &self.shared;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if request.slave == CLOCK_ADDRESS {
            let clock = shared
                .follow_clock
                .then(|| set_clock(&mut state, &request.request));
            return (clock.unwrap_or(Ok(None)), 0);
        }
        let world = Arc::clone(&shared.world.borrow());
        let bus = &world.buses[shared.bus];
        let wall_ms = Timestamp::now().as_millisecond();
        let at_ms = state.clock_ms.unwrap_or(wall_ms + shared.offset_ms);
        // A unit that does not exist is silent, as on any bus: nobody else answers for it.
        let unit = bus.unit(request.slave);
        let reaction = unit.map_or(Reaction::Silence, |unit| bus.reaction(unit, at_ms));
        match (reaction, unit) {
            (Reaction::Answer(delay_ms), Some(unit)) => {
                let rendered = state.rendered(unit, at_ms, world.version, bus);
                let answer = read(bus.bus.blocks(unit), &request.request)
                    .map(|read| Some(self.answer(&read, rendered, bus, unit, wall_ms)));
                (answer, if state.clock_ms.is_some() { 0 } else { delay_ms })
            }
            (Reaction::Busy, _) => (Err(ExceptionCode::ServerDeviceBusy), 0),
            // In simulated time nobody can wait: silence is said at once, as a gateway says it for those behind it.
            _ if state.clock_ms.is_some() => (Err(ExceptionCode::GatewayTargetDevice), 0),
            _ => (Ok(None), 0),
        }
    }

    /// The answer to a read; it goes into the journal.
    fn answer(
        &self,
        read: &Read,
        rendered: &Rendered,
        bus: &FaultyBus,
        unit: usize,
        wall_ms: i64,
    ) -> Response {
        let block = &rendered.image.blocks[read.block];
        let registers = &block.registers[usize::from(read.offset)..usize::from(read.offset + read.count)];
        if let Some(journal) = &self.shared.journal {
            journal.write(&Answered {
                bus: &bus.bus.id,
                at_ms: rendered.at_ms,
                wall_ms,
                unit: bus.bus.config.units[unit].address.get(),
                function: read.function,
                start: bus.bus.blocks(unit)[read.block].start + read.offset,
                registers,
                block,
                offset: read.offset,
            });
        }
        (read.respond)(registers.to_vec())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// The unit's registers at an instant; those of the last request if it was for the same.
    fn rendered(&mut self, unit: usize, at_ms: i64, version: u64, bus: &FaultyBus) -> &Rendered {
        if self.images.len() <= unit {
            self.images.resize_with(unit + 1, || None);
        }
        let slot = &mut self.images[unit];
        let fresh = slot
            .as_ref()
            .is_some_and(|known| known.at_ms == at_ms && known.version == version);
        let rendered = slot.get_or_insert_default();
        if !fresh {
            (rendered.at_ms, rendered.version) = (at_ms, version);
            bus.render(unit, at_ms, &mut rendered.image);
        }
        rendered
    }
}

/// The bus clock of this connection: function 16 to register 0, four registers.
fn set_clock(state: &mut State, request: &Request<'_>) -> Outcome {
    let Request::WriteMultipleRegisters(0, words) = request else {
        return Err(ExceptionCode::IllegalFunction);
    };
    let words: [u16; CLOCK_REGISTERS] = words
        .as_ref()
        .try_into()
        .map_err(|_| ExceptionCode::IllegalDataValue)?;
    let ms = words.iter().fold(0_u64, |ms, &word| ms << 16 | u64::from(word));
    state.clock_ms = Some(i64::try_from(ms).map_err(|_| ExceptionCode::IllegalDataValue)?);
    Ok(Some(Response::WriteMultipleRegisters(0, 4)))
}

/// A read that the unit can answer.
struct Read {
    block: usize,
    /// First register, counted from the beginning of the block.
    offset: u16,
    count: u16,
    function: u8,
    respond: fn(Vec<u16>) -> Response,
}

fn read(blocks: &[Block], request: &Request<'_>) -> Result<Read, ExceptionCode> {
    type Respond = fn(Vec<u16>) -> Response;
    let (function, start, count, respond) = match *request {
        Request::ReadHoldingRegisters(start, count) => (
            READ_HOLDING_REGISTERS,
            start,
            count,
            Response::ReadHoldingRegisters as Respond,
        ),
        Request::ReadInputRegisters(start, count) => (
            READ_INPUT_REGISTERS,
            start,
            count,
            Response::ReadInputRegisters as Respond,
        ),
        _ => return Err(ExceptionCode::IllegalFunction),
    };
    let mut of_function = blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| block.function == function)
        .peekable();
    if of_function.peek().is_none() {
        return Err(ExceptionCode::IllegalFunction);
    }
    let within = |block: &Block| {
        let end = usize::from(block.start) + block.template.len();
        start >= block.start && usize::from(start) + usize::from(count) <= end
    };
    match of_function.find(|(_, block)| within(block)) {
        Some((_, block)) if !(1..=block.read_max).contains(&count) => Err(ExceptionCode::IllegalDataValue),
        Some((index, block)) => Ok(Read {
            block: index,
            offset: start - block.start,
            count,
            function,
            respond,
        }),
        None => Err(ExceptionCode::IllegalDataAddress),
    }
}

impl Service for Connection {
    type Request = SlaveRequest<'static>;
    /// `None` stays silent.
    type Response = Option<Response>;
    type Exception = ExceptionCode;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let (outcome, delay_ms) = self.handle(&request);
        Box::pin(async move {
            if delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(delay_ms.into())).await;
            }
            outcome
        })
    }
}
