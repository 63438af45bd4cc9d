//! `taraz device flash`: an image onto a board, over the drive that its boot loader shows.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use taraz_fieldkit::{
    BootDrive, DriveError, FLASH_FILE_LEN, Medium, Places, Restarted, device_of, is_plugged_in,
    wait_for_drive, write_image,
};

use crate::cli::FlashArgs;
use crate::out::say;

/// Writes the image and waits until the board runs it.
pub(super) fn run(args: &FlashArgs) -> anyhow::Result<()> {
    let shown = args.image.display();
    let image = std::fs::read(&args.image).with_context(|| {
        format!(
            "--image {shown}: can't be read; `taraz device image {}` makes one",
            args.device
        )
    })?;
    if image.len() as u64 == FLASH_FILE_LEN {
        bail!("{shown}: the emulator's flash needs no writing: start the emulator in its folder");
    }
    let (board, page) = device_of(&image).with_context(|| shown.to_string())?;
    if page.device != args.device {
        bail!(
            "{shown}: it is the image of {}, not of {}",
            page.device,
            args.device
        );
    }
    let Medium::Uf2 { drive: boot, .. } = &board.medium else {
        bail!("{} has no boot loader to write to", board.name);
    };
    let places = args.drive.clone().map_or(Places::Mounted, Places::At);
    let patience = Duration::from_secs(args.wait_s);
    let drive = wait_for_drive(boot, &places, patience, || ask(args, board.about, boot)).map_err(
        |error| match error {
            DriveError::NotFound { .. } => anyhow!("{error}: {}", hint(boot)),
            told => told.into(),
        },
    )?;
    say!("{}: writing {} bytes", drive.path.display(), image.len());
    match write_image(&drive, &image, Duration::from_secs(args.restart_s))? {
        Restarted::Whole => say!("{}: written; the board has restarted with it", args.device),
        Restarted::Early(error) => say!(
            "{}: the board left its drive while the system was still writing ({error}): usually it had everything and restarted. \
             Its console says which device it is; if the drive {} comes back, try again",
            args.device,
            boot.volume
        ),
    }
    say!(
        "next: its first readings stand on the page within minutes; what to do when nothing comes: docs/field-guide.md"
    );
    Ok(())
}

fn ask(args: &FlashArgs, about: &str, boot: &BootDrive) {
    say!("{about}: {}; then its drive {} appears", boot.how, boot.volume);
    match &args.drive {
        Some(path) => say!("waiting for it at {} (at most {} s)", path.display(), args.wait_s),
        None => say!("waiting for it (at most {} s)", args.wait_s),
    }
}

/// What to do when the drive was not found.
fn hint(boot: &BootDrive) -> String {
    let BootDrive { volume, how, .. } = boot;
    if is_plugged_in(volume) {
        return format!(
            "{volume} is plugged in and not mounted: `udisksctl mount -b /dev/disk/by-label/{volume}`, or name its folder with --drive"
        );
    }
    format!(
        "{how}; a cable that only charges shows no drive. Is it mounted elsewhere? Name its folder with --drive"
    )
}
