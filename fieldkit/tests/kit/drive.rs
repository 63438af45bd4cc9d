//! A folder as a boot loader's drive; a thread plays the board.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use taraz_fieldkit::{
    BootDrive, Drive, DriveError, Medium, Places, Restarted, board, find_drives, wait_for_drive, write_image,
};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

/// What the RP2040's boot ROM says of itself.
const INFO: &str = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n";

fn boot_drive() -> &'static BootDrive {
    match &board("w5500-evb-pico").unwrap().medium {
        Medium::Uf2 { drive, .. } => drive,
        Medium::FlashFile => panic!("it has a drive"),
    }
}

fn plug_in(folder: &Path, info: &str) {
    fs::write(folder.join("INFO_UF2.TXT"), info).unwrap();
}

fn wait(folder: &Path, patience: Duration, waiting: impl FnOnce()) -> Result<Drive, DriveError> {
    wait_for_drive(boot_drive(), &Places::At(folder.to_owned()), patience, waiting)
}

#[test]
fn a_drive_is_found_by_its_info_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = Places::At(folder.path().to_owned());
    assert_eq!(find_drives(&at), []);
    fs::write(folder.path().join("INFO_UF2.TXT"), "hello").unwrap();
    assert_eq!(find_drives(&at), [], "an info file without a board");
    fs::remove_file(folder.path().join("INFO_UF2.TXT")).unwrap();
    fs::write(folder.path().join("info_uf2.txt"), INFO).unwrap();
    assert_eq!(find_drives(&at)[0].board_id, "RPI-RP2");
    let found = wait(folder.path(), SHORT, || panic!("it is there")).unwrap();
    assert_eq!(found.path, folder.path());
}

#[test]
fn a_drive_is_waited_for_and_its_board_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let none = wait(folder.path(), SHORT, || {}).unwrap_err();
    assert!(matches!(none, DriveError::NotFound { .. }), "{none}");
    plug_in(folder.path(), &INFO.replace("RPI-RP2", "RP2350"));
    let other = wait(folder.path(), LONG, || {}).unwrap_err();
    assert!(other.to_string().contains("RP2350, not RPI-RP2"), "{other}");
    fs::remove_file(folder.path().join("INFO_UF2.TXT")).unwrap();
    // It appears once the technician was told to press the button.
    let told = wait(folder.path(), LONG, || plug_in(folder.path(), INFO)).unwrap();
    assert_eq!(told.board_id, "RPI-RP2");
}

#[test]
fn an_image_is_written_whole_and_the_restart_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    plug_in(folder.path(), INFO);
    let drive = wait(folder.path(), SHORT, || {}).unwrap();
    let image: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let board = {
        let (path, len) = (folder.path().to_owned(), image.len() as u64);
        thread::spawn(move || {
            let begun = Instant::now();
            while fs::metadata(path.join("TARAZ.UF2")).map_or(0, |file| file.len()) < len {
                assert!(begun.elapsed() < LONG);
                thread::yield_now();
            }
            let written = fs::read(path.join("TARAZ.UF2")).unwrap();
            fs::remove_file(path.join("INFO_UF2.TXT")).unwrap();
            written
        })
    };
    let ended = write_image(&drive, &image, LONG).unwrap();
    assert!(matches!(ended, Restarted::Whole));
    assert_eq!(board.join().unwrap(), image);
}

#[test]
fn a_board_that_does_not_restart_is_named() {
    let folder = tempfile::tempdir().unwrap();
    plug_in(folder.path(), INFO);
    let drive = wait(folder.path(), SHORT, || {}).unwrap();
    let stays = write_image(&drive, b"image", SHORT).unwrap_err();
    assert!(matches!(stays, DriveError::NotRestarted { .. }), "{stays}");
    // The file can't be made: something else has its name.
    fs::remove_file(folder.path().join("TARAZ.UF2")).unwrap();
    fs::create_dir(folder.path().join("TARAZ.UF2")).unwrap();
    let failed = write_image(&drive, b"image", SHORT).unwrap_err();
    assert!(matches!(failed, DriveError::Write { .. }), "{failed}");
}
