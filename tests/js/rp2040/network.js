// An Ethernet cable to QEMU's socket network: each frame over TCP behind its length in four bytes, most significant
// first (QEMU, net/socket.c).

import { connect } from 'node:net';

const LENGTH_LEN = 4;
const FRAME_LEN_MIN = 60;

export class Cable {
  #pending = Buffer.alloc(0);

  constructor(host, port, onFrame) {
    this.onFrame = onFrame;
    this.socket = connect(port, host);
    this.socket.setNoDelay(true);
    this.socket.on('data', (bytes) => this.#take(bytes));
  }

  send(frame) {
    const len = Math.max(frame.length, FRAME_LEN_MIN);
    const packet = Buffer.alloc(LENGTH_LEN + len);
    packet.writeUInt32BE(len);
    packet.set(frame, LENGTH_LEN);
    this.socket.write(packet);
  }

  #take(bytes) {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    while (this.#pending.length >= LENGTH_LEN) {
      const len = this.#pending.readUInt32BE();
      if (this.#pending.length < LENGTH_LEN + len) return;
      this.onFrame(this.#pending.subarray(LENGTH_LEN, LENGTH_LEN + len));
      this.#pending = this.#pending.subarray(LENGTH_LEN + len);
    }
  }
}
