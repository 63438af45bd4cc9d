//! The fleet registry: owners, sites, plants, devices and meters as `fleet.toml` states them, checked whole.
//!
//! In: the text of `fleet.toml`. Out: a [`Fleet`] whose references all resolve. It never holds a secret and never
//! changes while a program runs.

mod check;
mod model;

pub use check::FleetError;
pub use model::{
    Array, Device, DeviceRef, District, Fleet, METERS_MAX, Meter, Owner, OwnerKind, Plant, Site,
};

/// A complete, commented example of `fleet.toml`; a test holds it parseable.
pub const EXAMPLE: &str = include_str!("example.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_parses_and_its_references_resolve() {
        let fleet = Fleet::parse(EXAMPLE).unwrap();
        let device = fleet.device(&"sari-01".parse().unwrap()).unwrap();
        assert_eq!(device.plant.id, "sari-roof-1");
        assert_eq!(device.device.meters.len(), 2);
        assert_eq!(device.plant.peak_w(), 30_000);
        assert_eq!(fleet.plants_at("sari-town-hall").count(), 1);
    }

    #[test]
    fn an_error_names_key_value_and_what_is_allowed() {
        let text = EXAMPLE.replace("district = \"sari\"\nsite", "district = \"babol\"\nsite");
        let error = Fleet::parse(&text).unwrap_err().to_string();
        assert_eq!(
            error,
            "fleet.toml: plant sari-roof-1: district = \"babol\": one of: sari"
        );
        let text = EXAMPLE.replace("latitude_deg = 36.563", "latitude_deg = 136.0");
        assert!(Fleet::parse(&text).unwrap_err().to_string().contains("-90 to 90"));
        let text = EXAMPLE.replace("altitude_m", "altitude_ft");
        assert!(
            Fleet::parse(&text)
                .unwrap_err()
                .to_string()
                .contains("altitude_ft")
        );
    }
}
