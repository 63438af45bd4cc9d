// Runs a board's image: `node run.js --flash FILE [--uf2 FILE] [--bus HOST:PORT] [--net HOST:PORT]`.
//
// The console (UART 0) is standard input and output, the bus (UART 1) a TCP connection to meters that speak RTU, the
// network a TCP connection to QEMU's socket network. A restart of the chip ends the emulator with status 75; whoever
// wants the chip to start again runs it again with the same flash. What the firmware does wrong on the board's pins is
// told on standard error and ends it with status 1.

import { connect } from 'node:net';
import { parseArgs } from 'node:util';
import { Machine } from './machine.js';
import { Cable } from './network.js';

const RESTARTED = 75;

const { values } = parseArgs({
  options: { flash: { type: 'string' }, uf2: { type: 'string' }, bus: { type: 'string' }, net: { type: 'string' } },
});
if (!values.flash) throw new Error('expected --flash FILE, where the flash is kept');

const endpoint = (text) => {
  const at = text.lastIndexOf(':');
  return [text.slice(0, at), Number(text.slice(at + 1))];
};
const end = (status, what) => {
  process.stderr.write(`${what}\n`);
  process.exit(status);
};

let meters;
let cable;
const machine = new Machine({
  flashPath: values.flash,
  uf2Path: values.uf2,
  on: {
    console: (byte) => process.stdout.write(Uint8Array.of(byte)),
    bus: (byte) => meters?.write(Uint8Array.of(byte)),
    frame: (frame) => cable?.send(frame),
    fault: (what) => end(1, `emulator: ${what}`),
    reset: (what) => end(RESTARTED, `emulator: ${what}`),
  },
});
if (values.bus) {
  const [host, port] = endpoint(values.bus);
  const open = () => {
    meters = connect(port, host);
    meters.setNoDelay(true);
    meters.on('data', (bytes) => machine.bus.receive(bytes));
    // Meters that are gone are silent; they may come back.
    meters.on('error', () => {});
    meters.on('close', () => setTimeout(open, 500));
  };
  open();
}
if (values.net) cable = new Cable(...endpoint(values.net), (frame) => machine.ethernet.receive(frame));
process.stdin.on('data', (bytes) => machine.console.receive(bytes));
process.on('SIGTERM', () => process.exit(0));
machine.run();
