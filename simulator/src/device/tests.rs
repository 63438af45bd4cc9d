use std::sync::LazyLock;

use proptest::prelude::*;
use taraz_fleet::Fleet;
use taraz_telemetry::Field;

use super::*;
use crate::config::{Measures, Night};
use crate::physics::state;
use crate::points::What;
use crate::simulation::{Simulation, World};
use crate::{EXAMPLE, demo};

const HOUR_MS: i64 = 3_600_000;
/// 23 November 2026, 08:15 UTC: noon in Mazandaran.
const NOON_MS: i64 = 1_795_421_700_000;

fn fleet() -> Fleet {
    Fleet::parse(demo::fleet_toml()).unwrap()
}

fn simulation() -> Simulation {
    Simulation::parse_with_fleet(demo::simulation_toml(), &fleet(), None).unwrap()
}

/// The demo with faults.
fn world(faults: &str) -> World {
    let simulation = Simulation::parse_with_fleet(demo::simulation_toml(), &fleet(), Some(faults)).unwrap();
    simulation.world(&[], 0)
}

/// The demo without faults, made once.
static HEALTHY: LazyLock<World> = LazyLock::new(|| world(""));

fn bus<'a>(world: &'a World, id: &str) -> &'a FaultyBus {
    world.buses.iter().find(|bus| bus.bus.id == id).unwrap()
}

fn stated(bus: &FaultyBus, address: u8, at_ms: i64, field: Field) -> Option<i64> {
    let mut image = Image::default();
    bus.render(bus.unit(address).unwrap(), at_ms, &mut image);
    let mut all = image.blocks.iter().flat_map(|block| &block.stated);
    all.find(|stated| stated.what == What::Field(field))
        .map(|stated| stated.value)
}

/// Wh of one count of a unit's energy registers.
fn count_wh(unit: &UnitConfig, stated_wh: i64) -> f64 {
    match (unit.kind, unit.model) {
        (MeterDriver::Growatt, _) => 100.0,
        // 0.01 kWh, as near as single precision holds it.
        (MeterDriver::Sdm630, _) => 10.0 + stated_wh as f64 / 2_f64.powi(23),
        // Single precision: 24 bits.
        (_, Some(111..=113 | 211..=214)) => (stated_wh as f64 / 2_f64.powi(23)).max(1.0),
        _ => 1.0,
    }
}

#[test]
fn energy_is_what_the_file_says_to_one_count() {
    let (simulation, world) = (simulation(), &*HEALTHY);
    for bus in &world.buses {
        for (unit, config) in bus.bus.inverters() {
            let address = config.address.get();
            let at = |day: i64| NOON_MS - 12 * HOUR_MS + day * 24 * HOUR_MS + 1_234_567;
            for day in -400..30 {
                let energy = |at_ms| stated(bus, address, at_ms, Field::EnergyWh).unwrap();
                let (from, to) = (energy(at(day)), energy(at(day + 1)));
                let source = simulation
                    .source_energy_wh(&bus.bus.plant, at(day), at(day + 1))
                    .unwrap();
                let apart = (to - from) as f64 - source;
                let count = count_wh(config, to);
                assert!(
                    apart.abs() <= count + 0.01,
                    "{} unit {unit}, day {day}: {apart} Wh off",
                    bus.bus.id
                );
            }
        }
    }
}

#[test]
fn energy_since_commissioning_is_what_the_file_says() {
    let (simulation, world) = (simulation(), &*HEALTHY);
    for bus in &world.buses {
        let commissioned_ms = bus.bus.days.bound_ms(0);
        let (unit, config) = bus.bus.inverters().next().unwrap();
        let stated = stated(bus, config.address.get(), NOON_MS, Field::EnergyWh).unwrap();
        let source = simulation
            .source_energy_wh(&bus.bus.plant, commissioned_ms, NOON_MS)
            .unwrap();
        let apart = stated as f64 - source;
        assert!(
            apart <= 0.5 && apart >= -count_wh(config, stated) - 0.5,
            "{} unit {unit}: {apart}",
            bus.bus.id
        );
        assert!(source > 1_000_000.0, "{}: only {source} Wh", bus.bus.id);
    }
}

