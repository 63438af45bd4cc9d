//! What the firmware decodes from a simulated SunSpec device is what pysunspec2, a foreign implementation, decodes from the
//! same device over Modbus TCP: all supported models, with odd scale factors, points that are not implemented and models
//! that nobody knows.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use taraz_firmware::{BusError, Meter, ReadFunction, ReadRegisters, poll_blocking};
use taraz_simulator::{Options, Simulation, Simulator, Transport};
use taraz_telemetry::{Field, MeterAddress, MeterDriver, Quantities};
use tokio_util::sync::CancellationToken;

const INVERTERS: [u16; 6] = [101, 102, 103, 111, 112, 113];
const METERS: [u16; 8] = [201, 202, 203, 204, 211, 212, 213, 214];
const BASES: [u16; 3] = [40_000, 50_000, 0];

/// How a unit presents itself: scale factors other than the fitting ones, points it lacks, unknown models in its chain.
const INVERTER_VARIANTS: [&str; 4] = [
    "mppt = 2",
    "mppt = 3\nscale_factors = { A_SF = -1, V_SF = -2, W_SF = 1, Hz_SF = -3, PF_SF = -3, WH_SF = 2, DCV_SF = 0 }",
    "mppt = 1\nscale_factors = { W_SF = -1, DCW_SF = 2, DCA_SF = -3, WH_SF = 0, VA_SF = 1, VAr_SF = 0 }\nunknown_models = [{ id = 64110, length = 38 }, { id = 129, length = 60 }]",
    "not_implemented = [\"TmpCab\", \"PhVphB\", \"DCW\", \"Hz\", \"Evt1\"]\nshort_common = true",
];
const METER_VARIANTS: [&str; 3] = [
    "",
    "scale_factors = { A_SF = -3, V_SF = -2, W_SF = 1, Hz_SF = -3, PF_SF = -2, TotWh_SF = 3 }\nunknown_models = [{ id = 64001, length = 1 }]",
    "not_implemented = [\"WphB\", \"PhVphC\", \"PF\", \"TotWhExp\", \"Hz\"]\nshort_common = true",
];

/// The bus with all inverter models, and the one with all meter models behind an inverter of 27.6 kW.
const BUSES: [&str; 2] = ["inverters", "meters"];

/// Two simulated buses with every model in every variant, and the highest address on each.
fn simulation() -> (String, [u8; 2]) {
    let inverters: Vec<_> = INVERTERS
        .iter()
        .flat_map(|&model| INVERTER_VARIANTS.map(|variant| (model, variant)))
        .collect();
    let meters = METERS
        .iter()
        .flat_map(|&model| METER_VARIANTS.map(|variant| (model, variant)));
    let meters: Vec<_> = [(103, INVERTER_VARIANTS[0])].into_iter().chain(meters).collect();
    let [a, b] = BUSES;
    let text = bus(a, &inverters) + &bus(b, &meters);
    (
        text,
        [inverters.len(), meters.len()].map(|count| u8::try_from(count).unwrap()),
    )
}

/// A bus with these models and variants at the addresses from 1 on.
fn bus(id: &str, units: &[(u16, &str)]) -> String {
    let mut text = format!(
        "[[device]]\nid = \"{id}\"\nplant = \"{id}\"\nlongitude_deg = 53.06\ncommissioned = \"2025-03-21\"\n\
         source = \"trio27k6\"\nload = {{ source = \"ausgrid_house\", scale = 9.0 }}\n"
    );
    for (at, (model, variant)) in units.iter().enumerate() {
        // Integer models have scale factors; for the others there is nothing to turn.
        let lines = variant
            .lines()
            .filter(|line| model % 100 < 10 || !line.starts_with("scale_factors"));
        let (address, base) = (at + 1, BASES[at % BASES.len()]);
        write!(
            text,
            "[[device.unit]]\naddress = {address}\nkind = \"sunspec\"\nmodel = {model}\nrated_w = 27600\nbase = {base}\n\
             energy_start_wh = 1234567\nexport_start_wh = 7654321\n{}\n",
            lines.collect::<Vec<_>>().join("\n")
        )
        .unwrap();
    }
    text
}

