//! `taraz device scan`: who is on a bus.

use anyhow::Context as _;
use taraz_device_host::{BusAddress, DetectSummary, DetectedUnit, ScanEvent, ScanOptions, UnitKind, scan};

use crate::cli::ScanArgs;
use crate::out::say;
use crate::{runtime, stop};

/// `taraz device scan`
pub(crate) fn run(args: &ScanArgs) -> anyhow::Result<()> {
    let options = ScanOptions {
        full: args.full,
        lines: args.lines,
    };
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let mut meters = Vec::new();
        let searching = scan(&args.bus, options, |event| tell(&args.bus, &event, &mut meters));
        let summary = tokio::select! {
            summary = searching => summary.with_context(|| trouble(&args.bus))?,
            () = stop.cancelled() => return Ok(()),
        };
        say!("{}", outcome(&summary, &meters));
        Ok(())
    })
}

/// What to look for when the bus can't be used; the reason stands behind it.
fn trouble(bus: &BusAddress) -> String {
    match bus {
        BusAddress::Serial { path, .. } if !path.exists() => format!(
            "{} is not there: is the adaptor plugged in? `ls /dev/ttyUSB* /dev/ttyACM*` shows its name",
            path.display()
        ),
        BusAddress::Serial { path, .. } => format!(
            "{} can't be used: another program may have it; if you may not, `sudo usermod -aG dialout $USER` and sign in again",
            path.display()
        ),
        BusAddress::Tcp { host, port } => {
            format!("{host}:{port} can't be used: is it the address and port of the RS-485 gateway?")
        }
    }
}

fn tell(bus: &BusAddress, event: &ScanEvent, meters: &mut Vec<String>) {
    match event {
        ScanEvent::Line(line) => match bus {
            BusAddress::Tcp { .. } => say!("searching {bus}"),
            BusAddress::Serial { .. } => say!("searching at {line}"),
        },
        ScanEvent::Unit(unit) => {
            say!("{}", unit_text(unit));
            if let UnitKind::Meter(driver) = unit.kind {
                meters.push(format!("{}:ROLE:{}", unit.address, driver.as_str()));
            }
        }
    }
}

fn unit_text(unit: &DetectedUnit) -> String {
    let kind = match unit.kind {
        UnitKind::Meter(driver) => driver.as_str(),
        UnitKind::OtherSunspec => "a SunSpec device that is neither inverter nor meter",
        UnitKind::Unknown => "answers, but its registers are none we know",
        UnitKind::Damaged => "damaged answers: most likely two units have this address",
    };
    let named: Vec<_> = [unit.maker.as_str(), unit.model.as_str()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    let mut text = format!("unit {:>3}  {kind}", unit.address.get());
    if !named.is_empty() {
        text += &format!(", {}", named.join(" "));
    }
    if !unit.serial.is_empty() {
        text += &format!(", serial {}", unit.serial);
    }
    text
}

fn outcome(summary: &DetectSummary, meters: &[String]) -> String {
    let requests = summary.requests;
    if summary.answers == 0 && summary.damaged > 0 {
        return format!(
            "{} of {requests} requests got noise: somebody is there; check A/B, termination, other masters; try --lines",
            summary.damaged
        );
    }
    if summary.answers == 0 {
        return format!(
            "silence on {requests} requests: check wiring (A/B), power and addresses; --lines and --full try all"
        );
    }
    if meters.is_empty() {
        return "no meter that can be read".to_owned();
    }
    let options: Vec<_> = meters.iter().map(|meter| format!("--meter {meter}")).collect();
    format!("for `taraz device add`: {}", options.join(" "))
}
