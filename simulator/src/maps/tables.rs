//! The SunSpec models as tables: every point in its order, with type and scale factor.
//!
//! SunSpec Alliance, "SunSpec Device Information Model Specification" and the model definitions of
//! <https://github.com/sunspec/models> (Apache-2.0). Offsets follow from the order: the first point stands behind the
//! model's id and length.

/// Models 101 to 103, inverter with integers and scale factors.
const INVERTER: &str = "\
    A:u16:A_SF AphA:u16:A_SF AphB:u16:A_SF AphC:u16:A_SF A_SF:sf PPVphAB:u16:V_SF PPVphBC:u16:V_SF \
    PPVphCA:u16:V_SF PhVphA:u16:V_SF PhVphB:u16:V_SF PhVphC:u16:V_SF V_SF:sf W:i16:W_SF W_SF:sf Hz:u16:Hz_SF \
    Hz_SF:sf VA:i16:VA_SF VA_SF:sf VAr:i16:VAr_SF VAr_SF:sf PF:i16:PF_SF PF_SF:sf WH:acc32:WH_SF WH_SF:sf \
    DCA:u16:DCA_SF DCA_SF:sf DCV:u16:DCV_SF DCV_SF:sf DCW:i16:DCW_SF DCW_SF:sf TmpCab:i16:Tmp_SF \
    TmpSnk:i16:Tmp_SF TmpTrns:i16:Tmp_SF TmpOt:i16:Tmp_SF Tmp_SF:sf St:enum StVnd:enum Evt1:bits Evt2:bits \
    EvtVnd1:bits EvtVnd2:bits EvtVnd3:bits EvtVnd4:bits";

/// Models 111 to 113, inverter with floats.
const INVERTER_FLOAT: &str = "\
    A:f32 AphA:f32 AphB:f32 AphC:f32 PPVphAB:f32 PPVphBC:f32 PPVphCA:f32 PhVphA:f32 PhVphB:f32 PhVphC:f32 \
    W:f32 Hz:f32 VA:f32 VAr:f32 PF:f32 WH:f32 DCA:f32 DCV:f32 DCW:f32 TmpCab:f32 TmpSnk:f32 TmpTrns:f32 \
    TmpOt:f32 St:enum StVnd:enum Evt1:bits Evt2:bits EvtVnd1:bits EvtVnd2:bits EvtVnd3:bits EvtVnd4:bits";

/// Models 201 to 204, meter with integers and scale factors.
const METER: &str = "\
    A:i16:A_SF AphA:i16:A_SF AphB:i16:A_SF AphC:i16:A_SF A_SF:sf PhV:i16:V_SF PhVphA:i16:V_SF \
    PhVphB:i16:V_SF PhVphC:i16:V_SF PPV:i16:V_SF PPVphAB:i16:V_SF PPVphBC:i16:V_SF PPVphCA:i16:V_SF V_SF:sf \
    Hz:i16:Hz_SF Hz_SF:sf W:i16:W_SF WphA:i16:W_SF WphB:i16:W_SF WphC:i16:W_SF W_SF:sf VA:i16:VA_SF \
    VAphA:i16:VA_SF VAphB:i16:VA_SF VAphC:i16:VA_SF VA_SF:sf VAR:i16:VAR_SF VARphA:i16:VAR_SF \
    VARphB:i16:VAR_SF VARphC:i16:VAR_SF VAR_SF:sf PF:i16:PF_SF PFphA:i16:PF_SF PFphB:i16:PF_SF \
    PFphC:i16:PF_SF PF_SF:sf TotWhExp:acc32:TotWh_SF TotWhExpPhA:acc32:TotWh_SF TotWhExpPhB:acc32:TotWh_SF \
    TotWhExpPhC:acc32:TotWh_SF TotWhImp:acc32:TotWh_SF TotWhImpPhA:acc32:TotWh_SF TotWhImpPhB:acc32:TotWh_SF \
    TotWhImpPhC:acc32:TotWh_SF TotWh_SF:sf TotVAhExp:acc32:TotVAh_SF TotVAhExpPhA:acc32:TotVAh_SF \
    TotVAhExpPhB:acc32:TotVAh_SF TotVAhExpPhC:acc32:TotVAh_SF TotVAhImp:acc32:TotVAh_SF \
    TotVAhImpPhA:acc32:TotVAh_SF TotVAhImpPhB:acc32:TotVAh_SF TotVAhImpPhC:acc32:TotVAh_SF TotVAh_SF:sf \
    TotVArhImpQ1:acc32:TotVArh_SF TotVArhImpQ1PhA:acc32:TotVArh_SF TotVArhImpQ1PhB:acc32:TotVArh_SF \
    TotVArhImpQ1PhC:acc32:TotVArh_SF TotVArhImpQ2:acc32:TotVArh_SF TotVArhImpQ2PhA:acc32:TotVArh_SF \
    TotVArhImpQ2PhB:acc32:TotVArh_SF TotVArhImpQ2PhC:acc32:TotVArh_SF TotVArhExpQ3:acc32:TotVArh_SF \
    TotVArhExpQ3PhA:acc32:TotVArh_SF TotVArhExpQ3PhB:acc32:TotVArh_SF TotVArhExpQ3PhC:acc32:TotVArh_SF \
    TotVArhExpQ4:acc32:TotVArh_SF TotVArhExpQ4PhA:acc32:TotVArh_SF TotVArhExpQ4PhB:acc32:TotVArh_SF \
    TotVArhExpQ4PhC:acc32:TotVArh_SF TotVArh_SF:sf Evt:bits";

