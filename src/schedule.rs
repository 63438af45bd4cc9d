//! `taraz schedule import`: a file of somebody's into an ingest's data folder.

use anyhow::Context as _;
use taraz_ingest::Schedules;

use crate::cli::ScheduleCommand;
use crate::out::say;
use crate::report::installation;

pub(crate) fn run(command: &ScheduleCommand) -> anyhow::Result<()> {
    let ScheduleCommand::Import(args) = command;
    let (fleet, data) = installation(&args.source)?;
    let shown = args.file.display();
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("{shown}: can't be read"))?;
    let schedules = Schedules::new(&data, fleet);
    let imported = schedules.import(&text).with_context(|| shown.to_string())?;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    say!(
        "{} settlement period{} of {} plant{}",
        imported.periods,
        plural(imported.periods),
        imported.plants.len(),
        plural(imported.plants.len())
    );
    Ok(())
}