/// The registers stand still, so that both read the same; it is a sunny afternoon.
const STANDING_STILL: &str = "\
[[fault]]\nplant = \"inverters\"\nkind = \"stuck\"\nfrom = \"2026-06-21T09:10:00Z\"\n\
[[fault]]\nplant = \"meters\"\nkind = \"stuck\"\nfrom = \"2026-06-21T09:10:00Z\"\n";

/// Reads registers over Modbus TCP; this client is the test's own.
fn read(
    stream: &mut TcpStream,
    unit: u8,
    asked: ReadRegisters,
    registers: &mut [u16],
) -> Result<(), BusError> {
    let function = match asked.function {
        ReadFunction::Holding => 3,
        ReadFunction::Input => 4,
    };
    let (start, count) = (asked.start.to_be_bytes(), asked.count.to_be_bytes());
    let request = [
        0, 1, 0, 0, 0, 6, unit, function, start[0], start[1], count[0], count[1],
    ];
    stream.write_all(&request).unwrap();
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    let mut rest = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 2];
    stream.read_exact(&mut rest).unwrap();
    if head[7] & 0x80 != 0 {
        return Err(BusError::Exception(rest[0]));
    }
    for (register, bytes) in registers.iter_mut().zip(rest[1..].chunks_exact(2)) {
        *register = u16::from_be_bytes([bytes[0], bytes[1]]);
    }
    Ok(())
}

fn firmware_reads(address: SocketAddr, unit: u8) -> Quantities {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut meter = Meter::new(MeterAddress::new(unit).unwrap(), MeterDriver::Sunspec);
    poll_blocking(&mut meter, |asked, registers| {
        read(&mut stream, unit, asked, registers)
    })
    .unwrap_or_else(|status| panic!("unit {unit}: {status:?}"))
}

