//! An image: a program with the configuration page of one device.

use std::fmt;

use taraz_telemetry::{DevicePage, FLASH_SECTOR_LEN, PAGE_LEN, PageError};

use crate::board::{BOARDS, Board, Medium};
use crate::program::{Program, ProgramError};
use crate::uf2::Uf2;

/// A UF2 file with everything that a board needs; it holds the device's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({} bytes, …)", self.bytes.len())
    }
}

/// Why there is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The page can't be written or read.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The program is not for this board.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The emulator has no UF2.
    #[error("{0} takes no UF2 file")]
    NoUf2(&'static str),
    /// Not an image.
    #[error(
        "not an image of `taraz device image`: no board's program with a configuration page stands in it"
    )]
    NotAnImage,
}

/// Puts the device's page into the program. With `format` the image erases the board's queue, each time it is written:
/// for a board that was another device.
///
/// # Errors
/// [`ImageError`] when the page is for another board or can't be written, or the board takes no UF2.
pub fn pack(program: &Program, page: &DevicePage, board: &Board, format: bool) -> Result<Image, ImageError> {
    let Medium::Uf2 { pages, queue, .. } = &board.medium else {
        return Err(ImageError::NoUf2(board.name));
    };
    page.check_board(board.name)?;
    let mut bytes = [0; PAGE_LEN];
    page.encode(&mut bytes)?;
    let mut content = program.content.clone();
    content.put(pages[0], &bytes);
    // A page that was saved on the board before must not count any more.
    content.put(pages[1], &[0xff; FLASH_SECTOR_LEN as usize]);
    if format {
        content.put(queue.start, &vec![0xff; queue.len()]);
    }
    content.fill_sectors(FLASH_SECTOR_LEN);
    Ok(Image {
        bytes: content.to_bytes(),
    })
}

/// The program alone as a UF2 file, without a page: what [`pack`] takes, and what a board needs for an update of its
/// program, which leaves its page and its queue as they are.
///
/// # Errors
/// [`ImageError::NoUf2`] for a board that takes none.
pub fn bare_image(program: &Program, board: &Board) -> Result<Image, ImageError> {
    if !matches!(board.medium, Medium::Uf2 { .. }) {
        return Err(ImageError::NoUf2(board.name));
    }
    let mut content = program.content.clone();
    content.fill_sectors(FLASH_SECTOR_LEN);
    Ok(Image {
        bytes: content.to_bytes(),
    })
}

/// Reads an image back: its board, its page, and that its program is for this board.
///
/// # Errors
/// [`ImageError`] when it is not an image that could be written.
pub fn device_of(bytes: &[u8]) -> Result<(&'static Board, DevicePage), ImageError> {
    let (mut fits_a_family, mut problem) = (false, None);
    for board in BOARDS {
        let Medium::Uf2 {
            family,
            pages: [at, _],
            ..
        } = board.medium
        else {
            continue;
        };
        let content = match Uf2::parse(bytes, family) {
            Ok(content) => content,
            Err(error) => {
                problem.get_or_insert(ImageError::Program(error.into()));
                continue;
            }
        };
        fits_a_family = true;
        let Some(sector) = content.get(&(at..at + FLASH_SECTOR_LEN)) else {
            continue;
        };
        let page = DevicePage::decode(&sector)?;
        if page.check_board(board.name).is_ok() {
            Program::read(bytes, board)?;
            return Ok((board, page));
        }
    }
    let problem = problem.filter(|_| !fits_a_family);
    Err(problem.unwrap_or(ImageError::NotAnImage))
}
