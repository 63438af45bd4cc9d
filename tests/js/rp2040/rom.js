// The boot ROM's functions that firmware calls to write its flash (RP2040 data sheet, 2.8.3.1.3). The real ROM is not
// ours to ship, so each function here is a breakpoint followed by a return: the breakpoint calls JavaScript.

const FUNCTION_TABLE_AT = 0x14;
const LOOKUP_AT = 0x18;
const CODE_AT = 0x100;
const CODE_LEN = 4;
const BKPT = 0xbe00;
const BX_LR = 0x4770;
const FLASH_BASE = 0x10000000;
const SRAM_BASE = 0x20000000;

// W25Q16JV data sheet, 9.6, typical: a 4 KiB sector is erased in 45 ms, a page of 256 bytes written in 0.4 ms. The chip
// can't run its program meanwhile, so no other interrupt is taken.
const SECTOR_LEN = 4096;
const SECTOR_ERASE_NANOS = 45e6;
const PAGE_LEN = 256;
const PAGE_PROGRAM_NANOS = 0.4e6;

export class Rom {
  /** `flash` keeps what is written. */
  constructor(mcu, flash) {
    this.mcu = mcu;
    this.flash = flash;
    const nothing = () => {};
    this.functions = [
      ['lookup', () => this.#lookup()],
      ['IF', nothing], // connect the flash
      ['EX', nothing], // leave execute-in-place
      ['RE', () => this.#erase()],
      ['RP', () => this.#program()],
      ['FC', nothing], // flush the cache
      ['CX', nothing], // enter execute-in-place
      ['C4', () => this.#copy()],
    ];
    const rom = new DataView(mcu.bootrom.buffer);
    rom.setUint16(FUNCTION_TABLE_AT, CODE_AT, true);
    rom.setUint16(LOOKUP_AT, CODE_AT | 1, true);
    this.functions.forEach((_, index) => {
      rom.setUint16(CODE_AT + CODE_LEN * index, BKPT | index, true);
      rom.setUint16(CODE_AT + CODE_LEN * index + 2, BX_LR, true);
    });
    mcu.onBreak = (index) => {
      const found = this.functions[index];
      if (!found) throw new Error(`breakpoint ${index} at ${mcu.core.PC.toString(16)}`);
      found[1]();
    };
  }

  #lookup() {
    const { registers } = this.mcu.core;
    const code = String.fromCharCode(registers[1] & 0xff, (registers[1] >> 8) & 0xff);
    const index = this.functions.findIndex(([name]) => name === code);
    if (index < 0) throw new Error(`the firmware asks the boot ROM for '${code}', which is not emulated`);
    registers[0] = (CODE_AT + CODE_LEN * index) | 1;
  }

  #erase() {
    const [at, len] = this.mcu.core.registers;
    if (at % SECTOR_LEN || len % SECTOR_LEN) throw new Error(`erase of ${len} bytes at ${at}: no whole sectors`);
    this.flash.erase(at, len);
    this.mcu.clock.tick((len / SECTOR_LEN) * SECTOR_ERASE_NANOS);
  }

  #program() {
    const [at, from, len] = this.mcu.core.registers;
    if (at % PAGE_LEN || len % PAGE_LEN) throw new Error(`write of ${len} bytes at ${at}: no whole pages`);
    this.flash.program(at, this.#memory(from, len));
    this.mcu.clock.tick((len / PAGE_LEN) * PAGE_PROGRAM_NANOS);
  }

  #copy() {
    const [to, from, len] = this.mcu.core.registers;
    this.mcu.sram.set(this.#memory(from, len), (to >>> 0) - SRAM_BASE);
  }

  #memory(at, len) {
    const { sram, flash } = this.mcu;
    const address = at >>> 0;
    return address < SRAM_BASE
      ? flash.slice(address - FLASH_BASE, address - FLASH_BASE + len)
      : sram.slice(address - SRAM_BASE, address - SRAM_BASE + len);
  }
}
