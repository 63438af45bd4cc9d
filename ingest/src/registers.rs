//! What the registry says of a register, in the words of the energy accounting.

use taraz_analytics::energy::{Meter, Replacement};
use taraz_fleet::EnergyRegister;

use crate::store::Register;

/// A meter's register: its rated power, where it rolls over, and when the meter was replaced.
pub(crate) fn register_of(meter: &taraz_fleet::Meter, register: Register) -> Meter {
    let register = match register {
        Register::Energy => EnergyRegister::Energy,
        Register::Import => EnergyRegister::Import,
        Register::Export => EnergyRegister::Export,
    };
    let records = meter.replacements_of(register).map(|record| Replacement {
        at_ms: record.at.as_millisecond(),
        final_wh: wh(record.final_wh),
        start_wh: wh(record.start_wh),
    });
    let mut known = Meter::new(meter.rated_w);
    // The registry was checked: neither can be refused.
    if let Ok(replaced) = known.clone().with_replacements(records.collect()) {
        known = replaced;
    }
    match meter.register_rolls_over_wh().map(wh) {
        Some(modulus_wh) => known.clone().with_modulus(modulus_wh).unwrap_or(known),
        None => known,
    }
}

/// Registers in the registry are far below this.
fn wh(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
