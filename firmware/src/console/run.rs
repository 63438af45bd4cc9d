//! The console's life: keys in, commands done, answers out.

use embassy_futures::select::{Either, select};
use embassy_futures::yield_now;
use embedded_io_async::{Read, Write};
use taraz_telemetry::{DevicePage, MeterAddress, PageError};

use super::command::Command;
use super::config;
use super::editor::{Echo, Edit, LineEditor};
use super::host::{ConsoleDevice, ConsoleHost};
use super::show;
use super::terminal::{Terminal, say};
use crate::field::BusDesk;
use crate::meters::exception_advice;
use crate::modbus::{BusError, ReadRegisters};

const PROMPT: &str = "> ";
pub(super) const CTRL_C: u8 = 0x03;

/// Serves one terminal until its input ends or its output fails; on a board never. `device` is absent on a board without a
/// sound configuration page.
pub async fn run_console<R, W, D, H>(input: R, output: W, device: Option<&D>, desk: &BusDesk, host: &H)
where
    R: Read,
    W: Write,
    D: ConsoleDevice,
    H: ConsoleHost,
{
    let mut console = Console {
        input,
        terminal: Terminal::new(output),
        device,
        desk,
        host,
        draft: None,
    };
    // Whoever read the answers is gone: there is nobody to tell.
    let _ = console.run().await;
}

/// One terminal.
pub(super) struct Console<'c, R, W, D, H> {
    input: R,
    pub(super) terminal: Terminal<W>,
    device: Option<&'c D>,
    pub(super) desk: &'c BusDesk,
    host: &'c H,
    /// The page as it was changed and not saved.
    draft: Option<DevicePage>,
}

