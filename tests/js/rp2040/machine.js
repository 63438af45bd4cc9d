// A W5500-EVB-Pico: the RP2040 of rp2040js with a flash that lasts, the board's Ethernet chip, and time that follows the
// computer's clock, so that servers and meters outside keep their pace.

import { GPIOPinState, RP2040 } from 'rp2040js';
import { Flash, readUf2 } from './flash.js';
import { Rom } from './rom.js';
import { Line } from './uart.js';
import { W5500 } from './w5500.js';

/** The vector table follows the second boot stage. */
const VECTORS_AT = 0x10000100;
const FLASH_BASE = 0x10000000;
const CONSOLE_UART = 0;
const BUS_UART = 1;
const DRIVER_ENABLE_PIN = 6;
const ETHERNET_SPI = 0;
const ETHERNET_PINS = { select: 17, reset: 20, interrupt: 21 };
const CYCLE_NANOS = 8;
/** How long the emulator runs before it looks after its sockets. */
const SLICE_MS = 4;
/**
 * Where the host can't keep up, the board's clock lags, up to this; what is more is never made up for. Nothing of the start
 * is: a clock that races when it is compared with a time server is wrong afterwards.
 */
const LAG_MAX_NANOS = 0.5e9;
const START_NANOS = 1e9;
/** A clock that lags makes up for it at this speed at most: whoever is to answer the board lives in the host's time. */
const SPEED_MAX = 2;
/** Peripherals, as rp2040js names them: bits 14 and up of the address, shifted. */
const FLASH_CACHE = 0x14000;
const WATCHDOG = 0x40058;
const RING_OSCILLATOR = 0x40060;
const RANDOM_BIT = 0x1c;
const XIP_STAT = 0x08;
const XIP_IDLE = 0b011;
const quiet = () => {};
const AIRCR = 0xd0c;
/** The key and SYSRESETREQ; what stands between them does not matter. */
const AIRCR_RESET = 0x05fa0004;
const AIRCR_RESET_MASK = 0xffff0004;

export class Machine {
  /**
   * `on`: what is called with bytes of the console and the bus, with frames, with what the firmware does wrong, and at a
   * reset. `before`: the machine that this one is after its reset; its memory is still there.
   */
  constructor({ flashPath, uf2Path, on, before }) {
    this.on = on;
    this.mcu = new RP2040();
    this.clock = this.mcu.clock;
    this.mcu.logger = { debug: quiet, info: quiet, warn: quiet, error: (part, what) => on.fault(`${part}: ${what}`) };
    this.flash = new Flash(this.mcu.flash, flashPath);
    if (uf2Path) this.flash.install(readUf2(uf2Path));
    this.rom = new Rom(this.mcu, this.flash);
    this.console = new Line(this.mcu, CONSOLE_UART, on.console);
    this.bus = new Line(this.mcu, BUS_UART, (byte) => this.#busByte(byte));
    this.ethernet = new W5500(this.mcu, ETHERNET_SPI, ETHERNET_PINS, on.frame);
    this.mcu.gpio[DRIVER_ENABLE_PIN].addListener(() => this.#driverChanged());
    this.#completePeripherals();
    if (before) {
      this.mcu.sram.set(before.mcu.sram);
      this.mcu.peripherals[WATCHDOG].reason = before.mcu.peripherals[WATCHDOG].reason;
    }
    this.#start();
  }

  /** Runs until {@link stop}. */
  run() {
    this.running = true;
    this.origin = performance.now();
    this.sliced = this.origin;
    this.startNanos = this.clock.nanos;
    this.#slice();
  }

  stop() {
    this.running = false;
    this.flash.close();
  }

  #start() {
    const { core, flashView } = this.mcu;
    const word = (at) => flashView.getUint32(at - FLASH_BASE, true);
    core.VTOR = VECTORS_AT;
    core.SP = word(VECTORS_AT);
    core.PC = word(VECTORS_AT + 4) & ~1;
  }

  #completePeripherals() {
    const { mcu } = this;
    const oscillator = mcu.peripherals[RING_OSCILLATOR];
    const { readUint32 } = oscillator;
    oscillator.readUint32 = (offset) =>
      offset === RANDOM_BIT ? Number(Math.random() < 0.5) : readUint32.call(oscillator, offset);
    // Data sheet, 2.6.3.6: STAT says that the cache is flushed and no stream runs; the other registers count nothing.
    const stat = (offset) => (offset === XIP_STAT ? XIP_IDLE : 0);
    mcu.peripherals[FLASH_CACHE] = { readUint32: stat, writeUint32: quiet, writeUint32Atomic: quiet };
    const { writeUint32 } = mcu.ppb;
    mcu.ppb.writeUint32 = (offset, value) => {
      if (offset === AIRCR && (value & AIRCR_RESET_MASK) === AIRCR_RESET) this.#reset('the firmware restarts the chip');
      else writeUint32.call(mcu.ppb, offset, value);
    };
    mcu.peripherals[WATCHDOG].onWatchdogTrigger = () => this.#reset('the watchdog restarts the chip');
  }

  #reset(what) {
    if (this.running) this.on.reset(what);
  }

  get #drives() {
    return this.mcu.gpio[DRIVER_ENABLE_PIN].value === GPIOPinState.High;
  }

  #busByte(byte) {
    if (!this.#drives) this.on.fault('a byte left for the bus with the driver off');
    this.on.bus(byte);
  }

  #driverChanged() {
    if (!this.#drives && this.bus.isSending) this.on.fault('the driver was switched off before the last bit had left');
  }

  #slice() {
    if (!this.running) return;
    const begun = performance.now();
    const end = begun + SLICE_MS;
    const { core } = this.mcu;
    const fastest = this.clock.nanos + SPEED_MAX * (begun - this.sliced) * 1e6;
    const due = Math.min(this.#dueNanos(), fastest);
    this.sliced = begun;
    for (let round = 1; this.clock.nanos < due; round += 1) {
      if (core.waiting) {
        const { nextAlarm } = this.clock;
        const next = nextAlarm ? Math.max(nextAlarm.nanos, this.clock.nanos) : due;
        this.clock.tick(Math.min(next, due) - this.clock.nanos);
      } else {
        this.clock.tick(core.executeInstruction() * CYCLE_NANOS);
      }
      if (!this.running) return;
      if (round % 1024 === 0 && performance.now() > end) break;
    }
    const lag = this.#dueNanos() - this.clock.nanos;
    const allowed = this.clock.nanos < START_NANOS ? 0 : LAG_MAX_NANOS;
    if (lag > allowed) this.startNanos -= lag - allowed;
    if (this.clock.nanos >= due) setTimeout(() => this.#slice(), 1);
    else setImmediate(() => this.#slice());
  }

  /** Where the board's clock should be by the computer's. */
  #dueNanos() {
    return this.startNanos + (performance.now() - this.origin) * 1e6;
  }
}
