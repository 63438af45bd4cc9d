//! A SunSpec device: `SunS`, the common model, perhaps a vendor's own, an inverter or a meter, perhaps model 160, the end.

use std::collections::BTreeMap;

use taraz_telemetry::{Field, MPPT_MAX};

use super::tables::{self, Kind, Row};
use super::{Block, READ_REGISTERS_MAX, put_text};
use crate::physics::Phases;
use crate::points::{Encoding, Point, What};
use crate::quantity::{MpptPart, Q};

/// Scale factors by their names in the models (`W_SF` → 0).
pub(crate) type ScaleFactors = BTreeMap<String, i8>;

/// `SunS`: "the well-known SunSpec identifier 0x53756e53".
const IDENTIFIER: [u16; 2] = [0x5375, 0x6E53];
/// "The end model: ID 0xFFFF, length 0."
const END: [u16; 2] = [0xFFFF, 0];
/// The common model's length with its pad; 65 stands in older devices.
const COMMON_LEN: u16 = 66;

/// Everything that shapes the chain.
#[derive(Clone, Debug)]
pub(crate) struct SunspecShape {
    pub(crate) model: u16,
    /// 40000, 50000 or 0.
    pub(crate) base: u16,
    /// The common model has 65 registers instead of 66.
    pub(crate) short_common: bool,
    /// Id and length of models that nobody knows; they stand behind the common model.
    pub(crate) unknown_models: Vec<(u16, u16)>,
    /// Inputs in model 160; without any there is no such model.
    pub(crate) mppt: u8,
    pub(crate) rated_w: u32,
    pub(crate) scale_factors: ScaleFactors,
    pub(crate) not_implemented: Vec<String>,
    pub(crate) serial: String,
}

/// Whether the simulator has this model as an inverter or a meter.
pub(crate) fn is_model(id: u16) -> bool {
    id != 160 && tables::model(id).is_some()
}

/// The names of the points of a model that carry a value.
pub(crate) fn model_points(id: u16) -> Vec<&'static str> {
    let rows = tables::model(id).unwrap_or_default();
    rows.iter()
        .filter(|row| row.kind != Kind::ScaleFactor)
        .map(|row| row.name)
        .collect()
}

/// Whether a model (or model 160 beside it) has a scale factor of this name.
pub(crate) fn is_scale_factor(id: u16, name: &str) -> bool {
    let has = |id| {
        let rows = tables::model(id).unwrap_or_default();
        rows.iter()
            .any(|row| row.kind == Kind::ScaleFactor && row.name == name)
    };
    has(id) || ((101..=113).contains(&id) && has(160))
}

/// What a model's last digit says about the conductors.
pub(crate) const fn phases(model: u16) -> Phases {
    match (model / 100, model % 10) {
        (_, 1) => Phases::Single,
        (_, 2) => Phases::Split,
        (2, 4) => Phases::Delta,
        _ => Phases::Three,
    }
}

impl SunspecShape {
    /// The scale factor of this name: what was asked for, else one that fits the rated power.
    fn scale_factor(&self, name: &str) -> i8 {
        if let Some(&asked) = self.scale_factors.get(name) {
            return asked;
        }
        let large = u8::from(self.rated_w > 28_000) + u8::from(self.rated_w > 280_000);
        let large = i8::try_from(large).unwrap_or(0);
        match name {
            "W_SF" | "VA_SF" | "VAr_SF" | "VAR_SF" | "DCW_SF" => large,
            "A_SF" | "DCA_SF" => large - 2,
            "V_SF" | "DCV_SF" | "Tmp_SF" => -1,
            "Hz_SF" | "PF_SF" => -2,
            _ => 0,
        }
    }
}

/// The registers of the whole chain.
pub(crate) fn sunspec(shape: &SunspecShape) -> Block {
    let mut template = IDENTIFIER.to_vec();
    let mut points = Vec::new();
    common(shape, &mut template);
    for &(id, length) in &shape.unknown_models {
        template.extend([id, length]);
        // A vendor's registers look like anything; these even look like the identifier.
        template.extend((0..length).map(|index| IDENTIFIER[usize::from(index % 2)]));
    }
    main_model(shape, &mut template, &mut points);
    if shape.mppt > 0 {
        mppt_model(shape, &mut template, &mut points);
    }
    template.extend(END);
    points.sort_by_key(|point| point.at);
    Block {
        function: 3,
        start: shape.base,
        template,
        points,
        read_max: READ_REGISTERS_MAX,
    }
}

