// A W5500 behind an SPI, as far as socket 0 in MACRAW mode goes (data sheet 1.1.0, chapters 2 to 4).

const BITS_PER_BYTE = 8;
const BUFFER_LEN = 16 * 1024;
const VERSION = 4;
/** 100 Mbit/s, full duplex, link up. */
const PHY = 0xbf;
const MODE = 0x00;
const MODE_RESET = 0x80;
const COMMON_SIMR = 0x18;
const COMMON_PHYCFGR = 0x2e;
const COMMON_VERSIONR = 0x39;
const COMMAND = 0x01;
const INTERRUPT = 0x02;
const STATUS = 0x03;
const TX_FREE = 0x20;
const TX_READ = 0x22;
const TX_WRITE = 0x24;
const RX_RECEIVED = 0x26;
const RX_READ = 0x28;
const RX_WRITE = 0x2a;
const INTERRUPT_MASK = 0x2c;
const OPEN = 0x01;
const SEND = 0x20;
const RECEIVE = 0x40;
const STATUS_MACRAW = 0x42;
const INTERRUPT_RECEIVED = 0x04;
const INTERRUPT_SENT = 0x10;
/** Blocks: common, socket 0, its transmit buffer, its receive buffer. */
const [BLOCK_COMMON, BLOCK_SOCKET, BLOCK_TX, BLOCK_RX] = [0, 1, 2, 3];
const HEAD_LEN = 3;
/** In MACRAW mode a frame in the receive buffer follows its length, which counts itself. */
const LENGTH_LEN = 2;

export class W5500 {
  /** `pins`: the numbers of select, reset and interrupt; `onFrame(frame)` is called for each one sent. */
  constructor(mcu, spi, pins, onFrame) {
    this.mcu = mcu;
    this.pins = pins;
    this.onFrame = onFrame;
    this.dropped = 0;
    this.sentFrames = 0;
    this.receivedFrames = 0;
    this.position = 0;
    this.#reset();
    mcu.gpio[pins.select].addListener((state) => {
      if (state === 0) this.position = 0;
    });
    mcu.gpio[pins.reset].addListener((state) => {
      if (state === 0) this.#reset();
    });
    const port = mcu.spi[spi];
    let answer = 0;
    // A byte takes its time on the line: in none, the transmitting DMA channel would run before the receiving one.
    const exchanged = mcu.clock.createAlarm(() => port.completeTransmit(answer));
    port.onTransmit = (byte) => {
      answer = this.#exchange(byte);
      exchanged.schedule((BITS_PER_BYTE * 1e9) / port.clockFrequency);
    };
  }

  /** A frame comes from the cable. */
  receive(frame) {
    if (this.socket[STATUS] !== STATUS_MACRAW) return;
    const received = this.#word(RX_RECEIVED);
    if (received + LENGTH_LEN + frame.length > BUFFER_LEN) {
      this.dropped += 1;
      return;
    }
    const len = frame.length + LENGTH_LEN;
    let at = this.#word(RX_WRITE);
    for (const byte of [len >> 8, len & 0xff, ...frame]) this.rx[at++ % BUFFER_LEN] = byte;
    this.#setWord(RX_WRITE, at & 0xffff);
    this.#setWord(RX_RECEIVED, received + len);
    this.receivedFrames += 1;
    this.socket[INTERRUPT] |= INTERRUPT_RECEIVED;
    this.#updateInterrupt();
  }

  #reset() {
    this.common = new Uint8Array(0x40);
    this.common[COMMON_VERSIONR] = VERSION;
    this.common[COMMON_PHYCFGR] = PHY;
    this.socket = new Uint8Array(0x30);
    this.socket[INTERRUPT_MASK] = 0xff;
    this.tx = new Uint8Array(BUFFER_LEN);
    this.rx = new Uint8Array(BUFFER_LEN);
    this.#setWord(TX_FREE, BUFFER_LEN);
    this.#updateInterrupt();
  }

  #word(at) {
    return (this.socket[at] << 8) | this.socket[at + 1];
  }

  #setWord(at, value) {
    this.socket[at] = value >> 8;
    this.socket[at + 1] = value & 0xff;
  }

  #exchange(byte) {
    const position = this.position++;
    if (position === 0) this.address = byte << 8;
    else if (position === 1) this.address |= byte;
    else if (position === 2) this.control = byte;
    else {
      const address = (this.address + position - HEAD_LEN) & 0xffff;
      const block = this.control >> 3;
      if (this.control & 0b100) this.#write(block, address, byte);
      else return this.#read(block, address);
    }
    return 0;
  }

  #read(block, address) {
    if (block === BLOCK_COMMON) return this.common[address] ?? 0;
    if (block === BLOCK_SOCKET) return this.socket[address] ?? 0;
    if (block === BLOCK_TX) return this.tx[address % BUFFER_LEN];
    if (block === BLOCK_RX) return this.rx[address % BUFFER_LEN];
    return 0;
  }

  #write(block, address, byte) {
    if (block === BLOCK_COMMON && address === MODE && byte & MODE_RESET) this.#reset();
    else if (block === BLOCK_COMMON && address !== COMMON_VERSIONR && address !== COMMON_PHYCFGR) {
      this.common[address] = byte;
      this.#updateInterrupt();
    } else if (block === BLOCK_SOCKET && address === COMMAND) this.#command(byte);
    else if (block === BLOCK_SOCKET && address === INTERRUPT) {
      this.socket[INTERRUPT] &= ~byte;
      this.#updateInterrupt();
    } else if (block === BLOCK_SOCKET) {
      this.socket[address] = byte;
      this.#updateInterrupt();
    } else if (block === BLOCK_TX) this.tx[address % BUFFER_LEN] = byte;
  }

  #command(command) {
    if (command === OPEN) this.socket[STATUS] = STATUS_MACRAW;
    else if (command === SEND) this.#send();
    else if (command === RECEIVE) {
      const left = (this.#word(RX_WRITE) - this.#word(RX_READ)) & 0xffff;
      this.#setWord(RX_RECEIVED, left);
      if (left) this.socket[INTERRUPT] |= INTERRUPT_RECEIVED;
      this.#updateInterrupt();
    } else throw new Error(`the W5500's command ${command} is not emulated`);
  }

  #send() {
    const frame = [];
    for (let at = this.#word(TX_READ); at !== this.#word(TX_WRITE); at = (at + 1) & 0xffff)
      frame.push(this.tx[at % BUFFER_LEN]);
    this.#setWord(TX_READ, this.#word(TX_WRITE));
    this.socket[INTERRUPT] |= INTERRUPT_SENT;
    this.sentFrames += 1;
    this.#updateInterrupt();
    this.onFrame(Uint8Array.from(frame));
  }

  /** The pin is low while an interrupt that is not masked is up. */
  #updateInterrupt() {
    const up = this.common[COMMON_SIMR] & 1 && this.socket[INTERRUPT] & this.socket[INTERRUPT_MASK];
    this.mcu.gpio[this.pins.interrupt].setInputValue(!up);
  }
}
