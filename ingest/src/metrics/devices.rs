//! What is stated of devices: when they were read, how they are by their own diagnostics, and their buses.
//!
//! Counters of a device fall when it starts anew, which Prometheus knows as a reset; they are absent while a backlog drains.

use super::{Scrape, families, float};
use crate::view::{DeviceHealth, MeterHealth};

families! {
    devices of s:
    Gauge "solar_device_info" ["device", "plant"]
        "A registered device."
        |lines| for plant in &s.fleet.plants {
            for device in &plant.devices {
                lines.add([device.id.as_str(), &plant.id], Some(1.0));
            }
        };
    Gauge "solar_last_reading_timestamp_seconds" ["device"]
        "When the newest stored reading of a device was taken."
        |lines| for device in &s.view.devices {
            lines.add([device.id.as_str()], device.last_reading_ms.map(|ms| float(ms) / 1_000.0));
        };
    Gauge "solar_device_start_info" ["cause", "device", "firmware"]
        "Why a device started last, and what runs on it."
        |lines| s.health(|device, health| if let (Some(cause), Some(firmware)) = (health.reset_cause, &health.firmware) {
            lines.add([cause, device, firmware], Some(1.0));
        });
    Gauge "solar_device_uptime_seconds" ["device"]
        "Time since a device started."
        |lines| s.health(|device, health| lines.add([device], Some(float(health.uptime_s))));
    Gauge "solar_device_queue_records" ["device"]
        "Records that a device has written and not yet had acknowledged."
        |lines| s.health(|device, health| lines.add([device], Some(float(health.queue_records))));
    Gauge "solar_device_queue_capacity_records" ["device"]
        "Records that the queue of a device can hold."
        |lines| s.health(|device, health| lines.add([device], Some(float(health.queue_capacity_records))));
    Gauge "solar_device_stack_high_water_bytes" ["device"]
        "The most stack that the program of a device ever used; absent where it can't be measured."
        |lines| s.health(|device, health| lines.add([device], health.stack_high_water_bytes.map(float)));
    Counter "solar_device_boots_total" ["device"]
        "Starts of a device since its queue was formatted. This and the other counters by its newest diagnostics; absent while a backlog drains."
        |lines| s.settled(|_, device, health| lines.add([device], Some(float(health.boot))));
    Counter "solar_device_dropped_records_total" ["device"]
        "Records that the full queue of a device overwrote, since its start."
        |lines| s.settled(|_, device, health| lines.add([device], Some(float(health.dropped_records))));
    Counter "solar_device_link_connects_total" ["device"]
        "Sessions of a device with the broker, since its start."
        |lines| s.settled(|_, device, health| lines.add([device], Some(float(health.link_connects))));
    Counter "solar_bus_requests_total" ["device", "meter", "plant"]
        "Modbus requests to a meter since its device started, each try counted."
        |lines| s.buses(|labels, meter| lines.add(labels, Some(float(meter.requests))));
    Counter "solar_bus_errors_total" ["device", "kind", "meter", "plant"]
        "Modbus requests that gave nothing, since the device started. crc: damaged answer; timeout: no answer; exception: refused."
        |lines| s.buses(|[device, address, plant], meter| {
            for (kind, count) in [("crc", meter.crc_errors), ("timeout", meter.timeouts), ("exception", meter.exceptions)] {
                lines.add([device, kind, address, plant], Some(float(count)));
            }
        });
}

impl Scrape<'_> {
    fn health(&self, mut each: impl FnMut(&str, &DeviceHealth)) {
        for device in &self.view.devices {
            if let Some(health) = &device.health {
                each(device.id.as_str(), health);
            }
        }
    }

    /// Devices of plants that send no backlog, with their plant.
    fn settled(&self, mut each: impl FnMut(&str, &str, &DeviceHealth)) {
        for device in &self.view.devices {
            if let Some(health) = &device.health
                && !self.draining.contains(device.plant.as_str())
            {
                each(&device.plant, device.id.as_str(), health);
            }
        }
    }

    /// Their meters with their labels: device, meter, plant.
    fn buses(&self, mut each: impl FnMut([&str; 3], &MeterHealth)) {
        self.settled(|plant, device, health| {
            for meter in &health.meters {
                each([device, &meter.meter.to_string(), plant], meter);
            }
        });
    }
}
