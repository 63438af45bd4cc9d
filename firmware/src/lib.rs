//! The device without its hardware: Modbus master, SunSpec, meters, poll schedule, queue, clock and MQTT link.
