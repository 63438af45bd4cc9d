//! A device of a load without its connection: for whoever measures a stage alone.

use anyhow::Result;
use taraz_telemetry::{DeviceId, DeviceKey, Incarnation, MasterKey};

use crate::layout::{KEY_GENERATION, device_id};
use crate::payload::{Author, Format};
use crate::series::{Series, Times};

/// Writes the frames that the device of the same index publishes in a run.
#[derive(Debug)]
pub struct Device {
    author: Author,
    bytes: Vec<u8>,
}

impl Device {
    /// The `index`-th of a registry that [`lay_out`](crate::lay_out) wrote, whose meters were polled every `step_ms` from `start_ms` on,
    /// in UTC.
    ///
    /// # Errors
    /// Never for the devices of a run.
    pub fn new(
        index: usize,
        meters: usize,
        master: &MasterKey,
        incarnation: Incarnation,
        start_ms: u64,
        step_ms: u64,
    ) -> Result<Self> {
        let device = device_id(index)?;
        let key = master.device_key(&device, KEY_GENERATION);
        let series = Series::new(index, meters, Times::Backlog { start_ms, step_ms });
        Ok(Self {
            author: Author::new(device, key, incarnation, series),
            bytes: Vec::new(),
        })
    }

    /// Leaves the registers out of every reading from now on: there is no energy to compute then.
    pub fn leave_registers_out(&mut self) {
        self.author.leave_registers_out();
    }

    /// The next frame.
    ///
    /// # Errors
    /// When so many readings do not fit one.
    pub fn frame(&mut self, readings: usize, now_ms: u64) -> Result<&[u8]> {
        self.author
            .write(&mut self.bytes, Format::Frames, readings, now_ms)?;
        Ok(&self.bytes)
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &DeviceKey {
        self.author.key()
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &DeviceId {
        self.author.device()
    }
}
