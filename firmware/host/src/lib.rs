//! The device as a process on a computer: tokio adaptors around the firmware library.