#[test]
fn a_site_balances() {
    let (simulation, world) = (simulation(), &*HEALTHY);
    for bus in &world.buses {
        let metered = bus.bus.config.units.iter().find(|unit| {
            !unit.is_inverter() && unit.kind != MeterDriver::SiRs485 && unit.measures == Measures::Grid
        });
        let Some(meter) = metered else { continue };
        for day in -200..0 {
            let (from, to) = (NOON_MS + day * 24 * HOUR_MS, NOON_MS + (day + 1) * 24 * HOUR_MS);
            let moved = |field| {
                let at = |at_ms| stated(bus, meter.address.get(), at_ms, field).unwrap();
                (at(to) - at(from)) as f64
            };
            let plant = bus.bus.plant.as_str();
            let generation = simulation.source_energy_wh(plant, from, to).unwrap();
            let consumption = simulation.source_consumption_wh(plant, from, to).unwrap();
            assert!(consumption > 1_000.0);
            let apart = moved(Field::ImportWh) - moved(Field::ExportWh) - (consumption - generation);
            let count = |field| count_wh(meter, stated(bus, meter.address.get(), to, field).unwrap());
            let counts = count(Field::ImportWh) + count(Field::ExportWh);
            assert!(
                apart.abs() <= counts + 0.1,
                "{}: day {day}: {apart} Wh",
                bus.bus.id
            );
        }
    }
}

#[test]
fn a_consumption_meter_shows_the_consumption() {
    let (simulation, world) = (simulation(), &*HEALTHY);
    let bus = bus(world, "nowshahr-02");
    let (from, to) = (NOON_MS - 100 * 24 * HOUR_MS, NOON_MS);
    let moved = stated(bus, 2, to, Field::ImportWh).unwrap() - stated(bus, 2, from, Field::ImportWh).unwrap();
    let consumption = simulation
        .source_consumption_wh("kheyrud-house", from, to)
        .unwrap();
    assert!((moved as f64 - consumption).abs() <= 1.0);
    assert_eq!(
        stated(bus, 2, to, Field::ExportWh),
        None,
        "an accumulator at 0 is not accumulated"
    );
    let grid = stated(bus, 3, NOON_MS, Field::AcPowerW).unwrap();
    let balance =
        stated(bus, 2, NOON_MS, Field::AcPowerW).unwrap() - stated(bus, 1, NOON_MS, Field::AcPowerW).unwrap();
    assert!((grid - balance).abs() <= 1);
}

#[test]
fn a_night_is_a_night() {
    let world = &*HEALTHY;
    let midnight = NOON_MS + 12 * HOUR_MS;
    for bus in &world.buses {
        for (unit, config) in bus.bus.inverters() {
            let reaction = bus.reaction(unit, midnight);
            if config.night == Night::Silent {
                assert_eq!(reaction, Reaction::Silence, "{}", bus.bus.id);
                assert!(matches!(bus.reaction(unit, NOON_MS), Reaction::Answer(_)));
                continue;
            }
            let address = config.address.get();
            assert_eq!(stated(bus, address, midnight, Field::AcPowerW), Some(0));
            let expected = if config.night == Night::Sleeping {
                state::SLEEPING
            } else {
                state::STANDBY
            };
            assert_eq!(
                stated(bus, address, midnight, Field::State),
                Some(expected),
                "{}",
                bus.bus.id
            );
            assert!(
                stated(bus, address, NOON_MS, Field::AcPowerW).unwrap() > 0,
                "{}",
                bus.bus.id
            );
            assert_eq!(
                stated(bus, address, NOON_MS, Field::State),
                Some(state::MPPT),
                "{}",
                bus.bus.id
            );
        }
    }
}

