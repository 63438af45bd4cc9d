//! The fleet registry: owners, plants, devices and meters as fleet.toml states them, checked whole.
