//! `taraz device add`: a device into the registry.

use anyhow::Context as _;
use taraz_fieldkit::{NewDevice, add_device, replace};

use crate::cli::AddArgs;
use crate::config::Config;
use crate::out::say;

/// Registers the device and says what is next.
pub(super) fn run(args: &AddArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    let path = &config.fleet_path;
    let shown = path.display();
    let new = NewDevice {
        id: args.device.clone(),
        plant: args.plant.clone(),
        meters: args.meters.clone(),
    };
    let text = std::fs::read_to_string(path).with_context(|| shown.to_string())?;
    let added =
        add_device(&shown.to_string(), &text, &new).with_context(|| format!("{shown} is unchanged"))?;
    replace(path, &text, &added).with_context(|| format!("{shown} is unchanged"))?;
    let (device, installation) = (&args.device, args.config.display());
    let meters: Vec<_> = args
        .meters
        .iter()
        .map(|meter| meter.address.to_string())
        .collect();
    say!(
        "{device}: registered in {shown}, plant {}, meters at {}",
        args.plant,
        meters.join(", ")
    );
    say!(
        "next: restart gateway and ingest (`taraz up --config {installation}`): they read the registry when they start; then\n  \
         taraz device image {device} --board w5500-evb-pico --broker HOST --config {installation} --out {device}.uf2"
    );
    Ok(())
}