fn common(shape: &SunspecShape, template: &mut Vec<u16>) {
    let length = if shape.short_common {
        COMMON_LEN - 1
    } else {
        COMMON_LEN
    };
    let mut model = vec![0; usize::from(length) + 2];
    model[0] = 1;
    model[1] = length;
    put_text(&mut model[2..18], "Taraz simulator");
    put_text(&mut model[18..34], &format!("SunSpec {}", shape.model));
    put_text(&mut model[42..50], "1.0");
    put_text(&mut model[50..66], &shape.serial);
    model[66] = 0xFFFF;
    if let Some(pad) = model.get_mut(67) {
        *pad = 0x8000;
    }
    template.extend(model);
}

/// Appends a model with every point as "not implemented"; gives its rows with registers counted from the block.
fn append(template: &mut Vec<u16>, id: u16, rows: Vec<Row>) -> Vec<Row> {
    let from = u16::try_from(template.len()).unwrap_or(u16::MAX);
    let length: u16 = rows.iter().map(|row| row.kind.registers()).sum();
    template.extend([id, length]);
    for row in &rows {
        template.extend(row.kind.not_implemented());
    }
    rows.into_iter()
        .map(|row| Row {
            offset: row.offset + from,
            ..row
        })
        .collect()
}

fn set(template: &mut [u16], rows: &[Row], name: &str, value: u16) {
    if let Some(row) = rows.iter().find(|row| row.name == name) {
        template[usize::from(row.offset)] = value;
    }
}

fn put_scale_factors(shape: &SunspecShape, rows: &[Row], template: &mut [u16], skip: impl Fn(&str) -> bool) {
    for row in rows
        .iter()
        .filter(|row| row.kind == Kind::ScaleFactor && !skip(row.name))
    {
        template[usize::from(row.offset)] = i16::from(shape.scale_factor(row.name)).cast_unsigned();
    }
}

fn encoding(shape: &SunspecShape, row: &Row, q: Q) -> Encoding {
    let exponent = row.scale_factor.map_or(0, |name| shape.scale_factor(name));
    // PF is a percentage in the models with integers and in the float inverters (units "Pct"), a ratio in the float
    // meters (units "PF").
    let percent = q == Q::Pf && shape.model / 10 != 21;
    let exponent = if percent { exponent - 2 } else { exponent };
    match row.kind {
        Kind::I16 => Encoding::I16(exponent),
        Kind::U32 => Encoding::U32(exponent),
        Kind::Acc32 => Encoding::Acc32(exponent),
        Kind::Enum => Encoding::Code16,
        Kind::Bits => Encoding::Bits32,
        Kind::F32 => Encoding::F32 {
            unit: if percent { -2 } else { 0 },
            step: float_step(q),
        },
        Kind::U16 | Kind::ScaleFactor | Kind::Text16 | Kind::Count => Encoding::U16(exponent),
    }
}

/// The resolution of the float models: what such meters show.
const fn float_step(q: Q) -> i8 {
    match q {
        Q::Ppv
        | Q::PpvAb
        | Q::PpvBc
        | Q::PpvCa
        | Q::Phv
        | Q::PhvA
        | Q::PhvB
        | Q::PhvC
        | Q::Dcv
        | Q::TmpCab
        | Q::TmpSnk => -1,
        Q::A | Q::AphA | Q::AphB | Q::AphC | Q::Dca => -2,
        Q::Hz | Q::Pf => -3,
        _ => 0,
    }
}

fn main_model(shape: &SunspecShape, template: &mut Vec<u16>, points: &mut Vec<Point>) {
    let rows = append(
        template,
        shape.model,
        tables::model(shape.model).unwrap_or_default(),
    );
    let absent = |name: &str| shape.not_implemented.iter().any(|absent| absent == name);
    let used = |name: &str| {
        rows.iter()
            .any(|row| row.scale_factor == Some(name) && !absent(row.name))
    };
    put_scale_factors(shape, &rows, template, |name| !used(name));
    for row in rows.iter().filter(|row| !absent(row.name)) {
        if let Some((q, what)) = quantity(row.name) {
            let encoding = encoding(shape, row, q);
            // Without a cabinet's temperature, the heat sink's stands for the inverter's.
            let stands_in = row.name == "TmpSnk" && absent("TmpCab");
            let what = if stands_in {
                Some(Field::TemperatureDc)
            } else {
                what
            };
            points.push(Point {
                at: row.offset,
                q,
                encoding,
                what: what.map(What::Field),
            });
        }
    }
    // Zeros rather than "not implemented": these devices have events and report none.
    if shape.model < 200 {
        for name in ["Evt2", "EvtVnd1"] {
            set(template, &rows, name, 0);
            if let Some(row) = rows.iter().find(|row| row.name == name) {
                template[usize::from(row.offset) + 1] = 0;
            }
        }
    }
}

