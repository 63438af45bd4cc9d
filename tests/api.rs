//! The API as it is described: `docs/api/openapi.json` against a running server, and schedules from a file to a deviation.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use common::installation::{Installation, TARAZ, TOKEN, Way};
use taraz_telemetry::{
    BatchItem, BatchWriter, Clock, DeviceId, MeterAddress, Mppt, Outcome, Quantities, RECORD_LEN_MAX,
    Reading, Record, Stamp,
};
use taraz_test_support::{Process, Signal, get, request, wait_for};

const STEP_MS: i64 = 300_000;
const DAY_MS: i64 = 86_400_000;
/// Three days and what there is of today.
const DAYS: i64 = 3;

/// Five plants of one district: `p0` with an irradiance sensor and four MPPT inputs, `p1` with a grid meter, `p2` with a consumption meter.
fn fleet() -> String {
    let mut text = String::from(
        "[[district]]\nid = \"sari\"\nname = \"Sari\"\nname_fa = \"ساری\"\n\
         [[owner]]\nid = \"town\"\nname = \"Town\"\nname_fa = \"شهر\"\nkind = \"municipality\"\n",
    );
    for plant in 0..5 {
        let more = match plant {
            0 => ", { address = 2, role = \"irradiance\", driver = \"si_rs485\" }",
            1 => ", { address = 2, role = \"grid\", driver = \"sunspec\", rated_w = 20000 }",
            2 => ", { address = 2, role = \"consumption\", driver = \"sdm630\", rated_w = 20000 }",
            _ => "",
        };
        text += &format!(
            "[[plant]]\nid = \"p{plant}\"\nname = \"p{plant}\"\nname_fa = \"p{plant}\"\nowner = \"town\"\ndistrict = \"sari\"\n\
             latitude_deg = 36.56\nlongitude_deg = 53.06\naltitude_m = 50.0\ninverter_ac_w = 10000\n\
             commissioned = \"2025-03-20\"\narrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 10000 }}]\n\
             [[plant.device]]\nid = \"p{plant}-01\"\nmeter = [{{ address = 1, role = \"inverter\", rated_w = 10000 }}{more}]\n"
        );
    }
    text
}

/// Share of the rating that every plant makes at an instant: half a sine from 7 to 17 o'clock in Tehran.
fn sun(at_ms: i64) -> f64 {
    let hour = (at_ms + 12_600_000).rem_euclid(DAY_MS) as f64 / 3_600_000.0;
    ((hour - 7.0) / 10.0 * core::f64::consts::PI).sin().max(0.0)
        * f64::from(u8::from((7.0..17.0).contains(&hour)))
        * 0.6
}

/// What a plant's meters state at an instant; `made_wh` is its register.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn readings(plant: usize, at_ms: i64, since_ms: i64, made_wh: f64) -> Vec<(u8, Quantities)> {
    let power_w = sun(at_ms) * 10_000.0;
    let mut inverter = Quantities {
        ac_power_w: Some(power_w as i32),
        dc_power_w: Some((power_w * 1.04) as i32),
        energy_wh: Some(1_000_000 + made_wh as u64),
        state: Some(4),
        voltage_an_dv: Some(2_300),
        voltage_bn_dv: Some(2_310),
        voltage_cn_dv: Some(2_280),
        current_a_ca: Some((power_w / 6.9) as i32),
        current_b_ca: Some((power_w / 7.0) as i32),
        current_c_ca: Some((power_w / 6.8) as i32),
        ..Quantities::default()
    };
    let consumed_wh = (since_ms / 1_000) as u64;
    let second = match plant {
        0 => {
            for share in [0.25, 0.25, 0.2, 0.25] {
                let power_w = Some((power_w * share) as i32);
                let input = Mppt {
                    voltage_dv: Some(6_000),
                    current_ca: None,
                    power_w,
                };
                inverter.mppt.push(input).unwrap();
            }
            Quantities {
                irradiance_dwm2: Some((sun(at_ms) * 12_500.0) as i32),
                module_temperature_dc: Some(250),
                ..Quantities::default()
            }
        }
        1 => Quantities {
            import_wh: Some(5_000),
            export_wh: Some(5_000 + (made_wh * 0.5) as u64),
            ..Quantities::default()
        },
        2 => Quantities {
            import_wh: Some(5_000 + consumed_wh * 2),
            ..Quantities::default()
        },
        _ => Quantities::default(),
    };
    [(1, inverter), (2, second)]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .collect()
}

