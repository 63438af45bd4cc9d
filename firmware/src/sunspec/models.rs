//! The models we read, as tables: which point stands where, with which scale factor, and what it is to us.
//!
//! Offsets count from the model's ID register and are checked against the published definitions (`tests/sunspec`).

use taraz_telemetry::Field;

use super::value::{Kind, Point};

/// What kind of device a model describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Inverter,
    Meter,
}

/// A family of models with one layout.
#[derive(Debug)]
pub(crate) struct Model {
    /// First and last ID of the family.
    pub(crate) ids: core::ops::RangeInclusive<u16>,
    pub(crate) subject: Subject,
    pub(crate) points: &'static [Point],
    /// Registers from the ID to the end of the last point we need: what one read covers.
    pub(crate) extent: u16,
}

/// Every family of models that has values of its own; model 160 stands in `mppt`.
pub(crate) static MODELS: [Model; 4] = [
    Model::new(101..=103, Subject::Inverter, &INVERTER),
    Model::new(111..=113, Subject::Inverter, &INVERTER_FLOAT),
    Model::new(201..=204, Subject::Meter, &METER),
    Model::new(211..=214, Subject::Meter, &METER_FLOAT),
];

impl Model {
    const fn new(ids: core::ops::RangeInclusive<u16>, subject: Subject, points: &'static [Point]) -> Self {
        let mut extent = 2;
        let mut index = 0;
        while index < points.len() {
            let point = points[index];
            let mut end = point.offset + point.kind.registers();
            if let Some(at) = point.scale_at
                && at + 1 > end
            {
                end = at + 1;
            }
            if end > extent {
                extent = end;
            }
            index += 1;
        }
        Self {
            ids,
            subject,
            points,
            extent,
        }
    }

    /// The family that a model ID belongs to.
    pub(crate) fn of(id: u16) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.ids.contains(&id))
    }
}

const fn scaled(
    name: &'static str,
    offset: u16,
    kind: Kind,
    scale_at: u16,
    field: Field,
    places: u8,
) -> Point {
    Point {
        name,
        offset,
        kind,
        scale_at: Some(scale_at),
        field,
        places,
    }
}

const fn plain(name: &'static str, offset: u16, kind: Kind, field: Field) -> Point {
    Point {
        name,
        offset,
        kind,
        scale_at: None,
        field,
        places: 0,
    }
}

const fn float(name: &'static str, offset: u16, field: Field, places: u8) -> Point {
    Point {
        name,
        offset,
        kind: Kind::Float32,
        scale_at: None,
        field,
        places,
    }
}

/// Models 101 (single phase), 102 (split phase), 103 (three phase): integers with scale factors. A later point for a field
/// counts only when the earlier one is absent.
static INVERTER: [Point; 22] = [
    scaled("AphA", 3, Kind::Uint16, 6, Field::CurrentACa, 2),
    scaled("AphB", 4, Kind::Uint16, 6, Field::CurrentBCa, 2),
    scaled("AphC", 5, Kind::Uint16, 6, Field::CurrentCCa, 2),
    scaled("PPVphAB", 7, Kind::Uint16, 13, Field::VoltageAbDv, 1),
    scaled("PPVphBC", 8, Kind::Uint16, 13, Field::VoltageBcDv, 1),
    scaled("PPVphCA", 9, Kind::Uint16, 13, Field::VoltageCaDv, 1),
    scaled("PhVphA", 10, Kind::Uint16, 13, Field::VoltageAnDv, 1),
    scaled("PhVphB", 11, Kind::Uint16, 13, Field::VoltageBnDv, 1),
    scaled("PhVphC", 12, Kind::Uint16, 13, Field::VoltageCnDv, 1),
    scaled("W", 14, Kind::Int16, 15, Field::AcPowerW, 0),
    scaled("Hz", 16, Kind::Uint16, 17, Field::FrequencyMhz, 3),
    scaled("VA", 18, Kind::Int16, 19, Field::ApparentPowerVa, 0),
    scaled("VAr", 20, Kind::Int16, 21, Field::ReactivePowerVar, 0),
    scaled("PF", 22, Kind::Int16, 23, Field::PowerFactorPermille, 1),
    scaled("WH", 24, Kind::Acc32, 26, Field::EnergyWh, 0),
    scaled("DCA", 27, Kind::Uint16, 28, Field::DcCurrentCa, 2),
    scaled("DCV", 29, Kind::Uint16, 30, Field::DcVoltageDv, 1),
    scaled("DCW", 31, Kind::Int16, 32, Field::DcPowerW, 0),
    scaled("TmpCab", 33, Kind::Int16, 37, Field::TemperatureDc, 1),
    scaled("TmpSnk", 34, Kind::Int16, 37, Field::TemperatureDc, 1),
    plain("St", 38, Kind::Enum16, Field::State),
    plain("Evt1", 40, Kind::Bitfield32, Field::Events),
];

