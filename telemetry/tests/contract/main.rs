//! The contract held against its properties, its golden bytes, its document and a second implementation in Python.

mod ack;
mod batch;
mod describe;
mod document;
mod frame;
mod golden;
mod page;
mod python;
mod record;
mod strategies;
