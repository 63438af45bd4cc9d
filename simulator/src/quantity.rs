//! What a simulated meter knows at one instant, finer than any register states it.

use taraz_telemetry::{Field, MPPT_MAX};

/// One physical quantity. Values are integers in `10^exponent()` of the unit (V, A, W, VA, var, Wh, Hz, °C, W/m², 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Q(u8);

/// One of the three quantities of an MPPT input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MpptPart {
    Voltage,
    Current,
    Power,
}

macro_rules! quantities {
    ($($name:ident),+ $(,)?) => {
        #[repr(u8)]
        enum Index { $($name),+, Count }
        #[expect(non_upper_case_globals, reason = "they are names of quantities, as in the models")]
        impl Q {
            $(pub(crate) const $name: Self = Self(Index::$name as u8);)+
        }
    };
}

quantities! {
    A, AphA, AphB, AphC, An,
    Ppv, PpvAb, PpvBc, PpvCa, Phv, PhvA, PhvB, PhvC,
    W, WphA, WphB, WphC, Hz,
    Va, VaA, VaB, VaC, Var, VarA, VarB, VarC, Pf, PfA, PfB, PfC,
    Wh, WhToday, Import, Export,
    Dca, Dcv, Dcw, TmpCab, TmpSnk, St, Evt,
    Irradiance, TmpModule, TmpAmbient,
}

const MPPT_FROM: u8 = Index::Count as u8;
const COUNT: usize = Index::Count as usize + 3 * MPPT_MAX;

impl Q {
    /// A quantity of MPPT input `input`, 0 to below [`MPPT_MAX`].
    pub(crate) const fn mppt(input: u8, part: MpptPart) -> Self {
        Self(MPPT_FROM + input * 3 + part as u8)
    }

    /// The power of ten of the integers: thousandths, but five places for the power factor and none for codes.
    pub(crate) const fn exponent(self) -> i8 {
        match self {
            Self::St | Self::Evt => 0,
            Self::Pf | Self::PfA | Self::PfB | Self::PfC => -5,
            _ => -3,
        }
    }

    /// A counter states the units that are full; everything else is rounded.
    pub(crate) const fn is_counter(self) -> bool {
        matches!(self, Self::Wh | Self::WhToday | Self::Import | Self::Export)
    }
}

/// The power of ten of a telemetry field's integer, in the same units as [`Q`].
pub(crate) const fn field_exponent(field: Field) -> i8 {
    match field {
        Field::VoltageAnDv
        | Field::VoltageBnDv
        | Field::VoltageCnDv
        | Field::VoltageAbDv
        | Field::VoltageBcDv
        | Field::VoltageCaDv
        | Field::DcVoltageDv
        | Field::TemperatureDc
        | Field::IrradianceDwm2
        | Field::ModuleTemperatureDc
        | Field::AmbientTemperatureDc
        | Field::WindSpeedDms => -1,
        Field::CurrentACa
        | Field::CurrentBCa
        | Field::CurrentCCa
        | Field::CurrentNCa
        | Field::DcCurrentCa => -2,
        Field::FrequencyMhz | Field::PowerFactorPermille => -3,
        Field::AcPowerW
        | Field::EnergyWh
        | Field::DcPowerW
        | Field::State
        | Field::Events
        | Field::ImportWh
        | Field::ExportWh
        | Field::AcPowerAW
        | Field::AcPowerBW
        | Field::AcPowerCW
        | Field::ApparentPowerVa
        | Field::ReactivePowerVar => 0,
    }
}

/// The power of ten of an MPPT quantity's integer in telemetry.
pub(crate) const fn mppt_exponent(part: MpptPart) -> i8 {
    match part {
        MpptPart::Voltage => -1,
        MpptPart::Current => -2,
        MpptPart::Power => 0,
    }
}

/// Everything a meter knows at one instant.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    values: [i64; COUNT],
}

/// No meter has this value.
const ABSENT: i64 = i64::MIN;

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            values: [ABSENT; COUNT],
        }
    }
}

impl Snapshot {
    pub(crate) fn set(&mut self, q: Q, value: i64) {
        self.values[usize::from(q.0)] = value;
    }

    /// The value, or `None` if this meter does not measure it.
    pub(crate) fn get(&self, q: Q) -> Option<i64> {
        Some(self.values[usize::from(q.0)]).filter(|&value| value != ABSENT)
    }

    pub(crate) fn clear(&mut self) {
        self.values = [ABSENT; COUNT];
    }
}
