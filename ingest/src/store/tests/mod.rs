//! Tests of the store through its own door.

mod energy;
mod killed;
mod once;
mod placing;
mod shuffles;
