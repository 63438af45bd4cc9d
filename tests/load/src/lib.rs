//! Load for a gateway, or for any broker: 1 to 10,000 real MQTT connections over TCP from one thread.
//!
//! In: an address, a key, how much ([`Options`]). Out: figures as JSON ([`run`]). Devices say what `docs/protocol.md` says:
//! they sign in, subscribe, publish frames with their tags, and check each acknowledgement. Readings are plausible and noisy.
//! It never judges a figure. A run publishes nothing twice: what is not acknowledged or not stored is counted. A herd ([`herd`]) is
//! devices as they are: they come again and send again.

mod beast;
mod client;
mod curve;
mod device;
mod engine;
mod herd;
mod herd_options;
mod histogram;
mod layout;
mod mad;
mod options;
mod packets;
mod payload;
mod probe;
mod random;
mod run;
mod scrape;
mod series;
mod tally;
mod usage;

pub use device::Device;
pub use herd::herd;
pub use herd_options::HerdOptions;
pub use histogram::Histogram;
pub use layout::{device_id, lay_out, master_key};
pub use options::{CONNECTIONS_MAX, MqttVersion, Options, Payload, Watch, When};
pub use run::run;
pub use scrape::{Series, page};
pub use series::{METERS_MAX, RATED_W};
pub use usage::{Usage, load_average, open_files_max};
