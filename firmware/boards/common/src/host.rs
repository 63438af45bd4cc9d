//! What the console needs of a board: its network, its configuration page, a restart.

use core::cell::Cell;

use embassy_futures::select::{Either, select};
use embassy_net::{HardwareAddress, Ipv4Address, Stack};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Instant;
use embedded_storage::nor_flash::NorFlash;
use heapless::String;
use taraz_firmware::{
    ConsoleHost, NetStatus, PageLoadError, PageSaveError, PageSectors, RETAINED_TEXT_LEN_MAX,
};
use taraz_telemetry::{DevicePage, PageError};

use crate::flash::SharedFlash;
use crate::log::wait_until_said;
use crate::retained::restart;
use crate::setup::Begun;

/// The board behind the console.
pub struct BoardHost<F: 'static> {
    board: &'static str,
    last_run: Option<String<RETAINED_TEXT_LEN_MAX>>,
    /// `None` where the flash does not work.
    flash: Option<SharedFlash<F>>,
    page: PageSectors,
    network: Cell<Option<BoardStack>>,
    restart: Signal<NoopRawMutex, ()>,
}

/// The network, as far as the console wants to know of it.
#[derive(Clone, Copy)]
struct BoardStack {
    stack: Stack<'static>,
    sees_cable: bool,
    /// Since when an address is waited for; `None` with one.
    waiting_since: Option<Instant>,
}

impl<F> core::fmt::Debug for BoardHost<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BoardHost")
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl<F> BoardHost<F> {
    /// A board without a network so far, its page in these sectors.
    #[must_use]
    pub fn new(begun: &Begun, flash: Option<SharedFlash<F>>, page: PageSectors) -> Self {
        Self {
            board: begun.marker.board,
            last_run: begun.last_run.clone(),
            flash,
            page,
            network: Cell::new(None),
            restart: Signal::new(),
        }
    }

    /// The network has started. `sees_cable`: its driver can tell whether a cable is plugged in.
    pub fn set_network(&self, stack: Stack<'static>, sees_cable: bool) {
        self.network.set(Some(BoardStack {
            stack,
            sees_cable,
            waiting_since: Some(Instant::now()),
        }));
    }

    /// Says what address the board has, whenever that changes.
    pub async fn announce_network(&self) {
        let Some(BoardStack { stack, .. }) = self.network.get() else {
            return;
        };
        loop {
            stack.wait_link_up().await;
            self.set_waiting_since(Some(Instant::now()));
            if let Either::Second(()) = select(stack.wait_config_up(), stack.wait_link_down()).await {
                continue;
            }
            self.set_waiting_since(None);
            if let Some(config) = stack.config_v4() {
                let gateway = config.gateway.unwrap_or(Ipv4Address::UNSPECIFIED);
                let dns = config.dns_servers.first().copied();
                let dns = dns.unwrap_or(Ipv4Address::UNSPECIFIED);
                crate::say!("net: {}, router {gateway}, DNS {dns}", config.address);
            }
            stack.wait_config_down().await;
            self.set_waiting_since(Some(Instant::now()));
            crate::say!("net: no address");
        }
    }

    fn set_waiting_since(&self, waiting_since: Option<Instant>) {
        let network = self.network.get();
        self.network.set(network.map(|network| BoardStack {
            waiting_since,
            ..network
        }));
    }

    /// Restarts the board when the console was asked to and everything has been said.
    pub async fn restart_when_asked(&self) {
        self.restart.wait().await;
        wait_until_said().await;
        restart();
    }
}

impl<F: NorFlash> ConsoleHost for BoardHost<F> {
    fn board(&self) -> &str {
        self.board
    }

    fn last_run(&self) -> Option<&str> {
        self.last_run.as_deref()
    }

    fn net(&self) -> Option<NetStatus> {
        let BoardStack {
            stack,
            sees_cable,
            waiting_since,
        } = self.network.get()?;
        let HardwareAddress::Ethernet(hardware_address) = stack.hardware_address();
        let config = stack.config_v4();
        let config = config.as_ref();
        Some(NetStatus {
            cable: sees_cable.then(|| stack.is_link_up()),
            hardware_address: hardware_address.0,
            address: config.map(|config| (config.address.address().octets(), config.address.prefix_len())),
            gateway: config
                .and_then(|config| config.gateway)
                .map(|address| address.octets()),
            dns: config
                .and_then(|config| config.dns_servers.first())
                .map(|address| address.octets()),
            address_wait_ms: waiting_since.map_or(0, |since| since.elapsed().as_millis()),
        })
    }

    fn load_page(&self) -> Result<DevicePage, PageError> {
        let mut flash = self.flash.ok_or(PageError::Magic)?;
        self.page.load(&mut flash).map_err(|error| match error {
            PageLoadError::Page(error) => error,
            PageLoadError::Memory => PageError::Magic,
        })
    }

    fn save_page(&self, page: &DevicePage) -> Result<(), PageSaveError> {
        let mut flash = self.flash.ok_or(PageSaveError::Memory)?;
        self.page.save(&mut flash, page)
    }

    fn reboot(&self) {
        self.restart.signal(());
    }
}
