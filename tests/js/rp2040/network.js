// An Ethernet cable to QEMU's socket network: each frame over TCP behind its length in four bytes, most significant
// first (QEMU, net/socket.c).

import { connect } from 'node:net';

const LENGTH_LEN = 4;
const FRAME_LEN_MIN = 60;
const RECONNECT_MS = 200;

export class Cable {
  #pending = Buffer.alloc(0);

  /** `onFrame(frame)` is called with each frame that comes. While nobody holds the other end, frames are lost. */
  constructor(host, port, onFrame) {
    this.onFrame = onFrame;
    this.#plug(host, port);
  }

  send(frame) {
    const len = Math.max(frame.length, FRAME_LEN_MIN);
    const packet = Buffer.alloc(LENGTH_LEN + len);
    packet.writeUInt32BE(len);
    packet.set(frame, LENGTH_LEN);
    if (this.socket.readyState === 'open') this.socket.write(packet);
  }

  #plug(host, port) {
    this.#pending = Buffer.alloc(0);
    this.socket = connect(port, host);
    this.socket.setNoDelay(true);
    this.socket.on('data', (bytes) => this.#take(bytes));
    this.socket.on('error', () => {});
    this.socket.on('close', () => setTimeout(() => this.#plug(host, port), RECONNECT_MS));
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
