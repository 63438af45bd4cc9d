//! What the end-to-end tests share: an installation of Taraz in a folder of its own, and the oracle to compare with.
#![allow(dead_code, reason = "every test uses a part of it")]

pub(crate) mod board;
pub(crate) mod chaos;
pub(crate) mod field;
pub(crate) mod fleet;
pub(crate) mod installation;
pub(crate) mod ledger;
pub(crate) mod oracle;
