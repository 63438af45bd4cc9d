//! Status, network and queue in words.

use core::fmt;
use core::net::Ipv4Addr;

use embedded_io_async::Write;
use taraz_telemetry::{Clock, PollStatus, ResetCause};

use super::host::{ConsoleDevice, ConsoleHost, NetStatus};
use super::terminal::{Terminal, say};
use crate::app::{DeviceStatus, LastPoll, LinkState, MeterStatus, PollGlance, TimeServerState};
use crate::field::BusDesk;
use crate::meters::poll_advice;
use crate::queue::Found;

const MS_PER_DAY: u64 = 86_400_000;
/// A DHCP server that has not answered by then is missing: smoltcp asks every 10 s.
const DHCP_WAIT_MS_MAX: u64 = 15_000;

pub(super) async fn status<W: Write, D: ConsoleDevice>(
    terminal: &mut Terminal<W>,
    device: &D,
    desk: &BusDesk,
    host: &impl ConsoleHost,
) -> Result<(), W::Error> {
    let status = device.status();
    say!(
        terminal,
        "device  {}, firmware {} on {}",
        device.id(),
        device.firmware(),
        host.board()
    );
    say!(
        terminal,
        "up      {}, start {} ({})",
        Duration(status.uptime_ms),
        status.boot,
        cause(status.reset_cause)
    );
    if let Some(last) = host.last_run() {
        say!(terminal, "last run: {last}");
    }
    clock(terminal, &status).await?;
    link(terminal, &status).await?;
    say!(
        terminal,
        "queue   {} of {} records wait, {} dropped",
        status.pending_records,
        status.capacity_records,
        status.dropped_records
    );
    if let Some(bytes) = status.stack_high_water_bytes {
        say!(terminal, "stack   {bytes} bytes used at most");
    }
    meters(terminal, device, desk).await
}

async fn clock<W: Write>(terminal: &mut Terminal<W>, status: &DeviceStatus) -> Result<(), W::Error> {
    let clock = &status.clock;
    let quality = match clock.clock {
        Clock::Synced => "synced",
        Clock::Holdover => "held over",
        Clock::Unsynced => "unsynced",
    };
    match (clock.utc_ms, clock.error_ms, clock.last_sync_age_ms) {
        (Some(utc_ms), Some(error_ms), Some(age_ms)) => {
            say!(
                terminal,
                "clock   {}, {quality}: off by {error_ms} ms at most, compared {} ago",
                Utc(utc_ms),
                Duration(age_ms)
            );
            if let TimeServerState::Failed(failure) = status.time_server {
                say!(terminal, "        since then: {failure}");
            }
        }
        _ => unknown_clock(terminal, status.time_server).await?,
    }
    Ok(())
}

/// Not asked yet, waiting and no answer are three things.
async fn unknown_clock<W: Write>(
    terminal: &mut Terminal<W>,
    server: TimeServerState,
) -> Result<(), W::Error> {
    match server {
        TimeServerState::NotAsked => {
            say!(
                terminal,
                "clock   not known yet: the time server has not been asked yet"
            );
        }
        TimeServerState::Waiting => {
            say!(
                terminal,
                "clock   not known yet: waiting for the time server's answer"
            );
        }
        TimeServerState::Answered => {
            say!(
                terminal,
                "clock   not known yet: the time server answers and is being checked"
            );
        }
        TimeServerState::Failed(failure) => say!(terminal, "clock   unknown: {failure}"),
    }
    say!(terminal, "        readings are kept and get their time later");
    Ok(())
}

async fn link<W: Write>(terminal: &mut Terminal<W>, status: &DeviceStatus) -> Result<(), W::Error> {
    let sessions = status.link_connects;
    match status.link {
        LinkState::Connecting => say!(
            terminal,
            "link    waiting for the broker: the first attempt has not ended yet"
        ),
        LinkState::Online => say!(terminal, "link    online, session {sessions}"),
        LinkState::Offline(error) => say!(terminal, "link    offline after {sessions} sessions: {error}"),
    }
    Ok(())
}

