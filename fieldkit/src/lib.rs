//! The technician's side: a device into the registry, its image out of it, the image onto the board.
//!
//! In: the text of `fleet.toml`, the master key, a board's program. Out: the registry with one device more, an image with
//! the device's configuration page, files on a boot loader's drive. It never talks to a device, never prints (the program
//! does), and never writes a key into anything but an image.

mod board;
mod drive;
mod elf;
mod file;
mod flash_file;
mod image;
mod page;
mod program;
mod registry;
mod uf2;

pub use board::{BOARDS, Board, BootDrive, Medium, UnknownBoard, board};
pub use drive::{
    Drive, DriveError, Places, Restarted, find_drives, is_plugged_in, wait_for_drive, write_image,
};
pub use elf::ElfError;
pub use file::{ReplaceError, replace};
pub use flash_file::{FLASH_FILE_LEN, FlashFileError, Written, read_page, write_page};
pub use image::{Image, ImageError, bare_image, device_of, pack};
pub use page::{
    DevicePageError, PageSettings, SettingError, device_page, parse_bus, parse_host, parse_static,
};
pub use program::{Program, ProgramError};
pub use registry::{AddError, MeterSpec, MeterSpecError, NewDevice, add_device};
pub use uf2::{Uf2, Uf2Error};