impl<R: Read, W: Write, D: ConsoleDevice, H: ConsoleHost> Console<'_, R, W, D, H> {
    async fn run(&mut self) -> Result<(), W::Error> {
        let mut editor = LineEditor::new();
        let mut echo = Echo::new();
        say!(
            self.terminal,
            "taraz on {}: `help` lists the commands",
            self.host.board()
        );
        self.terminal.put(PROMPT).await?;
        while let Some(byte) = self.key().await {
            let edit = editor.key(byte, &mut echo);
            self.terminal.put(&echo).await?;
            match edit {
                Edit::Going => continue,
                Edit::Cancelled => {}
                Edit::Line => {
                    // Nothing here depends on capitals: commands, names, drivers, hosts, digits.
                    let mut line = editor.take();
                    line.make_ascii_lowercase();
                    self.execute(&line).await?;
                }
            }
            self.terminal.put(PROMPT).await?;
        }
        Ok(())
    }

    /// The next byte; `None` at the input's end.
    pub(super) async fn key(&mut self) -> Option<u8> {
        let mut byte = [0];
        loop {
            match self.input.read(&mut byte).await {
                Ok(0) => return None,
                Ok(_) => return Some(byte[0]),
                // A damaged character is left out; a port that fails for ever leaves time for everybody else.
                Err(_) => yield_now().await,
            }
        }
    }

    async fn execute(&mut self, line: &str) -> Result<(), W::Error> {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(error) => {
                say!(self.terminal, "{error}");
                return Ok(());
            }
        };
        let terminal = &mut self.terminal;
        match command {
            Command::Nothing => Ok(()),
            Command::Help => help(terminal).await,
            Command::Net => show::net(terminal, self.host.net().as_ref()).await,
            Command::Config => self.config().await,
            Command::Set { name, value } => self.set(name, value).await,
            Command::Save => self.save().await,
            Command::Undo => {
                let changed = self.draft.take().is_some();
                say!(
                    terminal,
                    "{}",
                    if changed {
                        "what was changed is forgotten"
                    } else {
                        "nothing was changed"
                    }
                );
                Ok(())
            }
            Command::Reboot => self.reboot().await,
            Command::Status | Command::Queue | Command::Scan { .. } | Command::Read { .. } => {
                match self.device {
                    Some(device) => self.with_device(device, command).await,
                    None => self.no_device().await,
                }
            }
        }
    }

    async fn with_device(&mut self, device: &D, command: Command<'_>) -> Result<(), W::Error> {
        match command {
            Command::Status => show::status(&mut self.terminal, device, self.desk, self.host).await,
            Command::Scan { full, lines } => self.scan(full, lines).await,
            Command::Read { unit, read } => self.read(unit, read).await,
            _ => show::queue(&mut self.terminal, device).await,
        }
    }

    async fn no_device(&mut self) -> Result<(), W::Error> {
        match self.host.load_page() {
            Ok(_) => say!(self.terminal, "the device does not run: `reboot` starts it"),
            Err(error) => say!(self.terminal, "the device does not run: {error}"),
        }
        Ok(())
    }

    async fn read(&mut self, unit: MeterAddress, read: ReadRegisters) -> Result<(), W::Error> {
        let desk = self.desk;
        let Some(answer) = self.unless_cancelled(desk.read(unit, read)).await else {
            desk.cancel();
            return Ok(());
        };
        match answer {
            Ok(registers) => {
                say!(self.terminal, "address     hex  unsigned  signed  text");
                for (address, &register) in (read.start..).zip(&registers) {
                    let text = register.to_be_bytes().map(printable);
                    say!(
                        self.terminal,
                        "{address:>7}  0x{register:04x}  {register:>8}  {:>6}  {}{}",
                        register.cast_signed(),
                        text[0],
                        text[1]
                    );
                }
            }
            Err(BusError::Exception(code)) => {
                say!(
                    self.terminal,
                    "unit {unit}: exception {code}, {}",
                    exception_advice(code)
                );
            }
            Err(error) => say!(self.terminal, "unit {unit}: {error}"),
        }
        Ok(())
    }

    /// The future's outcome, unless Ctrl-C comes first; other keys are dropped meanwhile.
    pub(super) async fn unless_cancelled<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let cancelled = async { while !matches!(self.key().await, None | Some(CTRL_C)) {} };
        match select(future, cancelled).await {
            Either::First(done) => Some(done),
            Either::Second(()) => None,
        }
    }

    fn page(&self) -> Result<DevicePage, PageError> {
        self.draft.clone().map_or_else(|| self.host.load_page(), Ok)
    }

    async fn config(&mut self) -> Result<(), W::Error> {
        match self.page() {
            Ok(page) => config::show(&mut self.terminal, &page, self.draft.is_some()).await,
            Err(error) => {
                say!(self.terminal, "{error}");
                Ok(())
            }
        }
    }

    async fn set(&mut self, name: &str, value: &str) -> Result<(), W::Error> {
        let mut page = match self.page() {
            Ok(page) => page,
            Err(error) => {
                say!(self.terminal, "{error}");
                return Ok(());
            }
        };
        match config::set(&mut page, name, value) {
            Ok(()) => {
                say!(self.terminal, "{name} is set; `config save` keeps it");
                self.draft = Some(page);
            }
            Err(error) => say!(self.terminal, "{name}: {error}"),
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), W::Error> {
        let Some(page) = &self.draft else {
            say!(self.terminal, "nothing was changed");
            return Ok(());
        };
        match self.host.save_page(page) {
            Ok(()) => {
                self.draft = None;
                say!(
                    self.terminal,
                    "saved; it is used from the next start on: `reboot`"
                );
            }
            Err(error) => say!(self.terminal, "{error}"),
        }
        Ok(())
    }

    async fn reboot(&mut self) -> Result<(), W::Error> {
        if self.draft.is_some() {
            say!(
                self.terminal,
                "changes are not saved: `config save` keeps them, `config undo` forgets them; then `reboot` again"
            );
            return Ok(());
        }
        say!(self.terminal, "restarting");
        self.host.reboot();
        Ok(())
    }
}

fn printable(byte: u8) -> char {
    match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    }
}

const HELP: [&str; 15] = [
    "status                 the device, its clock, its link and its meters",
    "scan [full] [lines]    who is on the bus, at the likely addresses; full: at 1 to 247;",
    "                       lines: at every speed and parity although one is known",
    "read UNIT ADDRESS [COUNT] [holding|input]",
    "                       registers as they stand on the line, ADDRESS from 0",
    "config                 the configuration, without the key",
    "config set NAME VALUE  changes one value of it",
    "config save            keeps what was changed, from the next start on",
    "config undo            forgets what was changed and not saved",
    "net                    the network",
    "queue                  the records that wait for the gateway",
    "reboot                 starts anew",
    "",
    "Ctrl-C ends a search or drops the line, Ctrl-U empties it, up and down bring lines back.",
    "Nothing here writes to a meter. Polls go on meanwhile.",
];

async fn help<W: Write>(terminal: &mut Terminal<W>) -> Result<(), W::Error> {
    for line in HELP {
        say!(terminal, "{line}");
    }
    Ok(())
}
