//! Tests of the store through its own door.

mod energy;
mod health;
mod held;
mod killed;
mod once;
mod placing;
mod settling;
mod shuffles;
mod unstated;