/// Models 211 to 214, meter with floats.
const METER_FLOAT: &str = "\
    A:f32 AphA:f32 AphB:f32 AphC:f32 PhV:f32 PhVphA:f32 PhVphB:f32 PhVphC:f32 PPV:f32 PPVphAB:f32 \
    PPVphBC:f32 PPVphCA:f32 Hz:f32 W:f32 WphA:f32 WphB:f32 WphC:f32 VA:f32 VAphA:f32 VAphB:f32 VAphC:f32 \
    VAR:f32 VARphA:f32 VARphB:f32 VARphC:f32 PF:f32 PFphA:f32 PFphB:f32 PFphC:f32 TotWhExp:f32 \
    TotWhExpPhA:f32 TotWhExpPhB:f32 TotWhExpPhC:f32 TotWhImp:f32 TotWhImpPhA:f32 TotWhImpPhB:f32 \
    TotWhImpPhC:f32 TotVAhExp:f32 TotVAhExpPhA:f32 TotVAhExpPhB:f32 TotVAhExpPhC:f32 TotVAhImp:f32 \
    TotVAhImpPhA:f32 TotVAhImpPhB:f32 TotVAhImpPhC:f32 TotVArhImpQ1:f32 TotVArhImpQ1phA:f32 \
    TotVArhImpQ1phB:f32 TotVArhImpQ1phC:f32 TotVArhImpQ2:f32 TotVArhImpQ2phA:f32 TotVArhImpQ2phB:f32 \
    TotVArhImpQ2phC:f32 TotVArhExpQ3:f32 TotVArhExpQ3phA:f32 TotVArhExpQ3phB:f32 TotVArhExpQ3phC:f32 \
    TotVArhExpQ4:f32 TotVArhExpQ4phA:f32 TotVArhExpQ4phB:f32 TotVArhExpQ4phC:f32 Evt:bits";

/// Model 160 up to its modules, multiple MPPT.
const MPPT: &str = "DCA_SF:sf DCV_SF:sf DCW_SF:sf DCWH_SF:sf Evt:bits N:count TmsPer:u16";

/// One module of model 160; `IDStr` takes eight registers.
const MPPT_MODULE: &str = "ID:u16 IDStr:str16 DCA:u16:DCA_SF DCV:u16:DCV_SF DCW:u16:DCW_SF DCWH:acc32:DCWH_SF \
    Tms:u32 Tmp:i16 DCSt:enum DCEvt:bits";

/// The type of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U16,
    I16,
    U32,
    ScaleFactor,
    Acc32,
    Enum,
    Bits,
    F32,
    Text16,
    Count,
}

impl Kind {
    fn parse(word: &str) -> Self {
        match word {
            "u16" => Self::U16,
            "i16" => Self::I16,
            "u32" => Self::U32,
            "sf" => Self::ScaleFactor,
            "acc32" => Self::Acc32,
            "enum" => Self::Enum,
            "bits" => Self::Bits,
            "f32" => Self::F32,
            "str16" => Self::Text16,
            _ => Self::Count,
        }
    }

