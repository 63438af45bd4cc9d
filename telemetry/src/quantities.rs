//! The quantities of one reading: integers with their unit in the name, each present or absent.

use core::fmt;

use heapless::Vec;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(feature = "alloc")]
use crate::varints::Varints;

/// The most MPPT inputs that one reading names.
pub const MPPT_MAX: usize = 8;

/// Presence bit of the MPPT list; it follows the scalar fields.
// Far below 2³²: the presence map has 62 bits for the fields.
#[allow(clippy::cast_possible_truncation)]
const MPPT_BIT: u32 = Field::ALL.len() as u32;
/// A presence map, the fields, and the MPPT count with four elements each.
const ELEMENTS_MAX: usize = 2 + Field::ALL.len() + 4 * MPPT_MAX;

macro_rules! quantities {
    ($($(#[$doc:meta])* $field:ident, $variant:ident, $ty:ty, $wire:ident, $bias:literal;)+) => {
        /// What one poll of one meter gave. A quantity that the meter does not have, or did not state, is `None`:
        /// never zero, never the last value.
        ///
        /// Integers only; the unit is the last part of the name. The order of the fields is the order of their presence
        /// bits on the wire (`docs/protocol.md`, "Quantities"). An energy register above [`i64::MAX`] watt-hours is written
        /// as that value: no meter counts so far, and the wire form stays within 63 bits everywhere.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Quantities {
            $($(#[$doc])* pub $field: Option<$ty>,)+
            /// Each MPPT input in the order of the inverter's own numbering; at most [`MPPT_MAX`].
            pub mppt: Vec<Mppt, MPPT_MAX>,
        }

        /// The name of one scalar quantity.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Field { $($(#[$doc])* $variant,)+ }

        impl Field {
            /// Every field in the order of its presence bit.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The field's name with its unit, as in [`Quantities`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)+ }
            }

            const fn wire(self) -> Wire {
                match self { $(Self::$variant => Wire::$wire { bias: $bias },)+ }
            }
        }

        impl Quantities {
            /// The value of a field, widened; `None` when absent.
            #[must_use]
            pub fn get(&self, field: Field) -> Option<i64> {
                match field {
                    // An energy register above i64::MAX watt-hours does not exist; it saturates rather than wraps.
                    $(Field::$variant => self.$field.map(|v| i64::try_from(v).unwrap_or(i64::MAX)),)+
                }
            }

            /// Sets a field from a widened value. False, and nothing set, if the field can't hold it.
            pub fn set(&mut self, field: Field, value: i64) -> bool {
                match field {
                    $(Field::$variant => match <$ty>::try_from(value) {
                        Ok(v) => { self.$field = Some(v); true }
                        Err(_) => false,
                    },)+
                }
            }
        }
    };
}

/// How a field stands on the wire: a varint, or the zigzag varint of its distance from `bias`.
#[derive(Clone, Copy)]
enum Wire {
    Unsigned { bias: i64 },
    Signed { bias: i64 },
}

quantities! {
    /// Active power at the AC side in W. Inverter: generation positive. Grid meter: import positive.
    ac_power_w, AcPowerW, i32, Signed, 0;
    /// The inverter's lifetime energy register in Wh, raw as read, never differenced.
    energy_wh, EnergyWh, u64, Unsigned, 0;
    /// Voltage phase A to neutral in 0.1 V.
    voltage_an_dv, VoltageAnDv, u32, Unsigned, 0;
    /// Voltage phase B to neutral in 0.1 V.
    voltage_bn_dv, VoltageBnDv, u32, Unsigned, 0;
    /// Voltage phase C to neutral in 0.1 V.
    voltage_cn_dv, VoltageCnDv, u32, Unsigned, 0;
    /// Current of phase A in 0.01 A.
    current_a_ca, CurrentACa, i32, Signed, 0;
    /// Current of phase B in 0.01 A.
    current_b_ca, CurrentBCa, i32, Signed, 0;
    /// Current of phase C in 0.01 A.
    current_c_ca, CurrentCCa, i32, Signed, 0;
    /// Grid frequency in mHz. On the wire: distance from 50 Hz.
    frequency_mhz, FrequencyMhz, u32, Signed, 50_000;
    /// Power at the DC side in W.
    dc_power_w, DcPowerW, i32, Signed, 0;
    /// Temperature of the inverter (cabinet, else heat sink) in 0.1 °C.
    temperature_dc, TemperatureDc, i32, Signed, 0;
    /// Operating state after SunSpec `St` (1 off, 2 sleeping, 3 starting, 4 MPPT, 5 throttled, 6 shutting down, 7 fault,
    /// 8 standby).
    state, State, u8, Unsigned, 0;
    /// Event bits after SunSpec `Evt1`.
    events, Events, u32, Unsigned, 0;
    /// Energy taken from the grid, the meter's register in Wh, raw.
    import_wh, ImportWh, u64, Unsigned, 0;
    /// Energy given to the grid, the meter's register in Wh, raw.
    export_wh, ExportWh, u64, Unsigned, 0;
    /// Active power of phase A in W, signed as `ac_power_w`.
    ac_power_a_w, AcPowerAW, i32, Signed, 0;
    /// Active power of phase B in W, signed as `ac_power_w`.
    ac_power_b_w, AcPowerBW, i32, Signed, 0;
    /// Active power of phase C in W, signed as `ac_power_w`.
    ac_power_c_w, AcPowerCW, i32, Signed, 0;
    /// Apparent power in VA.
    apparent_power_va, ApparentPowerVa, i32, Signed, 0;
    /// Reactive power in var.
    reactive_power_var, ReactivePowerVar, i32, Signed, 0;
    /// Power factor in thousandths, −1000 to 1000.
    power_factor_permille, PowerFactorPermille, i32, Signed, 0;
    /// Neutral current in 0.01 A.
    current_n_ca, CurrentNCa, i32, Signed, 0;
    /// Voltage phase A to B in 0.1 V.
    voltage_ab_dv, VoltageAbDv, u32, Unsigned, 0;
    /// Voltage phase B to C in 0.1 V.
    voltage_bc_dv, VoltageBcDv, u32, Unsigned, 0;
    /// Voltage phase C to A in 0.1 V.
    voltage_ca_dv, VoltageCaDv, u32, Unsigned, 0;
    /// DC voltage in 0.1 V.
    dc_voltage_dv, DcVoltageDv, u32, Unsigned, 0;
    /// DC current in 0.01 A.
    dc_current_ca, DcCurrentCa, i32, Signed, 0;
    /// Irradiance in the plane of the array in 0.1 W/m².
    irradiance_dwm2, IrradianceDwm2, i32, Signed, 0;
    /// Module temperature in 0.1 °C.
    module_temperature_dc, ModuleTemperatureDc, i32, Signed, 0;
    /// Ambient temperature in 0.1 °C.
    ambient_temperature_dc, AmbientTemperatureDc, i32, Signed, 0;
    /// Wind speed in 0.1 m/s.
    wind_speed_dms, WindSpeedDms, u32, Unsigned, 0;
}

impl Quantities {
    /// The scalar fields that are present, in the order of their presence bits.
    pub fn iter(&self) -> impl Iterator<Item = (Field, i64)> + '_ {
        Field::ALL
            .iter()
            .filter_map(|&field| self.get(field).map(|value| (field, value)))
    }

    /// Nothing is present.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.presence() == 0
    }

    /// The presence map: bit n is set when the n-th field is present; the bit behind the last field stands for `mppt`.
    pub(crate) fn presence(&self) -> u64 {
        let scalars = self.iter().fold(0, |map, (field, _)| map | 1 << (field as u32));
        if self.mppt.is_empty() {
            scalars
        } else {
            scalars | 1 << MPPT_BIT
        }
    }

    /// Appends the present values to a tuple whose presence map was written before.
    pub(crate) fn serialize_into<T: SerializeTuple>(&self, tuple: &mut T) -> Result<(), T::Error> {
        for (field, value) in self.iter() {
            match field.wire() {
                // No overflow: `iter` yields what the field's own type holds, and only 32-bit fields have a bias.
                Wire::Unsigned { bias } => tuple.serialize_element(&((value - bias).cast_unsigned()))?,
                Wire::Signed { bias } => tuple.serialize_element(&(value - bias))?,
            }
        }
        if !self.mppt.is_empty() {
            tuple.serialize_element(&self.mppt)?;
        }
        Ok(())
    }

    /// Reads the values that the presence map names.
    pub(crate) fn deserialize_from<'de, A: SeqAccess<'de>>(
        presence: u64,
        seq: &mut A,
    ) -> Result<Self, A::Error> {
        if presence >> (MPPT_BIT + 1) != 0 {
            return Err(A::Error::custom(
                "presence map names a field that this version does not have",
            ));
        }
        let mut quantities = Self::default();
        for &field in Field::ALL
            .iter()
            .filter(|&&field| presence >> (field as u32) & 1 == 1)
        {
            let value = match field.wire() {
                Wire::Unsigned { bias } => {
                    let raw: u64 = element(seq)?;
                    i64::try_from(raw).ok().and_then(|v| v.checked_add(bias))
                }
                Wire::Signed { bias } => {
                    let raw: i64 = element(seq)?;
                    raw.checked_add(bias)
                }
            };
            if !value.is_some_and(|v| quantities.set(field, v)) {
                return Err(A::Error::custom("a value is outside its field's range"));
            }
        }
        if presence >> MPPT_BIT & 1 == 1 {
            quantities.mppt = element(seq)?;
            if quantities.mppt.is_empty() {
                return Err(A::Error::custom("an MPPT list that is named must not be empty"));
            }
        }
        Ok(quantities)
    }

    /// Reads the values that the presence map names, as [`Self::deserialize_from`] does, by shorter means: on a computer this is what a
    /// record costs. `None` when they can't be read so (an MPPT list among them), whatever the reason.
    #[cfg(feature = "alloc")]
    pub(crate) fn read_from(presence: u64, reader: &mut Varints<'_>) -> Option<Self> {
        if presence >> MPPT_BIT != 0 {
            return None;
        }
        let mut quantities = Self::default();
        let mut left = presence;
        while left != 0 {
            let &field = Field::ALL.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            let value = match field.wire() {
                Wire::Unsigned { bias } => i64::try_from(reader.unsigned()?).ok()?.checked_add(bias)?,
                Wire::Signed { bias } => reader.signed()?.checked_add(bias)?,
            };
            if !quantities.set(field, value) {
                return None;
            }
        }
        Some(quantities)
    }

    pub(crate) const fn elements_max() -> usize {
        ELEMENTS_MAX
    }
}

