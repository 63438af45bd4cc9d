//! Tests of the store through its own door.

mod energy;
mod once;
mod placing;
mod shuffles;