    pub(super) const fn registers(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::ScaleFactor | Self::Enum | Self::Count => 1,
            Self::U32 | Self::Acc32 | Self::Bits | Self::F32 => 2,
            Self::Text16 => 8,
        }
    }

    /// The registers of a point that is not implemented (Device Information Model Specification, "Point types").
    pub(super) fn not_implemented(self) -> Vec<u16> {
        match self {
            Self::U16 | Self::Enum => vec![0xFFFF],
            Self::I16 | Self::ScaleFactor => vec![0x8000],
            Self::U32 | Self::Bits => vec![0xFFFF; 2],
            // "Accumulators: 0 is not accumulated"; a count of nothing; an empty string.
            Self::Acc32 => vec![0; 2],
            Self::F32 => vec![0x7FC0, 0],
            Self::Count => vec![0],
            Self::Text16 => vec![0; 8],
        }
    }
}

/// One point of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Registers from the model's id, which is at 0.
    pub(super) offset: u16,
    pub(super) kind: Kind,
    pub(super) scale_factor: Option<&'static str>,
}

fn rows(table: &'static str, first: u16) -> Vec<Row> {
    let mut offset = first;
    let row = |text: &'static str| {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let kind = Kind::parse(parts.next().unwrap_or_default());
        let row = Row {
            name,
            offset,
            kind,
            scale_factor: parts.next(),
        };
        offset += kind.registers();
        row
    };
    table.split_whitespace().map(row).collect()
}

/// The points of a model, or `None` if the simulator does not have it.
pub(super) fn model(id: u16) -> Option<Vec<Row>> {
    let table = match id {
        101..=103 => INVERTER,
        111..=113 => INVERTER_FLOAT,
        160 => MPPT,
        201..=204 => METER,
        211..=214 => METER_FLOAT,
        _ => return None,
    };
    Some(rows(table, 2))
}

/// The points of module `index` of model 160.
pub(super) fn mppt_module(index: u16) -> Vec<Row> {
    let module = rows(MPPT_MODULE, 0);
    let length: u16 = module.iter().map(|row| row.kind.registers()).sum();
    let head: u16 = rows(MPPT, 2).iter().map(|row| row.kind.registers()).sum::<u16>() + 2;
    module
        .into_iter()
        .map(|row| Row {
            offset: row.offset + head + index * length,
            ..row
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(id: u16, name: &str) -> u16 {
        model(id)
            .unwrap()
            .iter()
            .find(|row| row.name == name)
            .unwrap()
            .offset
    }

    fn length(id: u16) -> u16 {
        model(id).unwrap().iter().map(|row| row.kind.registers()).sum()
    }

    /// Offsets from the SunSpec model definitions, one by one.
    #[test]
    fn points_stand_where_the_models_say() {
        assert_eq!(
            [length(101), length(111), length(201), length(211)],
            [50, 60, 105, 124]
        );
        assert_eq!(
            [
                offset(103, "W"),
                offset(103, "WH"),
                offset(103, "St"),
                offset(103, "EvtVnd4")
            ],
            [14, 24, 38, 50]
        );
        assert_eq!(
            [
                offset(113, "W"),
                offset(113, "WH"),
                offset(113, "St"),
                offset(113, "Evt1")
            ],
            [22, 32, 48, 50]
        );
        assert_eq!(
            [offset(203, "W"), offset(203, "TotWhExp"), offset(203, "TotWhImp")],
            [18, 38, 46]
        );
        assert_eq!(
            [
                offset(203, "TotWh_SF"),
                offset(203, "TotVArh_SF"),
                offset(203, "Evt")
            ],
            [54, 104, 105]
        );
        assert_eq!(
            [
                offset(213, "W"),
                offset(213, "PF"),
                offset(213, "TotWhExp"),
                offset(213, "TotWhImp")
            ],
            [28, 52, 60, 68]
        );
        assert_eq!(offset(213, "Evt"), 124);
        assert_eq!(
            [offset(160, "Evt"), offset(160, "N"), offset(160, "TmsPer")],
            [6, 8, 9]
        );
        let module = mppt_module(1);
        let at = |name: &str| module.iter().find(|row| row.name == name).unwrap().offset;
        assert_eq!(
            [at("ID"), at("DCA"), at("DCV"), at("DCW"), at("DCEvt")],
            [30, 39, 40, 41, 48]
        );
    }
}
