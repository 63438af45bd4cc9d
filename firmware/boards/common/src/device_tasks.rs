//! The tasks of a board, written once: a task of embassy's executor can't have type parameters, so a macro has them.

/// Gives a board the tasks of a device, in a module `tasks`:
///
/// ```text
/// device_tasks! {
///     flash: PicoFlash,
///     bus: BusUart, Output<'static>,
///     console: ConsoleReader, BufferedUartTx,
///     network: Lines,
///     watchdog: PicoWatchdog,
/// }
/// ```
///
/// `tasks::begin` starts the console's output and says which program this is; `tasks::run` starts everything else.
#[macro_export]
macro_rules! device_tasks {
    (
        flash: $flash:ty,
        bus: $uart:ty, $driver_enable:ty,
        console: $reader:ty, $writer:ty,
        network: $network:ty,
        watchdog: $watchdog:ty $(,)?
    ) => {
        mod tasks {
            use core::pin::pin;

            use embassy_executor::Spawner;
            use taraz_firmware::Sntp;
            use taraz_telemetry::{FlashMap, ResetCause};

            use super::*;

            type Device = $crate::BoardDevice<$flash>;
            type Bus = $crate::BoardBus<$uart, $driver_enable>;
            type Host = $crate::BoardHost<$flash>;
            type Health = $crate::BoardHealth;

            static ROOM: $crate::Room<$flash, $uart, $driver_enable> = $crate::Room::new();

            /// Says which program this is and how the last run ended, and waits until that is said: it shall be read even
            /// if this run ends at once.
            pub(super) async fn begin(
                spawner: Spawner,
                writer: $writer,
                mark: &'static str,
                cause: Option<ResetCause>,
            ) -> $crate::Begun {
                spawner.spawn(console_output(writer).expect("spawned once"));
                let begun = $crate::begin(mark, cause);
                $crate::wait_until_said().await;
                begun
            }

            /// Starts the device; the console is served even if it can't run. Not a future: what it needs on the way is not
            /// kept for ever.
            pub(super) fn run(
                spawner: Spawner,
                begun: $crate::Begun,
                (map, flash): (&'static FlashMap, Option<$flash>),
                wired: $crate::Wired<$uart, $driver_enable, $network, $watchdog>,
                reader: $reader,
            ) -> Result<(), $crate::Failed<$watchdog>> {
                let base = $crate::Base::new(&ROOM, begun, map, flash);
                let started = $crate::start(&ROOM, &base, wired);
                let device = started
                    .as_ref()
                    .ok()
                    .map(|started| (started.device, started.health));
                spawner.spawn(console(reader, device, base.desk, base.host).expect("spawned once"));
                started.map(|started| spawn_device(spawner, base.host, started))
            }

            fn spawn_device(
                spawner: Spawner,
                host: &'static Host,
                started: $crate::Started<$flash, $uart, $driver_enable, $network, $watchdog>,
            ) {
                let (device, health) = (started.device, started.health);
                spawner.spawn(network(started.network, health).expect("spawned once"));
                spawner.spawn(announce(host).expect("spawned once"));
                spawner.spawn(poll_meters(device, started.bus, health).expect("spawned once"));
                spawner.spawn(run_link(device, started.link, health).expect("spawned once"));
                spawner.spawn(keep_clock(device, started.sntp, health).expect("spawned once"));
                spawner.spawn(watch(started.watchdog, device, health).expect("spawned once"));
            }

            #[embassy_executor::task]
            async fn console_output(writer: $writer) -> ! {
                $crate::pump_console(writer).await
            }

            #[embassy_executor::task]
            async fn console(
                reader: $reader,
                device: Option<(&'static Device, &'static Health)>,
                desk: &'static taraz_firmware::BusDesk,
                host: &'static Host,
            ) {
                $crate::serve_console(reader, device, desk, host).await;
            }

            #[embassy_executor::task]
            async fn network(network: $crate::StartedNetwork<$network>, health: &'static Health) {
                $crate::run_network(network, health).await;
            }

            #[embassy_executor::task]
            async fn announce(host: &'static Host) {
                host.announce_network().await;
            }

            #[embassy_executor::task]
            async fn poll_meters(device: &'static Device, bus: &'static mut Bus, health: &'static Health) {
                let poll = pin!(device.poll_meters(bus));
                health.watch($crate::METERS_TASK, poll).await;
            }

            #[embassy_executor::task]
            async fn run_link(
                device: &'static Device,
                link: &'static mut $crate::BoardLink,
                health: &'static Health,
            ) {
                let run = pin!(link.run(device));
                health.watch($crate::LINK_TASK, run).await;
            }

            #[embassy_executor::task]
            async fn keep_clock(
                device: &'static Device,
                sntp: &'static mut Sntp<$crate::TimeServer>,
                health: &'static Health,
            ) {
                let run = pin!(sntp.run(device));
                health.watch($crate::CLOCK_TASK, run).await;
            }

            #[embassy_executor::task]
            async fn watch(watchdog: $watchdog, device: &'static Device, health: &'static Health) -> ! {
                $crate::watch(watchdog, device, health).await
            }
        }
    };
}