/// Models 111 to 113: the same as floating point numbers.
static INVERTER_FLOAT: [Point; 22] = [
    float("AphA", 4, Field::CurrentACa, 2),
    float("AphB", 6, Field::CurrentBCa, 2),
    float("AphC", 8, Field::CurrentCCa, 2),
    float("PPVphAB", 10, Field::VoltageAbDv, 1),
    float("PPVphBC", 12, Field::VoltageBcDv, 1),
    float("PPVphCA", 14, Field::VoltageCaDv, 1),
    float("PhVphA", 16, Field::VoltageAnDv, 1),
    float("PhVphB", 18, Field::VoltageBnDv, 1),
    float("PhVphC", 20, Field::VoltageCnDv, 1),
    float("W", 22, Field::AcPowerW, 0),
    float("Hz", 24, Field::FrequencyMhz, 3),
    float("VA", 26, Field::ApparentPowerVa, 0),
    float("VAr", 28, Field::ReactivePowerVar, 0),
    float("PF", 30, Field::PowerFactorPermille, 1),
    float("WH", 32, Field::EnergyWh, 0),
    float("DCA", 34, Field::DcCurrentCa, 2),
    float("DCV", 36, Field::DcVoltageDv, 1),
    float("DCW", 38, Field::DcPowerW, 0),
    float("TmpCab", 40, Field::TemperatureDc, 1),
    float("TmpSnk", 42, Field::TemperatureDc, 1),
    plain("St", 48, Kind::Enum16, Field::State),
    plain("Evt1", 50, Kind::Bitfield32, Field::Events),
];

/// Models 201 (single phase) to 204 (delta): integers with scale factors. Power is positive when it flows from the grid to
/// the load.
static METER: [Point; 19] = [
    scaled("AphA", 3, Kind::Int16, 6, Field::CurrentACa, 2),
    scaled("AphB", 4, Kind::Int16, 6, Field::CurrentBCa, 2),
    scaled("AphC", 5, Kind::Int16, 6, Field::CurrentCCa, 2),
    scaled("PhVphA", 8, Kind::Int16, 15, Field::VoltageAnDv, 1),
    scaled("PhVphB", 9, Kind::Int16, 15, Field::VoltageBnDv, 1),
    scaled("PhVphC", 10, Kind::Int16, 15, Field::VoltageCnDv, 1),
    scaled("PPVphAB", 12, Kind::Int16, 15, Field::VoltageAbDv, 1),
    scaled("PPVphBC", 13, Kind::Int16, 15, Field::VoltageBcDv, 1),
    scaled("PPVphCA", 14, Kind::Int16, 15, Field::VoltageCaDv, 1),
    scaled("Hz", 16, Kind::Int16, 17, Field::FrequencyMhz, 3),
    scaled("W", 18, Kind::Int16, 22, Field::AcPowerW, 0),
    scaled("WphA", 19, Kind::Int16, 22, Field::AcPowerAW, 0),
    scaled("WphB", 20, Kind::Int16, 22, Field::AcPowerBW, 0),
    scaled("WphC", 21, Kind::Int16, 22, Field::AcPowerCW, 0),
    scaled("VA", 23, Kind::Int16, 27, Field::ApparentPowerVa, 0),
    scaled("VAR", 28, Kind::Int16, 32, Field::ReactivePowerVar, 0),
    scaled("PF", 33, Kind::Int16, 37, Field::PowerFactorPermille, 1),
    scaled("TotWhExp", 38, Kind::Acc32, 54, Field::ExportWh, 0),
    scaled("TotWhImp", 46, Kind::Acc32, 54, Field::ImportWh, 0),
];

/// Models 211 to 214: the same as floating point numbers.
static METER_FLOAT: [Point; 19] = [
    float("AphA", 4, Field::CurrentACa, 2),
    float("AphB", 6, Field::CurrentBCa, 2),
    float("AphC", 8, Field::CurrentCCa, 2),
    float("PhVphA", 12, Field::VoltageAnDv, 1),
    float("PhVphB", 14, Field::VoltageBnDv, 1),
    float("PhVphC", 16, Field::VoltageCnDv, 1),
    float("PPVphAB", 20, Field::VoltageAbDv, 1),
    float("PPVphBC", 22, Field::VoltageBcDv, 1),
    float("PPVphCA", 24, Field::VoltageCaDv, 1),
    float("Hz", 26, Field::FrequencyMhz, 3),
    float("W", 28, Field::AcPowerW, 0),
    float("WphA", 30, Field::AcPowerAW, 0),
    float("WphB", 32, Field::AcPowerBW, 0),
    float("WphC", 34, Field::AcPowerCW, 0),
    float("VA", 36, Field::ApparentPowerVa, 0),
    float("VAR", 44, Field::ReactivePowerVar, 0),
    Point {
        name: "PF",
        offset: 52,
        kind: Kind::Float32PowerFactor,
        scale_at: None,
        field: Field::PowerFactorPermille,
        places: 3,
    },
    float("TotWhExp", 60, Field::ExportWh, 0),
    float("TotWhImp", 68, Field::ImportWh, 0),
];
