//! The field kit on real files: UF2, programs, images, flash files, the registry, a boot loader's drive.
#![allow(clippy::unwrap_used)]

mod drive;
mod flash_file;
mod image;
mod make;
mod program;
mod registry;
mod uf2;