async fn meters<W: Write, D: ConsoleDevice>(
    terminal: &mut Terminal<W>,
    device: &D,
    desk: &BusDesk,
) -> Result<(), W::Error> {
    let meters = device.meters();
    let searching = if desk.is_searching() { ", searching" } else { "" };
    match desk.line() {
        Some(line) => say!(terminal, "bus     {line}, meters: {}{searching}", meters.len()),
        None => say!(
            terminal,
            "bus     speed and parity not known yet{searching}; meters: {}, asked once they are known",
            meters.len()
        ),
    }
    if meters.is_empty() {
        return Ok(());
    }
    say!(
        terminal,
        "meter  driver    last poll         value  requests  damaged  unanswered  refused"
    );
    for meter in &meters {
        meter_line(terminal, meter).await?;
    }
    Ok(())
}

async fn meter_line<W: Write>(terminal: &mut Terminal<W>, meter: &MeterStatus) -> Result<(), W::Error> {
    let counters = &meter.counters;
    // Texts are padded by their length, which a formatter of several parts does not know.
    let (mut age, mut value) = (heapless::String::<16>::new(), heapless::String::<16>::new());
    let mut advice = None;
    let written = match meter.last {
        None if meter.is_being_polled => fmt::write(&mut age, format_args!("waiting")),
        None => fmt::write(&mut age, format_args!("not asked yet")),
        Some(LastPoll { age_ms, result }) => {
            advice = result.err();
            let value = fmt::write(&mut value, format_args!("{}", Glance(result)));
            fmt::write(&mut age, format_args!("{} ago", Duration(age_ms))).and(value)
        }
    };
    // What is too long for its column is cut.
    let _ = written;
    say!(
        terminal,
        "{:>5}  {:<9} {age:<13}{value:>10}  {:>8}  {:>7}  {:>10}  {:>7}",
        meter.settings.address.get(),
        meter.settings.driver.as_str(),
        counters.requests,
        counters.damaged(),
        counters.timeouts,
        counters.exceptions
    );
    if let Some(status) = advice {
        say!(terminal, "       {}", poll_advice(status));
    }
    Ok(())
}

pub(super) async fn queue<W: Write, D: ConsoleDevice>(
    terminal: &mut Terminal<W>,
    device: &D,
) -> Result<(), W::Error> {
    let (status, meters) = (device.status(), device.meters().len());
    let percent = u64::from(status.pending_records) * 100 / u64::from(status.capacity_records.max(1));
    say!(
        terminal,
        "waiting    {} records of {} ({percent} %)",
        status.pending_records,
        status.capacity_records
    );
    say!(
        terminal,
        "dropped    {} records since the start",
        status.dropped_records
    );
    say!(
        terminal,
        "in flight  frames: {}, sent again since the start: {}",
        status.frames_in_flight,
        status.repeated_frames
    );
    if status.retired_blocks > 0 {
        say!(
            terminal,
            "worn       {} blocks of the flash are not used any more: plan to replace the board",
            status.retired_blocks
        );
    }
    if status.found != Found::Own {
        say!(terminal, "formatted  at the start: {}", status.found);
    }
    let per_day = MS_PER_DAY * meters as u64 / u64::from(device.poll_interval_ms().max(1));
    if let Some(tenths) = (u64::from(status.capacity_records) * 10).checked_div(per_day) {
        say!(
            terminal,
            "room       {}.{} days (meters: {meters}, each every {} ms)",
            tenths / 10,
            tenths % 10,
            device.poll_interval_ms()
        );
    }
    Ok(())
}