/// The next element of a sequence, or an error that says it is missing.
pub(crate) fn element<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?
        .ok_or_else(|| A::Error::custom("the record ends too early"))
}

/// One MPPT input (SunSpec model 160, one repeating block).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mppt {
    /// DC voltage in 0.1 V.
    pub voltage_dv: Option<u32>,
    /// DC current in 0.01 A.
    pub current_ca: Option<i32>,
    /// DC power in W.
    pub power_w: Option<i32>,
}

impl Serialize for Mppt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let map = u8::from(self.voltage_dv.is_some())
            | u8::from(self.current_ca.is_some()) << 1
            | u8::from(self.power_w.is_some()) << 2;
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&map)?;
        if let Some(v) = self.voltage_dv {
            tuple.serialize_element(&v)?;
        }
        if let Some(v) = self.current_ca {
            tuple.serialize_element(&v)?;
        }
        if let Some(v) = self.power_w {
            tuple.serialize_element(&v)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Mppt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MpptVisitor;
        impl<'de> Visitor<'de> for MpptVisitor {
            type Value = Mppt;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an MPPT input: presence map, then its values")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Mppt, A::Error> {
                let map: u8 = element(&mut seq)?;
                if map >> 3 != 0 {
                    return Err(A::Error::custom("MPPT presence map names an unknown value"));
                }
                Ok(Mppt {
                    voltage_dv: if map & 1 != 0 {
                        Some(element(&mut seq)?)
                    } else {
                        None
                    },
                    current_ca: if map & 2 != 0 {
                        Some(element(&mut seq)?)
                    } else {
                        None
                    },
                    power_w: if map & 4 != 0 {
                        Some(element(&mut seq)?)
                    } else {
                        None
                    },
                })
            }
        }
        deserializer.deserialize_tuple(4, MpptVisitor)
    }
}