/// The quantity of a point and what readings call it.
fn quantity(name: &str) -> Option<(Q, Option<Field>)> {
    use Field as F;
    let (q, field) = match name {
        "A" => (Q::A, None),
        "AphA" => (Q::AphA, Some(F::CurrentACa)),
        "AphB" => (Q::AphB, Some(F::CurrentBCa)),
        "AphC" => (Q::AphC, Some(F::CurrentCCa)),
        "PhV" => (Q::Phv, None),
        "PPV" => (Q::Ppv, None),
        "PPVphAB" => (Q::PpvAb, Some(F::VoltageAbDv)),
        "PPVphBC" => (Q::PpvBc, Some(F::VoltageBcDv)),
        "PPVphCA" => (Q::PpvCa, Some(F::VoltageCaDv)),
        "PhVphA" => (Q::PhvA, Some(F::VoltageAnDv)),
        "PhVphB" => (Q::PhvB, Some(F::VoltageBnDv)),
        "PhVphC" => (Q::PhvC, Some(F::VoltageCnDv)),
        "W" => (Q::W, Some(F::AcPowerW)),
        "WphA" => (Q::WphA, Some(F::AcPowerAW)),
        "WphB" => (Q::WphB, Some(F::AcPowerBW)),
        "WphC" => (Q::WphC, Some(F::AcPowerCW)),
        "Hz" => (Q::Hz, Some(F::FrequencyMhz)),
        "VA" => (Q::Va, Some(F::ApparentPowerVa)),
        "VAr" | "VAR" => (Q::Var, Some(F::ReactivePowerVar)),
        "PF" => (Q::Pf, Some(F::PowerFactorPermille)),
        "WH" => (Q::Wh, Some(F::EnergyWh)),
        "TotWhImp" => (Q::Import, Some(F::ImportWh)),
        "TotWhExp" => (Q::Export, Some(F::ExportWh)),
        "DCA" => (Q::Dca, Some(F::DcCurrentCa)),
        "DCV" => (Q::Dcv, Some(F::DcVoltageDv)),
        "DCW" => (Q::Dcw, Some(F::DcPowerW)),
        "TmpCab" => (Q::TmpCab, Some(F::TemperatureDc)),
        "TmpSnk" => (Q::TmpSnk, None),
        "St" => (Q::St, Some(F::State)),
        "Evt1" => (Q::Evt, Some(F::Events)),
        _ => return None,
    };
    Some((q, field))
}

fn mppt_model(shape: &SunspecShape, template: &mut Vec<u16>, points: &mut Vec<Point>) {
    let mut rows = tables::model(160).unwrap_or_default();
    let head = rows.len();
    let modules = u16::from(shape.mppt).min(u16::try_from(MPPT_MAX).unwrap_or(u16::MAX));
    rows.extend((0..modules).flat_map(tables::mppt_module));
    let rows = append(template, 160, rows);
    let absent = |name: &str| {
        shape
            .not_implemented
            .iter()
            .any(|absent| absent.strip_prefix("160.") == Some(name))
    };
    put_scale_factors(shape, &rows, template, |name| name == "DCWH_SF");
    set(template, &rows, "N", modules);
    let mut module = 0;
    let mut left = 0;
    for row in &rows[head..] {
        if left == 0 {
            left = tables::mppt_module(0).len();
            module += 1;
            template[usize::from(row.offset)] = module;
        }
        left -= 1;
        let input = u8::try_from(module - 1).unwrap_or(0);
        let part = match row.name {
            "DCA" => MpptPart::Current,
            "DCV" => MpptPart::Voltage,
            "DCW" => MpptPart::Power,
            _ => continue,
        };
        if absent(row.name) {
            continue;
        }
        let q = Q::mppt(input, part);
        let encoding = encoding(shape, row, q);
        points.push(Point {
            at: row.offset,
            q,
            encoding,
            what: Some(What::Mppt(input, part)),
        });
    }
}
