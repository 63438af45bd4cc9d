// The flash: 2 MiB in a file, so that an emulator that is killed and started again is a power cycle.

import { closeSync, existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';

export const FLASH_LEN = 2 * 1024 * 1024;
const FLASH_BASE = 0x10000000;
const ERASED = 0xff;

// UF2 file format, "File containing": blocks of 512 bytes, magic numbers, RP2040's family.
const BLOCK_LEN = 512;
const MAGIC_START_0 = 0x0a324655;
const MAGIC_START_1 = 0x9e5d5157;
const MAGIC_END = 0x0ab16f30;
const FLAG_NOT_FOR_FLASH = 0x1;
const FLAG_FAMILY = 0x2000;
const FAMILY_RP2040 = 0xe48bff56;

/** What a UF2 holds, as the boot loader takes it: [[address, bytes], ...]. */
export function readUf2(path) {
  const file = readFileSync(path);
  if (file.length === 0 || file.length % BLOCK_LEN) throw new Error(`${path}: not whole UF2 blocks`);
  const blocks = [];
  for (let at = 0; at < file.length; at += BLOCK_LEN) {
    const word = (index) => file.readUInt32LE(at + 4 * index);
    if (word(0) !== MAGIC_START_0 || word(1) !== MAGIC_START_1 || file.readUInt32LE(at + BLOCK_LEN - 4) !== MAGIC_END)
      throw new Error(`${path}: no UF2 block at ${at}`);
    if (word(2) & FLAG_NOT_FOR_FLASH) continue;
    if (!(word(2) & FLAG_FAMILY) || word(7) !== FAMILY_RP2040) throw new Error(`${path}: not for the RP2040`);
    if (word(5) !== at / BLOCK_LEN || word(6) !== file.length / BLOCK_LEN)
      throw new Error(`${path}: block ${at / BLOCK_LEN} says that it is ${word(5)} of ${word(6)}`);
    blocks.push([word(3), file.subarray(at + 32, at + 32 + word(4))]);
  }
  return blocks;
}

export class Flash {
  #file;

  /** `memory` is the emulator's; it becomes what the file at `path` holds, an erased flash when there is none. */
  constructor(memory, path) {
    this.memory = memory;
    memory.fill(ERASED);
    if (existsSync(path)) memory.set(readFileSync(path));
    else writeFileSync(path, memory.subarray(0, FLASH_LEN));
    this.#file = openSync(path, 'r+');
  }

  /** Writes an image as the boot loader does: the sectors that it touches are erased. */
  install(blocks) {
    const sectors = new Set(blocks.map(([address]) => Math.floor((address - FLASH_BASE) / 4096)));
    for (const sector of sectors) this.erase(sector * 4096, 4096);
    for (const [address, bytes] of blocks) this.program(address - FLASH_BASE, bytes);
  }

  erase(at, len) {
    this.#check(at, len);
    this.memory.fill(ERASED, at, at + len);
    this.#keep(at, len);
  }

  /** Ones become zeros, and never the other way. */
  program(at, bytes) {
    this.#check(at, bytes.length);
    bytes.forEach((byte, index) => (this.memory[at + index] &= byte));
    this.#keep(at, bytes.length);
  }

  close() {
    closeSync(this.#file);
  }

  #check(at, len) {
    if (at < 0 || at + len > FLASH_LEN) throw new Error(`${len} bytes at ${at} are outside the flash`);
  }

  #keep(at, len) {
    writeSync(this.#file, this.memory, at, len, at);
  }
}
