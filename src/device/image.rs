//! `taraz device image`: a board's program with the configuration page of one device.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use taraz_fieldkit::{Board, Medium, PageSettings, Program, Written, board, device_page, pack, write_page};
use taraz_telemetry::{DevicePage, PageNetwork};

use crate::cli::ImageArgs;
use crate::config::{Config, write_secret};
use crate::out::say;

/// Makes the image and says what is next.
pub(super) fn run(args: &ImageArgs) -> anyhow::Result<()> {
    let board = board(&args.board)?;
    let config = Config::read(&args.config)?;
    let settings = PageSettings {
        broker: args.broker.clone(),
        sntp: args.sntp.clone(),
        network: args.fixed.unwrap_or(PageNetwork::Dhcp),
        bus: args.bus,
        poll_interval_ms: args.poll_interval_s * 1_000,
        detect_meters: args.detect_meters,
    };
    let page = device_page(
        &config.fleet,
        config.master_key()?,
        &args.device,
        board,
        &settings,
    )?;
    match board.medium {
        Medium::Uf2 { .. } => uf2(args, board, &page),
        Medium::FlashFile => flash_file(args, board, &page),
    }
}

fn uf2(args: &ImageArgs, board: &Board, page: &DevicePage) -> anyhow::Result<()> {
    let path = match &args.program {
        Some(path) => path.clone(),
        None => built(board).with_context(|| missing(board))?,
    };
    let program = read_program(&path, board)?;
    if args.out.exists() {
        bail!(
            "{}: it is there already and is never replaced: delete it, or name another file with --out",
            args.out.display()
        );
    }
    let image = pack(&program, page, board, args.format)?;
    write_secret(&args.out, &image.bytes)?;
    let (out, device) = (args.out.display(), &args.device);
    say!(
        "{out}: {device} on {}, program {} from {}; it holds the device's key",
        board.name,
        program.version,
        path.display()
    );
    if args.format {
        say!("it erases the board's queue each time it is written");
    }
    say!("next: taraz device flash {device} --image {out}");
    Ok(())
}

fn flash_file(args: &ImageArgs, board: &Board, page: &DevicePage) -> anyhow::Result<()> {
    // The program stays beside the flash file; it is only looked at, so that a wrong one is found now.
    let path = args.program.clone().or_else(|| built(board));
    let program = path
        .as_deref()
        .map(|path| read_program(path, board))
        .transpose()?;
    let written = write_page(&args.out, page, args.format).with_context(|| args.out.display().to_string())?;
    let (out, device) = (args.out.display(), &args.device);
    let queue = match written {
        Written::New => "new, with an empty queue",
        Written::PageOnly => "its queue is as it was",
        Written::Formatted => "its queue was erased",
    };
    say!(
        "{out}: {device} on {}; {queue}; it holds the device's key",
        board.name
    );
    match (path, program) {
        (Some(path), Some(program)) => say!(
            "next: `cargo xtask qemu` tries a board with all that it needs. This one, from the folder of {out} (the board \
             reads flash.img there), with program {} and its bus at the port that `taraz simulate` prints:\n  \
             qemu-system-arm -M lm3s6965evb -display none -monitor none -nic user -serial stdio \\\n    \
             -chardev socket,id=bus,host=127.0.0.1,port=PORT,reconnect=1 -serial chardev:bus \\\n    \
             -semihosting-config enable=on,target=native -kernel {}",
            program.version,
            std::path::absolute(&path).unwrap_or(path).display()
        ),
        _ => say!("next: {}", missing(board)),
    }
    Ok(())
}

fn read_program(path: &Path, board: &Board) -> anyhow::Result<Program> {
    let bytes =
        std::fs::read(path).with_context(|| format!("--program {}: can't be read", path.display()))?;
    Program::read(&bytes, board).with_context(|| path.display().to_string())
}

/// What `cargo xtask boards` built in the checkout that we are in.
fn built(board: &Board) -> Option<PathBuf> {
    let path = Path::new("target/boards").join(format!("{}.elf", board.name));
    path.is_file().then_some(path)
}

fn missing(board: &Board) -> String {
    format!(
        "the program for {0} ({1}) is not in target/boards: run `cargo xtask boards` in a checkout of Taraz, or name its file with --program",
        board.name, board.about
    )
}