pub(super) async fn net<W: Write>(
    terminal: &mut Terminal<W>,
    net: Option<&NetStatus>,
) -> Result<(), W::Error> {
    let Some(net) = net else {
        say!(
            terminal,
            "the network was not started: the device does not run; `status` says why"
        );
        return Ok(());
    };
    let [a, b, c, d, e, f] = net.hardware_address;
    say!(
        terminal,
        "ethernet  {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
    );
    if let Some(plugged) = net.cable {
        let cable = if plugged {
            "plugged in"
        } else {
            "not plugged in, or the switch is off"
        };
        say!(terminal, "cable     {cable}");
    }
    let waited = Duration(net.address_wait_ms);
    match net.address {
        Some((address, bits)) => say!(terminal, "address   {}/{bits}", Ipv4Addr::from(address)),
        None if net.cable == Some(false) => {
            say!(
                terminal,
                "address   none: the DHCP server is asked when the cable is plugged in"
            );
        }
        None if net.address_wait_ms <= DHCP_WAIT_MS_MAX => {
            say!(
                terminal,
                "address   none yet: waiting for the DHCP server ({waited})"
            );
        }
        None => say!(
            terminal,
            "address   none: no DHCP server has answered for {waited}; `config set network` gives a fixed one"
        ),
    }
    for (name, address) in [("router  ", net.gateway), ("dns     ", net.dns)] {
        if let Some(address) = address {
            say!(terminal, "{name}  {}", Ipv4Addr::from(address));
        }
    }
    Ok(())
}

const fn cause(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::Unknown => "cause unknown",
        ResetCause::PowerOn => "power on",
        ResetCause::Watchdog => "watchdog",
        ResetCause::Panic => "panic",
        ResetCause::Requested => "requested",
        ResetCause::BrownOut => "supply voltage too low",
    }
}

struct Glance(Result<PollGlance, PollStatus>);

impl fmt::Display for Glance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = match self.0 {
            Ok(values) => values,
            Err(PollStatus::Timeout) => return f.write_str("no answer"),
            Err(PollStatus::BadFrame) => return f.write_str("damaged"),
            Err(PollStatus::Exception(_)) => return f.write_str("refused"),
            Err(PollStatus::NotUnderstood | PollStatus::Unstable) => return f.write_str("no values"),
        };
        match (values.ac_power_w, values.irradiance_dwm2) {
            (Some(power_w), _) => write!(f, "{power_w} W"),
            (None, Some(dwm2)) => write!(f, "{}.{} W/m2", dwm2 / 10, (dwm2 % 10).abs()),
            (None, None) => f.write_str("answered"),
        }
    }
}

/// A time span: `1 d 02:03:04`, or seconds below a minute.
pub(super) struct Duration(pub(super) u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0 / 1_000;
        let (d, h, min) = (s / 86_400, s / 3_600 % 24, s / 60 % 60);
        if s < 60 {
            return write!(f, "{s} s");
        }
        if d > 0 {
            write!(f, "{d} d ")?;
        }
        write!(f, "{h:02}:{min:02}:{:02}", s % 60)
    }
}

/// An instant of UTC in ms since 1970: `2026-11-23 18:20:01 UTC`.
struct Utc(u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0 / 1_000;
        let (year, month, day) = date(s / 86_400);
        let (h, min) = (s / 3_600 % 24, s / 60 % 60);
        write!(f, "{year}-{month:02}-{day:02} {h:02}:{min:02}:{:02} UTC", s % 60)
    }
}

/// The Gregorian date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`).
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = year_of_era + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_spans() {
        let utc = |s: u64| std::format!("{}", Utc(s * 1_000));
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_000_000), "2026-11-18 11:06:40 UTC");
        assert_eq!(utc(4_107_542_399), "2100-02-28 23:59:59 UTC");
        let span = |s: u64| std::format!("{}", Duration(s * 1_000));
        assert_eq!((span(0).as_str(), span(59).as_str()), ("0 s", "59 s"));
        assert_eq!(
            (span(61).as_str(), span(93_784).as_str()),
            ("00:01:01", "1 d 02:03:04")
        );
    }
}
