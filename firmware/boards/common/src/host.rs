//! What the console needs of a board: its network, its configuration page, a restart.

use core::cell::Cell;

use embassy_net::{HardwareAddress, Stack};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::signal::Signal;
use embedded_storage::nor_flash::NorFlash;
use heapless::String;
use taraz_firmware::{ConsoleHost, NetStatus, PageSaveError, RETAINED_TEXT_LEN_MAX};
use taraz_telemetry::{DevicePage, PAGE_LEN, PageError};

use crate::flash::SharedFlash;
use crate::log::wait_until_said;
use crate::retained::restart;
use crate::setup::{Begun, read_page};

/// The board behind the console.
pub struct BoardHost<F: 'static> {
    board: &'static str,
    last_run: Option<String<RETAINED_TEXT_LEN_MAX>>,
    /// `None` where the flash does not work.
    flash: Option<SharedFlash<F>>,
    page_at: u32,
    network: Cell<Option<(Stack<'static>, bool)>>,
    restart: Signal<NoopRawMutex, ()>,
}

impl<F> core::fmt::Debug for BoardHost<F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BoardHost")
            .field("board", &self.board)
            .finish_non_exhaustive()
    }
}

impl<F> BoardHost<F> {
    /// A board without a network so far, its page at `page_at`.
    #[must_use]
    pub fn new(begun: &Begun, flash: Option<SharedFlash<F>>, page_at: u32) -> Self {
        Self {
            board: begun.marker.board,
            last_run: begun.last_run.clone(),
            flash,
            page_at,
            network: Cell::new(None),
            restart: Signal::new(),
        }
    }

    /// The network has started. `sees_cable`: its driver can tell whether a cable is plugged in.
    pub fn set_network(&self, stack: Stack<'static>, sees_cable: bool) {
        self.network.set(Some((stack, sees_cable)));
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

    fn net(&self) -> NetStatus {
        let Some((stack, sees_cable)) = self.network.get() else {
            return NetStatus::default();
        };
        let HardwareAddress::Ethernet(hardware_address) = stack.hardware_address();
        let config = stack.config_v4();
        let config = config.as_ref();
        NetStatus {
            cable: sees_cable.then(|| stack.is_link_up()),
            hardware_address: hardware_address.0,
            address: config.map(|config| (config.address.address().octets(), config.address.prefix_len())),
            gateway: config
                .and_then(|config| config.gateway)
                .map(|address| address.octets()),
            dns: config
                .and_then(|config| config.dns_servers.first())
                .map(|address| address.octets()),
        }
    }

    fn load_page(&self) -> Result<DevicePage, PageError> {
        let mut flash = self.flash.ok_or(PageError::Magic)?;
        read_page(&mut flash, self.page_at).unwrap_or(Err(PageError::Magic))
    }

    fn save_page(&self, page: &DevicePage) -> Result<(), PageSaveError> {
        let mut bytes = [0; PAGE_LEN];
        page.encode(&mut bytes)?;
        let mut flash = self.flash.ok_or(PageSaveError::Memory)?;
        let sector_len = u32::try_from(F::ERASE_SIZE).map_err(|_| PageSaveError::Memory)?;
        flash
            .erase(self.page_at, self.page_at + sector_len)
            .and_then(|()| flash.write(self.page_at, &bytes))
            .map_err(|_| PageSaveError::Memory)
    }

    fn reboot(&self) {
        self.restart.signal(());
    }
}
