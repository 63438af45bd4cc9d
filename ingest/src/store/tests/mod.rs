//! Tests of the store through its own door.

mod changes;
mod changes_kept;
mod conflicts;
mod damaged;
mod energy;
mod first_value;
mod gaps;
mod health;
mod held;
mod killed;
mod once;
mod placing;
mod runs;
mod sealing;
mod settling;
mod shuffles;
mod unstated;
mod upgrading;
mod verifying;