#[test]
fn the_sensor_shows_what_was_recorded() {
    let world = &*HEALTHY;
    let bus = bus(world, "amol-02");
    let noon = stated(bus, 3, NOON_MS, Field::IrradianceDwm2).unwrap();
    assert!((1_000..12_000).contains(&noon), "{noon}");
    assert!((0..100).contains(&stated(bus, 3, NOON_MS + 12 * HOUR_MS, Field::IrradianceDwm2).unwrap()));
    assert!((-300..700).contains(&stated(bus, 3, NOON_MS, Field::ModuleTemperatureDc).unwrap()));
    assert!((-300..500).contains(&stated(bus, 3, NOON_MS, Field::AmbientTemperatureDc).unwrap()));
}

#[test]
fn a_derated_inverter_loses_its_share_and_the_grid_gives_it() {
    let from = "2026-11-22T00:00:00Z";
    let until = "2026-11-24T00:00:00Z";
    let faults = format!(
        "[[fault]]\nplant = \"sari-town-hall\"\nkind = \"derate\"\nfactor = 0.5\nfrom = \"{from}\"\nuntil = \"{until}\"\n"
    );
    let derated = world(&faults);
    let (healthy, derated) = (bus(&HEALTHY, "sari-01"), bus(&derated, "sari-01"));
    let power = |bus| stated(bus, 1, NOON_MS, Field::AcPowerW).unwrap();
    assert!(
        (power(healthy) - 2 * power(derated)).abs() <= 20,
        "{} {}",
        power(healthy),
        power(derated)
    );
    let lost = |at_ms| {
        let energy = |bus| stated(bus, 1, at_ms, Field::EnergyWh).unwrap();
        energy(healthy) - energy(derated)
    };
    let before: i64 = from.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let after: i64 = until.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    assert_eq!(lost(before), 0);
    let simulation = simulation();
    let source = simulation
        .source_energy_wh("sari-town-hall", before, after)
        .unwrap();
    assert!(
        (lost(after) as f64 - source / 2.0).abs() <= 2.0,
        "{} of {source}",
        lost(after)
    );
    assert!(
        (lost(after + 40 * 24 * HOUR_MS) - lost(after)).abs() <= 1,
        "what was lost stays lost"
    );
    let net = |bus, at_ms| {
        stated(bus, 2, at_ms, Field::ImportWh).unwrap() - stated(bus, 2, at_ms, Field::ExportWh).unwrap()
    };
    let more = net(derated, after) - net(healthy, after);
    assert!(
        (more - lost(after)).abs() <= 40,
        "the grid gave {more} Wh for {} Wh lost",
        lost(after)
    );
}

const FAULTS: &str = r#"
        [[fault]]
        plant = "sari-town-hall"
        kind = "zero_power"
        from = "2026-11-23T08:00:00Z"
        until = "2026-11-23T09:00:00Z"
        [[fault]]
        plant = "babol-park"
        unit = 2
        kind = "silent"
        [[fault]]
        plant = "babol-clinic"
        kind = "busy"
        [[fault]]
        plant = "amol-stadium"
        kind = "stuck"
        from = "2026-11-23T07:00:00Z"
        [[fault]]
        plant = "nowshahr-port"
        kind = "counter_reset"
        from = "2026-11-20T00:00:00Z"
        [[fault]]
        plant = "sari-water-office"
        kind = "string_loss"
        input = 3
        [[fault]]
        plant = "sari-library"
        kind = "slow"
        delay_ms = 700
    "#;

