// Runs a board's image:
// `node run.js --flash FILE [--uf2 FILE] [--console PORT] [--log FILE] [--bus HOST:PORT] [--net HOST:PORT]`.
//
// The console (UART 0) is standard input and output, or a TCP port of this computer with `--console`; with `--log` all
// that it says is appended to a file. The bus (UART 1) is a TCP connection to meters that speak RTU, the network one to
// QEMU's socket network. A reset starts the chip again, as it does on the board. What the firmware does wrong on the
// board's pins is told on standard error and ends the emulator with status 1.

import { openSync, writeSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { Machine } from './machine.js';
import { Cable } from './network.js';

const RECONNECT_MS = 500;

const text = { type: 'string' };
const { values } = parseArgs({
  options: { flash: text, uf2: text, console: text, log: text, bus: text, net: text },
});
if (!values.flash) throw new Error('expected --flash FILE, where the flash is kept');

const endpoint = (value) => {
  const at = value.lastIndexOf(':');
  return [value.slice(0, at), Number(value.slice(at + 1))];
};

/** A connection that is opened again whenever it ends: whoever is gone is silent and may come back. */
class Peer {
  constructor(value, onBytes) {
    this.open = () => {
      this.socket = connect(...endpoint(value).reverse());
      this.socket.setNoDelay(true);
      this.socket.on('data', onBytes);
      this.socket.on('error', () => {});
      this.socket.on('close', () => setTimeout(this.open, RECONNECT_MS));
    };
    this.open();
  }
}

const terminals = new Set();
const log = values.log && openSync(values.log, 'a');
const say = (byte) => {
  const bytes = Uint8Array.of(byte);
  if (log) writeSync(log, bytes);
  if (!values.console) process.stdout.write(bytes);
  for (const terminal of terminals) terminal.write(bytes);
};
const typed = (bytes) => machine.console.receive(bytes);

const on = {
  console: say,
  bus: (byte) => meters?.socket.write(Uint8Array.of(byte)),
  frame: (frame) => cable?.send(frame),
  fault: (what) => {
    process.stderr.write(`emulator: ${what}\n`);
    process.exit(1);
  },
  reset: (what) => {
    process.stderr.write(`emulator: ${what}\n`);
    const before = machine;
    before.stop();
    // Not within the instruction that asked for it.
    setImmediate(() => {
      machine = new Machine({ flashPath: values.flash, on, before });
      machine.run();
    });
  },
};
const meters = values.bus && new Peer(values.bus, (bytes) => machine.bus.receive(bytes));
const cable = values.net && new Cable(...endpoint(values.net), (frame) => machine.ethernet.receive(frame));
let machine = new Machine({ flashPath: values.flash, uf2Path: values.uf2, on });
if (values.console) {
  const server = createServer((terminal) => {
    terminals.add(terminal);
    terminal.on('data', typed);
    terminal.on('error', () => {});
    terminal.on('close', () => terminals.delete(terminal));
  });
  server.listen(Number(values.console), '127.0.0.1');
} else {
  process.stdin.on('data', typed);
}
process.on('SIGTERM', () => process.exit(0));
machine.run();