/// Delivers three days of a plant as a gateway does.
fn deliver(installation: &Installation, plant: usize, now_ms: i64) {
    let start_ms = (now_ms - DAYS * DAY_MS).div_euclid(STEP_MS) * STEP_MS;
    let (mut at_ms, mut made_wh, mut first) = (start_ms, 0.0, 0_u32);
    while at_ms < now_ms {
        let mut records = Vec::new();
        let mut count = 0;
        while at_ms < now_ms && count < 200 {
            for (address, values) in readings(plant, at_ms, at_ms - start_ms, made_wh) {
                let reading = Reading {
                    meter: MeterAddress::new(address).unwrap(),
                    stamp: Stamp {
                        ms: u64::try_from(at_ms).unwrap(),
                        clock: Clock::Synced,
                    },
                    outcome: Outcome::Values(values),
                };
                records.extend_from_slice(Record::Reading(reading).encode(&mut [0; RECORD_LEN_MAX]).unwrap());
                count += 1;
            }
            made_wh += sun(at_ms + STEP_MS / 2) * 10_000.0 / 12.0;
            at_ms += STEP_MS;
        }
        let mut writer = BatchWriter::new();
        let device = format!("p{plant}-01");
        assert!(writer.push(&BatchItem {
            position: u64::from(first) + 1,
            received_ms: u64::try_from(now_ms).unwrap(),
            device: &device,
            incarnation: 7,
            boot: 1,
            first,
            hold: None,
            records: &records,
        }));
        first += count;
        let token = format!("Bearer {TOKEN}");
        let headers = [("authorization", token.as_str())];
        let answer = request(
            "POST",
            installation.http,
            "/api/v1/batches",
            &headers,
            &writer.finish(),
        )
        .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[test]
fn every_documented_route_answers_as_documented_and_a_schedule_is_imported_from_a_file() {
    let installation = Installation::new(&fleet(), Way::Door);
    let _ingest = installation.start_ingest();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for plant in 0..5 {
        deliver(&installation, plant, now_ms);
    }
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/openapi/check.py");
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api/openapi.json");
    let output = Command::new(taraz_test_support::python())
        .args([
            "-B",
            check,
            document,
            &format!("http://{}", installation.http),
            TOKEN,
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");

    // 1 kWh scheduled for each of yesterday's hours, imported beside the running ingest.
    let day_ms = taraz_analytics::calendar::day_bounds_ms(now_ms - DAY_MS).0;
    let row = |hour: i64| {
        let start = jiff::Timestamp::from_millisecond(day_ms + hour * 3_600_000).unwrap();
        format!("p3,{start},60,1.0\n")
    };
    let schedule = (0..24).map(row).collect::<String>();
    let file = installation.folder().join("schedule.csv");
    let import = || {
        Command::new(TARAZ)
            .args(["schedule", "import", "schedule.csv", "--config", "taraz.toml"])
            .current_dir(installation.folder())
            .output()
            .unwrap()
    };
    std::fs::write(&file, &schedule).unwrap();
    let refused = import();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("schedule.csv: line 1: expected the head plant,start"),
        "{said}"
    );
    std::fs::write(&file, format!("plant,start,minutes,scheduled_kwh\n{schedule}")).unwrap();
    let imported = import();
    let said = String::from_utf8_lossy(&imported.stdout).into_owned();
    assert!(
        imported.status.success() && said.contains("24 settlement periods of 1 plant"),
        "{said}"
    );
    let from = jiff::Timestamp::from_millisecond(day_ms).unwrap();
    let to = jiff::Timestamp::from_millisecond(day_ms + DAY_MS).unwrap();
    let path = format!("/api/v1/imbalances/settlement?plant=p3&period=60m&from={from}&to={to}");
    let settled = get(installation.http, &path).unwrap().json();
    let summary = &settled["summary"];
    assert_eq!(
        (
            summary["valid_periods"].as_i64(),
            summary["scheduled_wh"].as_i64()
        ),
        (Some(24), Some(24_000)),
        "{settled}"
    );
    let intervals = format!("/api/v1/plants/p3/intervals?from={from}&to={to}&step=1d");
    let made_wh = get(installation.http, &intervals).unwrap().json()["intervals"][0]["generated_wh"].as_i64();
    assert_eq!(
        summary["deviation_wh"].as_i64(),
        made_wh.map(|wh| wh - 24_000),
        "{settled}"
    );
}

const LIMIT: Duration = Duration::from_secs(60);
const DEVICE: &str = "p0-01";

/// A text as MQTT has it (5.0, 1.5.4).
fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&len, text.as_bytes()].concat()
}

/// A packet that is short enough for one byte of length.
fn packet(head: u8, body: &[u8]) -> Vec<u8> {
    let len = u8::try_from(body.len()).unwrap();
    assert!(len < 128);
    [&[head, len], body].concat()
}

/// A session of the device that states itself online and publishes what is no frame.
fn talk_nonsense(installation: &Installation) -> TcpStream {
    let id = DeviceId::new(DEVICE).unwrap();
    let key = installation.master.device_key(&id, 1);
    // The page may be there before the door.
    let mut stream = wait_for(LIMIT, "the door", || {
        TcpStream::connect(("127.0.0.1", installation.mqtt_port()))
    });
    // MQTT 5, user and password, a clean start, keep alive 60 s, no properties.
    let head = [&text("MQTT")[..], &[5, 0xC2, 0, 60, 0]].concat();
    let body = [head, text("a"), text(DEVICE), text(key.mqtt_password().as_str())].concat();
    stream.write_all(&packet(0x10, &body)).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    for (channel, number, payload) in [("state", 1, "online"), ("up", 2, "nonsense")] {
        let topic = text(&format!("taraz/1/{DEVICE}/{channel}"));
        let body = [&topic[..], &[0, number, 0], payload.as_bytes()].concat();
        stream.write_all(&packet(0x32, &body)).unwrap();
    }
    stream
}

#[test]
fn what_a_gateway_shows_is_served_by_up_and_by_a_gateway_alone() {
    let installation = Installation::new(&fleet(), Way::Door);
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/openapi/check.py");
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/api/openapi.json");
    for (what, http) in [("up", installation.http), ("gateway", installation.gateway_http)] {
        let arguments = [what, "--config", "taraz.toml"];
        let mut process = Process::taraz(TARAZ, what, &arguments, installation.folder());
        process.wait_accepting(LIMIT, http);
        let _session = talk_nonsense(&installation);
        wait_for(LIMIT, "a refused message", || {
            let refused = get(http, "/api/v1/refused")?;
            let there = refused.status == 200 && refused.body.contains("6e6f6e73656e7365");
            there.then_some(()).ok_or(refused.body)
        });
        let url = format!("http://{http}");
        let output = Command::new(taraz_test_support::python())
            .args(["-B", check, document, &url, TOKEN, "gateway"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        process.signal(Signal::Terminate);
        assert!(process.wait(LIMIT).success());
    }
}
