//! Inverters and meters to talk to over Modbus, replaying real measured plants, with a journal of what was answered.
