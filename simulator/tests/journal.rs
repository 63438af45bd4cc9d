//! What the journal says beside the registers: the values that they state, here decoded once more by hand.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of their functions"
)]
#![allow(clippy::cast_possible_truncation, reason = "values that registers hold")]

mod common;

use common::{NOON_MS, SIMULATION, lines, set_clock, start};
use serde_json::{Value, json};
use taraz_simulator::Options;
use tokio_modbus::client::rtu;
use tokio_modbus::prelude::{Reader as _, Slave, SlaveContext as _};

async fn journal_of(reads: &[(u8, u8, u16, u16)]) -> Vec<(Vec<u16>, Value)> {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let options = Options {
        follow_clock: true,
        journal: Some(journal.clone()),
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let mut client = rtu::attach(
        tokio::net::TcpStream::connect(started.address("bus-1"))
            .await
            .unwrap(),
    );
    set_clock(&mut client, NOON_MS).await;
    let mut read = Vec::new();
    for &(unit, function, at, count) in reads {
        client.set_slave(Slave(unit));
        let answer = match function {
            3 => client.read_holding_registers(at, count).await,
            _ => client.read_input_registers(at, count).await,
        };
        read.push(answer.unwrap().unwrap());
    }
    started.stop().await;
    read.into_iter().zip(lines(&journal)).collect()
}

/// Registers `at` and `at + 1` as an IEEE 754 single.
fn single(registers: &[u16], at: usize) -> f64 {
    f64::from(f32::from_bits(
        u32::from(registers[at]) << 16 | u32::from(registers[at + 1]),
    ))
}

#[tokio::test]
async fn a_sunspec_inverter_states_its_values_and_its_inputs() {
    // SunS, common model of 66, unknown model of 5: model 103 begins at 40077 and model 160 at 40129.
    let journal = journal_of(&[(1, 3, 40_077, 52), (1, 3, 40_129, 50), (1, 3, 40_077, 2)]).await;
    let (registers, line) = &journal[0];
    let signed = |at: usize| i64::from(registers[at].cast_signed());
    let scaled =
        |at: usize, factor: usize| i64::from(registers[at]) * 10_i64.pow(u32::from(registers[factor]));
    assert_eq!((registers[0], registers[1]), (103, 50));
    assert_eq!(line["values"]["ac_power_w"], scaled(14, 15));
    assert_eq!(signed(13), -1, "V_SF");
    assert_eq!(line["values"]["voltage_an_dv"], registers[10]);
    assert_eq!(signed(17), -2, "Hz_SF");
    assert_eq!(line["values"]["frequency_mhz"], u32::from(registers[16]) * 10);
    assert_eq!(
        line["values"]["energy_wh"],
        u32::from(registers[24]) << 16 | u32::from(registers[25])
    );
    assert_eq!(line["values"]["temperature_dc"], signed(33));
    assert_eq!(line["values"]["state"], registers[38]);
    assert_eq!(line["values"]["events"], 0);
    assert!(line["values"].get("mppt").is_none());
    let (registers, line) = &journal[1];
    assert_eq!((registers[0], registers[8]), (160, 2));
    let factor = |at: usize| 10_i64.pow(u32::from(registers[at]));
    let module = |at: usize| {
        let volts = i64::from(registers[at + 1]);
        let amps = i64::from(registers[at])
            * 10_i64.pow(u32::try_from(i64::from(registers[2].cast_signed()) + 2).unwrap());
        json!([volts, amps, i64::from(registers[at + 2]) * factor(4)])
    };
    assert_eq!(line["values"], json!({ "mppt": [module(19), module(39)] }));
    let (_, line) = &journal[2];
    assert!(line.get("values").is_none(), "a model's head states nothing");
}

#[tokio::test]
async fn a_meter_states_its_singles() {
    let journal = journal_of(&[(2, 4, 0, 76), (2, 4, 0xC8, 26), (2, 4, 0x34, 2)]).await;
    let (registers, line) = &journal[0];
    assert_eq!(line["values"]["ac_power_w"], single(registers, 0x34) as i64);
    assert_eq!(
        line["values"]["voltage_an_dv"],
        (single(registers, 0) * 10.0).round() as i64
    );
    assert_eq!(
        line["values"]["power_factor_permille"],
        (single(registers, 0x3E) * 1_000.0).round() as i64
    );
    assert_eq!(
        line["values"]["import_wh"],
        (single(registers, 0x48) * 1_000.0).round() as i64
    );
    let (registers, line) = &journal[1];
    assert_eq!(
        line["values"]["voltage_ab_dv"],
        (single(registers, 0) * 10.0).round() as i64
    );
    assert_eq!(
        line["values"]["current_n_ca"],
        (single(registers, 0x18) * 100.0).round() as i64
    );
    assert_eq!(line["values"].as_object().unwrap().len(), 4);
    let (_, line) = &journal[2];
    assert_eq!(
        line["values"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["ac_power_w"]
    );
}

#[tokio::test]
async fn growatt_and_the_sensor_state_their_values() {
    let journal = journal_of(&[(3, 4, 0, 45), (4, 4, 0, 9), (3, 3, 44, 1)]).await;
    let (registers, line) = &journal[0];
    let double = |at: usize| i64::from(registers[at]) << 16 | i64::from(registers[at + 1]);
    let values = &line["values"];
    assert_eq!(values["state"], 4, "1, normal, is SunSpec's MPPT");
    assert_eq!(values["ac_power_w"], (double(11) + 5) / 10);
    assert_eq!(values["dc_power_w"], (double(1) + 5) / 10);
    assert_eq!(values["frequency_mhz"], i64::from(registers[13]) * 10);
    assert_eq!(values["current_a_ca"], i64::from(registers[15]) * 10);
    assert_eq!(values["energy_wh"], double(28) * 100);
    assert_eq!(
        values["mppt"][1],
        json!([registers[7], registers[8] * 10, (double(9) + 5) / 10])
    );
    let (registers, line) = &journal[1];
    assert_eq!(line["values"]["irradiance_dwm2"], registers[0]);
    let cell = i64::from(registers[7].cast_signed());
    assert_eq!(line["values"]["module_temperature_dc"], cell);
    assert_eq!(i64::from(registers[5]), cell + 1_000, "above −100 °C");
    assert_eq!(journal[2].0, [0x0203], "two inputs, three phases");
}