fn pysunspec2_reads(address: SocketAddr, unit: u8) -> Value {
    let output = Command::new(taraz_test_support::python())
        .args([
            "-B",
            "tests/python/sunspec_read.py",
            "127.0.0.1",
            &address.port().to_string(),
            &unit.to_string(),
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "unit {unit}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// SunSpec point → our field, and by what to multiply its value (docs/meters.md).
const INVERTER_POINTS: [(&str, Field, f64); 24] = [
    ("W", Field::AcPowerW, 1.0),
    ("WH", Field::EnergyWh, 1.0),
    ("PhVphA", Field::VoltageAnDv, 10.0),
    ("PhVphB", Field::VoltageBnDv, 10.0),
    ("PhVphC", Field::VoltageCnDv, 10.0),
    ("PPVphAB", Field::VoltageAbDv, 10.0),
    ("PPVphBC", Field::VoltageBcDv, 10.0),
    ("PPVphCA", Field::VoltageCaDv, 10.0),
    ("AphA", Field::CurrentACa, 100.0),
    ("AphB", Field::CurrentBCa, 100.0),
    ("AphC", Field::CurrentCCa, 100.0),
    ("Hz", Field::FrequencyMhz, 1_000.0),
    ("VA", Field::ApparentPowerVa, 1.0),
    ("VAr", Field::ReactivePowerVar, 1.0),
    ("VAR", Field::ReactivePowerVar, 1.0),
    ("PF", Field::PowerFactorPermille, 10.0),
    ("DCA", Field::DcCurrentCa, 100.0),
    ("DCV", Field::DcVoltageDv, 10.0),
    ("DCW", Field::DcPowerW, 1.0),
    ("TmpCab", Field::TemperatureDc, 10.0),
    ("St", Field::State, 1.0),
    ("Evt1", Field::Events, 1.0),
    ("TotWhImp", Field::ImportWh, 1.0),
    ("TotWhExp", Field::ExportWh, 1.0),
];
/// In 201 to 204 the line-to-line voltages are called PhVph…, in 211 to 214 PPVph….
const METER_POINTS: [(&str, Field, f64); 6] = [
    ("WphA", Field::AcPowerAW, 1.0),
    ("WphB", Field::AcPowerBW, 1.0),
    ("WphC", Field::AcPowerCW, 1.0),
    ("PhVphAB", Field::VoltageAbDv, 10.0),
    ("PhVphBC", Field::VoltageBcDv, 10.0),
    ("PhVphCA", Field::VoltageCaDv, 10.0),
];

/// A value as we state it: rounded half away from zero, after the noise of pysunspec2's binary fractions is taken out.
fn integer(value: &Value, factor: f64) -> Option<i64> {
    let exact = (value.as_f64()? * factor * 1e6).round() / 1e6;
    // Values of the simulated device are far below 2⁵³.
    #[allow(clippy::cast_possible_truncation)]
    Some(exact.round() as i64)
}

/// What pysunspec2 read, as quantities by our table.
fn expected(read: &Value) -> Quantities {
    let mut quantities = Quantities::default();
    let models = read["models"].as_array().unwrap();
    let of = |wanted: &[u16]| {
        models.iter().find(|model| {
            model["id"]
                .as_u64()
                .is_some_and(|id| wanted.iter().any(|w| u64::from(*w) == id))
        })
    };
    let points = |quantities: &mut Quantities, model: &Value, table: &[(&str, Field, f64)]| {
        for (name, field, factor) in table {
            let value = integer(&model["points"][*name], *factor);
            // acc32 0 is "not accumulated" (SunSpec Device Information Model Specification, 4.5).
            let accumulated =
                !matches!(field, Field::EnergyWh | Field::ImportWh | Field::ExportWh) || value != Some(0);
            if let Some(value) = value.filter(|_| accumulated) {
                assert!(quantities.set(*field, value), "{name} = {value}");
            }
        }
    };
    if let Some(inverter) = of(&INVERTERS) {
        points(&mut quantities, inverter, &INVERTER_POINTS);
        if quantities.temperature_dc.is_none() {
            points(
                &mut quantities,
                inverter,
                &[("TmpSnk", Field::TemperatureDc, 10.0)],
            );
        }
    } else {
        let meter = of(&METERS).expect("an inverter or a meter model");
        points(&mut quantities, meter, &INVERTER_POINTS);
        points(&mut quantities, meter, &METER_POINTS);
        if meter["id"].as_u64() >= Some(211) {
            // The float meters state a ratio (docs/meters.md).
            points(
                &mut quantities,
                meter,
                &[("PF", Field::PowerFactorPermille, 1_000.0)],
            );
        }
    }
    for module in of(&[160])
        .and_then(|model| model["groups"].as_array())
        .into_iter()
        .flatten()
    {
        let part = |name: &str, factor| integer(&module[name], factor);
        quantities
            .mppt
            .push(taraz_telemetry::Mppt {
                voltage_dv: part("DCV", 10.0).map(|v| v.try_into().unwrap()),
                current_ca: part("DCA", 100.0).map(|v| v.try_into().unwrap()),
                power_w: part("DCW", 1.0).map(|v| v.try_into().unwrap()),
            })
            .unwrap();
    }
    quantities
}

#[test]
fn the_firmware_and_pysunspec2_read_the_same() {
    let (plants, counts) = simulation();
    let simulation = Simulation::parse(&plants, Some(STANDING_STILL)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stop = CancellationToken::new();
    let options = Options {
        transport: Transport::ModbusTcp,
        ..Options::default()
    };
    let running = runtime
        .block_on(Simulator::start(simulation, options, stop.clone()))
        .unwrap();
    let (mut units, mut values) = (0, 0);
    for (bus, count) in BUSES.into_iter().zip(counts) {
        let address = running.buses[bus];
        for unit in 1..=count {
            let (ours, theirs) = (
                firmware_reads(address, unit),
                expected(&pysunspec2_reads(address, unit)),
            );
            assert_eq!(
                ours, theirs,
                "{bus} {unit}: firmware (left) and pysunspec2 (right)"
            );
            units += 1;
            values += ours.iter().count() + ours.mppt.len();
        }
    }
    println!("{values} values of {units} units are equal");
    assert!(
        values > 10 * units,
        "only {values} values of {units} units were compared"
    );
    stop.cancel();
    runtime.block_on(running.stopped()).unwrap();
}
