//! `taraz simulate`: inverters and meters to talk to.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use taraz_fleet::Fleet;
use taraz_simulator::{Options, Simulation, Simulator, Transport, demo};

use crate::cli::SimulateArgs;
use crate::out::say;
use crate::{runtime, stop};

/// `taraz simulate`
pub(crate) fn run(args: &SimulateArgs) -> anyhow::Result<()> {
    let simulation = read(args)?;
    let options = Options {
        transport: if args.tcp {
            Transport::ModbusTcp
        } else {
            Transport::RtuOverTcp
        },
        listen: args.listen,
        first_port: (args.first_port != 0).then_some(args.first_port),
        pty: args.pty,
        follow_clock: args.follow_clock,
        journal: args.journal.clone(),
        faults: args.faults.clone(),
        offset_ms: args.offset_s.saturating_mul(1_000),
    };
    let scheme = if args.tcp { "modbus-tcp" } else { "tcp" };
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let running = Simulator::start(simulation, options, stop).await?;
        for (device, address) in &running.buses {
            match running.ptys.get(device) {
                Some(path) => say!("bus {device} serial:{path} (and tcp://{address})"),
                None => say!("bus {device} {scheme}://{address}"),
            }
        }
        say!("taraz simulate: {} buses · Ctrl-C stops", running.buses.len());
        running
            .stopped()
            .await
            .context("the journal could not be written")?;
        say!("taraz simulate: stopped");
        Ok(())
    })
}

fn read(args: &SimulateArgs) -> anyhow::Result<Simulation> {
    // What is not given is the demo's, under the name that its example has.
    let file = |path: &Option<PathBuf>, name: &str, demo: &str| match path {
        Some(path) => Ok((path.display().to_string(), read_file(path)?)),
        None => anyhow::Ok((name.to_owned(), demo.to_owned())),
    };
    let (name, text) = file(&args.fleet, "fleet.toml", demo::fleet_toml())?;
    let fleet = Fleet::read(&name, &text)?;
    let (name, text) = file(&args.plants, "simulation.toml", demo::simulation_toml())?;
    Ok(Simulation::read(&name, &text, &fleet)?)
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}: can't be read", path.display()))
}
