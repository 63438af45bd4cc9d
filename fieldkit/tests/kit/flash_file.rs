//! The emulator's flash file: its page changes, its queue stays.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use taraz_fieldkit::{FLASH_FILE_LEN, FlashFileError, Written, read_page, write_page};
use taraz_telemetry::{DeviceId, DevicePage, PageError};

use crate::make::page;

const QEMU: &str = "qemu-lm3s6965";
const SECTOR: usize = 4_096;

#[test]
fn a_page_is_written_and_the_queue_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash.img");
    assert_eq!(write_page(&path, &page(QEMU), false).unwrap(), Written::New);
    let mut flash = fs::read(&path).unwrap();
    assert_eq!((flash.len(), FLASH_FILE_LEN), (257 * SECTOR, 257 * 4_096));
    assert_eq!(DevicePage::decode(&flash).unwrap(), page(QEMU));
    assert!(flash[1_024..].iter().all(|&byte| byte == 0xff));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // The device writes into its queue; then its page changes.
    flash[SECTOR..].fill(0x5a);
    fs::write(&path, &flash).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut other = page(QEMU);
    other.poll_interval_ms = 5_000;
    assert_eq!(write_page(&path, &other, false).unwrap(), Written::PageOnly);
    assert_eq!(read_page(&path).unwrap(), other);
    let now = fs::read(&path).unwrap();
    assert_eq!(now[SECTOR..], flash[SECTOR..], "the queue is as it was");
    assert!(
        now[1_024..SECTOR].iter().all(|&byte| byte == 0xff),
        "nothing is left of the old sector"
    );
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(write_page(&path, &other, true).unwrap(), Written::Formatted);
    assert!(
        fs::read(&path).unwrap()[SECTOR..]
            .iter()
            .all(|&byte| byte == 0xff)
    );
}

#[test]
fn the_queue_of_another_device_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash.img");
    write_page(&path, &page(QEMU), false).unwrap();
    let before = fs::read(&path).unwrap();
    let mut other = page(QEMU);
    other.device = DeviceId::new("sari-02").unwrap();
    let refused = write_page(&path, &other, false).unwrap_err();
    assert!(refused.to_string().contains("the flash of sari-01"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(write_page(&path, &other, true).unwrap(), Written::Formatted);
    assert_eq!(read_page(&path).unwrap(), other);
}

#[test]
fn another_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    fs::write(&path, "dear").unwrap();
    let refused = write_page(&path, &page(QEMU), true);
    assert!(matches!(refused, Err(FlashFileError::Length(4))));
    assert_eq!(fs::read(&path).unwrap(), b"dear");
    assert!(matches!(read_page(&path), Err(FlashFileError::Length(4))));
    let erased = folder.path().join("flash.img");
    fs::write(&erased, vec![0xff; 257 * SECTOR]).unwrap();
    assert!(matches!(
        read_page(&erased),
        Err(FlashFileError::Page(PageError::Erased))
    ));
}