#[test]
fn faults_do_what_they_are_called() {
    let (healthy, faulty) = (&*HEALTHY, world(FAULTS));
    let (well, ill) = (bus(healthy, "sari-01"), bus(&faulty, "sari-01"));
    assert_eq!(stated(ill, 1, NOON_MS, Field::AcPowerW), Some(0));
    assert_eq!(stated(ill, 1, NOON_MS, Field::State), Some(state::FAULT));
    assert_eq!(stated(ill, 1, NOON_MS, Field::Events), Some(4));
    assert_eq!(
        stated(ill, 1, NOON_MS - HOUR_MS, Field::AcPowerW),
        stated(well, 1, NOON_MS - HOUR_MS, Field::AcPowerW)
    );
    let babol = bus(&faulty, "babol-01");
    assert_eq!(babol.reaction(babol.unit(2).unwrap(), NOON_MS), Reaction::Silence);
    assert!(matches!(
        babol.reaction(babol.unit(1).unwrap(), NOON_MS),
        Reaction::Answer(_)
    ));
    assert_eq!(bus(&faulty, "babol-02").reaction(0, NOON_MS), Reaction::Busy);
    assert_eq!(
        bus(&faulty, "sari-02").reaction(0, NOON_MS),
        Reaction::Answer(700)
    );
    let stuck = bus(&faulty, "amol-01");
    let since: i64 = "2026-11-23T07:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    for field in [Field::AcPowerW, Field::EnergyWh, Field::VoltageAnDv] {
        assert_eq!(
            stated(stuck, 1, NOON_MS, field),
            stated(bus(healthy, "amol-01"), 1, since, field)
        );
    }
    let energy = stated(bus(&faulty, "nowshahr-01"), 1, NOON_MS, Field::EnergyWh).unwrap();
    assert!(energy > 0 && energy < 200_000, "three days: {energy}");
    let (four, three) = (bus(healthy, "sari-04"), bus(&faulty, "sari-04"));
    let power = |bus| stated(bus, 1, NOON_MS, Field::AcPowerW).unwrap();
    assert!((power(four) * 3 / 4 - power(three)).abs() <= 20);
    let mut image = Image::default();
    three.render(0, NOON_MS, &mut image);
    let lost = image.blocks[0]
        .stated
        .iter()
        .filter(|s| matches!(s.what, What::Mppt(2, _)) && s.value == 0)
        .count();
    assert_eq!(lost, 2, "neither current nor power");
}

#[test]
fn odd_scale_factors_and_missing_points_show() {
    let simulation = Simulation::parse(EXAMPLE, None).unwrap();
    let world = simulation.world(&[], 0);
    let bus = &world.buses[0];
    let mut image = Image::default();
    bus.render(0, NOON_MS, &mut image);
    // SunS, common model of 66, unknown model of 38, model 103.
    let main = 2 + 68 + 40;
    let registers = &image.blocks[0].registers[main..];
    assert_eq!(registers[..2], [103, 50]);
    assert_eq!([registers[13], registers[15]], [0xFFFE, 1], "V_SF −2, W_SF 1");
    assert_eq!(
        [registers[7], registers[34]],
        [0xFFFF, 0x8000],
        "PPVphAB and TmpSnk"
    );
    assert!((22_000..24_500).contains(&registers[10]), "{}", registers[10]);
    assert_eq!(stated(bus, 1, NOON_MS, Field::VoltageAbDv), None);
    assert!(stated(bus, 1, NOON_MS, Field::VoltageBcDv).is_some());
    assert_eq!(stated(bus, 1, NOON_MS, Field::AcPowerW).unwrap() % 10, 0);
}

proptest! {
    #[test]
    fn registers_are_a_pure_function_and_energy_never_falls(
        index in 0usize..12,
        mut at in prop::collection::vec(-900 * 24 * HOUR_MS..60 * 24 * HOUR_MS, 2..12),
    ) {
        let world = &*HEALTHY;
        let bus = &world.buses[index];
        for unit in 0..bus.bus.config.units.len() {
            let render = |at_ms: &i64| {
                let mut image = Image::default();
                bus.render(unit, NOON_MS + at_ms, &mut image);
                image
            };
            let mut reused = Image::default();
            for at_ms in &at {
                bus.render(unit, NOON_MS + at_ms, &mut reused);
                let fresh = render(at_ms);
                for (a, b) in fresh.blocks.iter().zip(&reused.blocks) {
                    prop_assert_eq!(&a.registers, &b.registers);
                    prop_assert_eq!(&a.stated, &b.stated);
                }
            }
            at.sort_unstable();
            let address = bus.bus.config.units[unit].address.get();
            for field in [Field::EnergyWh, Field::ImportWh, Field::ExportWh] {
                let registers: Vec<_> = at.iter().filter_map(|at| stated(bus, address, NOON_MS + at, field)).collect();
                prop_assert!(registers.is_sorted());
            }
        }
    }
}
