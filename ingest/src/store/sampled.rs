//! What figures are computed from beyond registers: the values of a device's meters in the order of their time, and what lies beside the store.

use std::sync::Arc;

use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, MeterAddress, Outcome, Quantities};

use super::{Snapshot, Store, history};
use crate::schedules::Schedules;

/// What a read from a [`Snapshot`] gives, for who does not speak SQL.
pub(crate) type ReadResult<T> = rusqlite::Result<T>;

impl<'a> Snapshot<'a> {
    /// The registry that it is read with.
    pub(crate) const fn fleet(&self) -> &'a Fleet {
        self.fleet
    }

    /// Shows `visitor` the meter, the time (UTC ms) and the values of every reading of a device in `from_ms..to_ms` that counts, in the
    /// order of their time. What a device has sent is packed as one: who asks for several of its meters does so at once.
    pub(crate) fn readings_between(
        &self,
        device: &DeviceId,
        from_ms: i64,
        to_ms: i64,
        visitor: &mut dyn FnMut(MeterAddress, i64, &Quantities),
    ) -> ReadResult<()> {
        history::readings_between(self.connection, device, from_ms, to_ms, |placed| {
            if let Outcome::Values(values) = &placed.reading.outcome {
                visitor(placed.reading.meter, placed.time_ms, values);
            }
            Ok(())
        })
    }
}

impl Store {
    /// The schedules that lie beside it in its folder.
    pub(crate) fn schedules(&self) -> Schedules {
        let folder = self.path.parent().unwrap_or(&self.path);
        Schedules::new(folder, Arc::clone(self.fleet()))
    }
}
