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
    assert_eq!((flash.len(), FLASH_FILE_LEN), (258 * SECTOR, 258 * 4_096));
    assert_eq!(DevicePage::decode(&flash).unwrap(), page(QEMU));
    assert!(flash[1_024..].iter().all(|&byte| byte == 0xff));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // The device writes into its queue, and saves a page; then the page is made anew.
    flash[SECTOR..257 * SECTOR].fill(0x5a);
    let mut saved = [0; 1_024];
    let mut by_hand = page(QEMU);
    by_hand.broker_port = 9;
    by_hand.encode_save(1, &mut saved).unwrap();
    flash[257 * SECTOR..][..1_024].copy_from_slice(&saved);
    fs::write(&path, &flash).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(read_page(&path).unwrap(), by_hand);
    let mut other = page(QEMU);
    other.poll_interval_ms = 5_000;
    assert_eq!(write_page(&path, &other, false).unwrap(), Written::PageOnly);
    assert_eq!(read_page(&path).unwrap(), other);
    let now = fs::read(&path).unwrap();
    assert_eq!(
        now[SECTOR..257 * SECTOR],
        flash[SECTOR..257 * SECTOR],
        "the queue is as it was"
    );
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

/// As the field kit wrote it when the page had one sector.
#[test]
fn a_file_of_before_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flash.img");
    let mut flash = vec![0xff; 257 * SECTOR];
    let mut bytes = [0; 1_024];
    page(QEMU).encode(&mut bytes).unwrap();
    flash[..1_024].copy_from_slice(&bytes);
    flash[SECTOR..].fill(0x5a);
    fs::write(&path, &flash).unwrap();
    assert_eq!(read_page(&path).unwrap(), page(QEMU));
    let mut other = page(QEMU);
    other.device = DeviceId::new("sari-02").unwrap();
    assert!(matches!(
        write_page(&path, &other, false),
        Err(FlashFileError::OtherDevice(_))
    ));
    let mut changed = page(QEMU);
    changed.poll_interval_ms = 5_000;
    assert_eq!(write_page(&path, &changed, false).unwrap(), Written::PageOnly);
    assert_eq!(read_page(&path).unwrap(), changed);
    let now = fs::read(&path).unwrap();
    assert_eq!(now.len(), 258 * SECTOR);
    assert_eq!(now[SECTOR..257 * SECTOR], flash[SECTOR..]);
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
