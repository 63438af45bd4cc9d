//! The demo: twelve plants of municipalities, villages and agencies in four districts of Mazandaran.

/// The registry of the demo's plants, in the shape of `fleet.toml`.
#[must_use]
pub fn fleet_toml() -> &'static str {
    include_str!("../demo/fleet.toml")
}

/// What the demo's plants replay, in the shape of `simulation.toml`; to be read with [`fleet_toml`].
#[must_use]
pub fn simulation_toml() -> &'static str {
    include_str!("../demo/simulation.toml")
}
