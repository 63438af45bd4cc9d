// A PL011 as the RP2040 has it, in time: rp2040js sends and receives in no time and asks for the transmit interrupt
// without end. Here a character takes as long as it does on the line, both FIFOs have their 32 places and their levels,
// and the receive time-out comes after 32 bit times (data sheet, 4.2.7 and 4.2.8).

const DR = 0x00;
const IFLS = 0x34;
const ICR = 0x44;
const DMACR = 0x48;
const FIFO_LEN = 32;
const BUSY = 1 << 3;
const RX_EMPTY = 1 << 4;
const TX_FULL = 1 << 5;
const RX_FULL = 1 << 6;
const TX_EMPTY = 1 << 7;
const RX_INTERRUPT = 1 << 4;
const TX_INTERRUPT = 1 << 5;
const RX_TIMEOUT_INTERRUPT = 1 << 6;
const RX_TIMEOUT_BITS = 32;
/** 1/8, 1/4, 1/2, 3/4, 7/8 of the FIFO. */
const LEVELS = [4, 8, 16, 24, 28];

export class Line {
  /** `onSent(byte)` is called when its stop bit has left. */
  constructor(mcu, number, onSent) {
    this.clock = mcu.clock;
    this.uart = mcu.uart[number];
    this.onSent = onSent;
    this.sending = [];
    this.receiving = [];
    this.overruns = 0;
    this.levels = 0b010010;
    this.sent = this.clock.createAlarm(() => this.#sentOne());
    this.arrived = this.clock.createAlarm(() => this.#arrivedOne());
    this.quiet = this.clock.createAlarm(() => this.#raise(RX_TIMEOUT_INTERRUPT));
    this.#replace();
  }

  /** Bits of a character: start, data, parity, stop. */
  get characterNanos() {
    const lcr = this.uart.lineCtrlRegister;
    const bits = 1 + this.uart.wordLength + (lcr & 0b10 ? 1 : 0) + (lcr & 0b1000 ? 2 : 1);
    return bits * this.bitNanos;
  }

  get bitNanos() {
    return 1e9 / this.uart.baudRate;
  }

  /** Something of ours is still on the line. */
  get isSending() {
    return this.sending.length > 0;
  }

  /** The peer sends these bytes, one after the other. */
  receive(bytes) {
    const idle = this.receiving.length === 0;
    this.receiving.push(...bytes);
    if (idle && this.receiving.length) this.arrived.schedule(this.characterNanos);
  }

  #replace() {
    const { uart } = this;
    Object.defineProperty(uart, 'flags', { get: () => this.#flags() });
    uart.checkInterrupts = () =>
      uart.rp2040.setInterrupt(uart.irq, !!(uart.interruptStatus & uart.interruptMask));
    const { readUint32, writeUint32 } = uart;
    uart.readUint32 = (offset) => {
      if (offset === DR) return this.#read();
      if (offset === IFLS) return this.levels;
      // No DMA.
      return offset === DMACR ? 0 : readUint32.call(uart, offset);
    };
    uart.writeUint32 = (offset, value) => {
      if (offset === DR) this.#write(value & 0xff);
      else if (offset === IFLS) this.levels = value;
      else if (offset === ICR) this.#clear(value);
      else writeUint32.call(uart, offset, value);
    };
  }

  #flags() {
    const { rxFIFO } = this.uart;
    return (
      (this.sending.length ? BUSY : 0) |
      (rxFIFO.empty ? RX_EMPTY : 0) |
      (rxFIFO.full ? RX_FULL : 0) |
      (this.sending.length > FIFO_LEN ? TX_FULL : 0) |
      (this.sending.length <= 1 ? TX_EMPTY : 0)
    );
  }

  #raise(interrupt) {
    this.uart.interruptStatus |= interrupt;
    this.uart.checkInterrupts();
  }

  #clear(interrupts) {
    this.uart.interruptStatus &= ~interrupts;
    this.uart.checkInterrupts();
  }

  #write(byte) {
    // One character is in the shift register, and 32 wait.
    if (this.sending.length > FIFO_LEN) throw new Error('the firmware writes to a full transmit FIFO');
    this.sending.push(byte);
    if (this.sending.length === 1) this.sent.schedule(this.characterNanos);
  }

  #sentOne() {
    const byte = this.sending.shift();
    // "The interrupt is based on a transition through a level, rather than on the level itself."
    const waiting = Math.max(this.sending.length - 1, 0);
    if (waiting === LEVELS[this.levels & 0b111] || this.sending.length === 0) this.#raise(TX_INTERRUPT);
    if (this.sending.length) this.sent.schedule(this.characterNanos);
    this.onSent(byte);
  }

  #arrivedOne() {
    const byte = this.receiving.shift();
    const { rxFIFO } = this.uart;
    if (rxFIFO.full) this.overruns += 1;
    else rxFIFO.push(byte);
    if (rxFIFO.itemCount >= LEVELS[(this.levels >> 3) & 0b111]) this.#raise(RX_INTERRUPT);
    this.quiet.schedule(RX_TIMEOUT_BITS * this.bitNanos);
    if (this.receiving.length) this.arrived.schedule(this.characterNanos);
  }

  #read() {
    const { uart } = this;
    const byte = uart.rxFIFO.pull();
    let done = 0;
    if (uart.rxFIFO.itemCount < LEVELS[(this.levels >> 3) & 0b111]) done |= RX_INTERRUPT;
    if (uart.rxFIFO.empty) {
      done |= RX_TIMEOUT_INTERRUPT;
      this.quiet.cancel();
    }
    this.#clear(done);
    return byte;
  }
}
