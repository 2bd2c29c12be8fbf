/**
 * The loop that executes decoded instructions.
 *
 * One function, one switch: the engine compiles it to a jump table, and keeps everything but the register file in machine
 * registers. Labels are written as numbers, since only literals make a table; they are the opcodes of RFC 9669 in their
 * register form, and the numbers of `Operation` in Program.ts.
 *
 * The inner loop calls nothing: then the engine knows that nothing but registers and regions' bytes changes in it, and looks
 * up the arrays once and not at every access. Whatever needs more than a few lines (an access that does not go straight to a
 * region's bytes, a call, division, the end of the budget) leaves it for the outer one and `Perform.ts`.
 */
import { ENTERED, type FAULTED, type FINISHED, type Machine, RETURNED, type SUSPENDED } from "./Machine.ts"
import type { Region } from "./Memory.ts"
import { perform } from "./Perform.ts"

/** Why execution stopped: the program is over, it wants a call's result, its budget is spent, or it failed. */
export type Exit = typeof FINISHED | typeof SUSPENDED | typeof SPENT | typeof FAULTED

/** The budget is spent before the instruction at `pc`. */
export const SPENT = 5

/** Most instructions between two looks at the budget; it must fit a small integer of any engine. */
const CHUNK = 1 << 29

/**
 * A register file or code whose indices decoding has checked. An index is typed as the one literal `0`, so that the compiler
 * knows that the element is there; at run time it is any register, constant or word of the program.
 */
type Halves = Int32Array & { 0: number }
type Index = 0

const swap = (a: number): number => (a << 24) | ((a & 0xff00) << 8) | ((a >>> 8) & 0xff00) | (a >>> 24)

/**
 * How many instructions may run from `pc` on, that one included, until the next look: 0 where the budget is spent. `fuse` is
 * below zero, by more than 1 where helpers charged for their work.
 */
const refuel = (machine: Machine, fuse: number): number => {
  machine.remaining += fuse + 1
  if (machine.remaining <= 0) return 0
  if (!machine.watched) {
    const chunk = Math.min(machine.remaining, CHUNK)
    machine.remaining -= chunk
    return chunk
  }
  machine.remaining -= 1
  const slot = machine.pc >> 2
  // The exit that stands behind the code for packet loads is nobody's instruction.
  if (slot >= machine.program.slots) return 1
  const { counts } = machine
  if (counts !== undefined) counts[slot] = (counts[slot] as number) + 1
  machine.trace?.(machine, slot)
  return 1
}

/** Executes from `machine.pc` on, until something of `Exit`. `machine.remaining` is the budget, and what is left of it after. */
export const execute = (machine: Machine): Exit => {
  const exit = loop(machine)
  machine.remaining += machine.fuse
  machine.fuse = 0
  return exit
}

const loop = (m: Machine): Exit => {
  const { regions } = m.memory
  for (;;) {
    // A helper, or what goes on after a callback, may have changed everything.
    const { mask } = m.memory
    const code = m.program.code as Halves
    const lo = m.low as Halves
    const hi = m.high as Halves
    let { fuse, pc } = m
    let at = pc
    for (;;) {
      if (--fuse < 0) {
        at = -1
        break
      }
      at = pc
      pc += 4
      const word = code[at as Index]
      const d = (word >> 16) as Index
      const s = code[(at + 1) as Index] as Index
      switch (word & 0xffff) {
        // 64-bit arithmetic
        case 0x0f: { // add
          const a = lo[d]
          const sum = (a + lo[s]) | 0
          hi[d] = hi[d] + hi[s] + (sum >>> 0 < a >>> 0 ? 1 : 0)
          lo[d] = sum
          continue
        }
        case 0x1f: { // sub
          const a = lo[d]
          const b = lo[s]
          hi[d] = hi[d] - hi[s] - (a >>> 0 < b >>> 0 ? 1 : 0)
          lo[d] = a - b
          continue
        }
        case 0x2f: { // mul
          const a = lo[d]
          const b = lo[s]
          const a0 = a & 0xffff
          const a1 = a >>> 16
          const b0 = b & 0xffff
          const b1 = b >>> 16
          // The upper half of the product of the low halves, from products of 16 bits; every sum is below 2^32.
          const middle = (Math.imul(a1, b0) >>> 0) + (Math.imul(a0, b0) >>> 16)
          const carry = (Math.imul(a0, b1) >>> 0) + (middle & 0xffff)
          const upper = Math.imul(a1, b1) + (middle >>> 16) + (carry >>> 16)
          hi[d] = upper + Math.imul(hi[d], b) + Math.imul(a, hi[s])
          lo[d] = Math.imul(a, b)
          continue
        }
        case 0x4f: // or
          lo[d] |= lo[s]
          hi[d] |= hi[s]
          continue
        case 0x5f: // and
          lo[d] &= lo[s]
          hi[d] &= hi[s]
          continue
        case 0xaf: // xor
          lo[d] ^= lo[s]
          hi[d] ^= hi[s]
          continue
        case 0x6f: { // lsh
          const n = lo[s] & 63
          const a = lo[d]
          if (n < 32) {
            // In two steps, since a shift by 32 would be one by 0.
            hi[d] = (hi[d] << n) | (a >>> 1 >>> (31 - n))
            lo[d] = a << n
          } else {
            hi[d] = a << (n - 32)
            lo[d] = 0
          }
          continue
        }
        case 0x7f: { // rsh
          const n = lo[s] & 63
          const a = hi[d]
          if (n < 32) {
            lo[d] = (lo[d] >>> n) | (a << 1 << (31 - n))
            hi[d] = a >>> n
          } else {
            lo[d] = a >>> (n - 32)
            hi[d] = 0
          }
          continue
        }
        case 0xcf: { // arsh
          const n = lo[s] & 63
          const a = hi[d]
          if (n < 32) {
            lo[d] = (lo[d] >>> n) | (a << 1 << (31 - n))
            hi[d] = a >> n
          } else {
            lo[d] = a >> (n - 32)
            hi[d] = a >> 31
          }
          continue
        }
        case 0x87: { // neg
          const a = lo[d]
          lo[d] = -a
          hi[d] = a === 0 ? -hi[d] : ~hi[d]
          continue
        }
        case 0xbf: // mov
          lo[d] = lo[s]
          hi[d] = hi[s]
          continue
        case 0x18: // 64-bit immediate load
          lo[d] = lo[s]
          hi[d] = hi[s]
          pc = at + 8
          continue
        case 0x110: { // movsx, 8 bits
          const a = lo[s] << 24 >> 24
          lo[d] = a
          hi[d] = a >> 31
          continue
        }
        case 0x111: { // movsx, 16 bits
          const a = lo[s] << 16 >> 16
          lo[d] = a
          hi[d] = a >> 31
          continue
        }
        case 0x112: { // movsx, 32 bits
          const a = lo[s]
          lo[d] = a
          hi[d] = a >> 31
          continue
        }
        // 32-bit arithmetic: the upper half becomes zero
        case 0x0c: // add
          lo[d] += lo[s]
          hi[d] = 0
          continue
        case 0x1c: // sub
          lo[d] -= lo[s]
          hi[d] = 0
          continue
        case 0x2c: // mul
          lo[d] = Math.imul(lo[d], lo[s])
          hi[d] = 0
          continue
        case 0x3c: { // div
          const by = lo[s] >>> 0
          lo[d] = by === 0 ? 0 : (lo[d] >>> 0) / by
          hi[d] = 0
          continue
        }
        case 0x9c: { // mod
          const by = lo[s] >>> 0
          if (by !== 0) lo[d] = (lo[d] >>> 0) % by
          hi[d] = 0
          continue
        }
        case 0x13c: { // sdiv
          const by = lo[s]
          lo[d] = by === 0 ? 0 : lo[d] / by
          hi[d] = 0
          continue
        }
        case 0x19c: { // smod
          const by = lo[s]
          if (by !== 0) lo[d] %= by
          hi[d] = 0
          continue
        }
        case 0x4c: // or
          lo[d] |= lo[s]
          hi[d] = 0
          continue
        case 0x5c: // and
          lo[d] &= lo[s]
          hi[d] = 0
          continue
        case 0xac: // xor
          lo[d] ^= lo[s]
          hi[d] = 0
          continue
        case 0x6c: // lsh
          lo[d] <<= lo[s]
          hi[d] = 0
          continue
        case 0x7c: // rsh
          lo[d] >>>= lo[s]
          hi[d] = 0
          continue
        case 0xcc: // arsh
          lo[d] >>= lo[s]
          hi[d] = 0
          continue
        case 0x84: // neg
          lo[d] = -lo[d]
          hi[d] = 0
          continue
        case 0xbc: // mov, and conversion of 32 bits to the machine's order
          lo[d] = lo[s]
          hi[d] = 0
          continue
        case 0x113: // movsx, 8 bits
          lo[d] = lo[s] << 24 >> 24
          hi[d] = 0
          continue
        case 0x114: // movsx, 16 bits
          lo[d] = lo[s] << 16 >> 16
          hi[d] = 0
          continue
        // Byte order
        case 0x120: { // swap of 16 bits
          const a = lo[d]
          lo[d] = ((a & 0xff) << 8) | ((a >> 8) & 0xff)
          hi[d] = 0
          continue
        }
        case 0x121: // swap of 32 bits
          lo[d] = swap(lo[d])
          hi[d] = 0
          continue
        case 0x122: { // swap of 64 bits
          const a = swap(lo[d])
          lo[d] = swap(hi[d])
          hi[d] = a
          continue
        }
        case 0x123: // conversion of 16 bits to the machine's order
          lo[d] &= 0xffff
          hi[d] = 0
          continue
        // Loads and stores, straight from and to a region's bytes
        case 0x61: { // ldx w
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 4 <= region.readLength) {
            lo[d] = region.view.getInt32(o, true)
            hi[d] = 0
            continue
          }
          break
        }
        case 0x69: { // ldx h
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 2 <= region.readLength) {
            lo[d] = region.view.getUint16(o, true)
            hi[d] = 0
            continue
          }
          break
        }
        case 0x71: { // ldx b
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 1 <= region.readLength) {
            lo[d] = region.view.getUint8(o)
            hi[d] = 0
            continue
          }
          break
        }
        case 0x79: { // ldx dw
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 8 <= region.readLength) {
            lo[d] = region.view.getInt32(o, true)
            hi[d] = region.view.getInt32(o + 4, true)
            continue
          }
          break
        }
        case 0x81: { // ldxsx w
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 4 <= region.readLength) {
            const a = region.view.getInt32(o, true)
            lo[d] = a
            hi[d] = a >> 31
            continue
          }
          break
        }
        case 0x89: { // ldxsx h
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 2 <= region.readLength) {
            const a = region.view.getInt16(o, true)
            lo[d] = a
            hi[d] = a >> 31
            continue
          }
          break
        }
        case 0x91: { // ldxsx b
          const base = lo[s]
          const number = hi[s]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 1 <= region.readLength) {
            const a = region.view.getInt8(o)
            lo[d] = a
            hi[d] = a >> 31
            continue
          }
          break
        }
        case 0x63: { // stx w
          const base = lo[d]
          const number = hi[d]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 4 <= region.writeLength) {
            region.view.setInt32(o, lo[s], true)
            continue
          }
          break
        }
        case 0x6b: { // stx h
          const base = lo[d]
          const number = hi[d]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 2 <= region.writeLength) {
            region.view.setInt16(o, lo[s], true)
            continue
          }
          break
        }
        case 0x73: { // stx b
          const base = lo[d]
          const number = hi[d]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 1 <= region.writeLength) {
            region.view.setInt8(o, lo[s])
            continue
          }
          break
        }
        case 0x7b: { // stx dw
          const base = lo[d]
          const number = hi[d]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 8 <= region.writeLength) {
            region.view.setInt32(o, lo[s], true)
            region.view.setInt32(o + 4, hi[s], true)
            continue
          }
          break
        }
        case 0x1c3: { // atomic add w, without fetching
          const base = lo[d]
          const number = hi[d]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 4 <= region.writeLength && region.readable) {
            region.view.setInt32(o, region.view.getInt32(o, true) + lo[s], true)
            continue
          }
          break
        }
        case 0x1db: { // atomic add dw, without fetching
          const base = lo[d]
          const number = hi[d]
          const o = (base + code[(at + 2) as Index]) | 0
          const region = regions[number & mask] as Region
          if (region.id === number && (base | o) >= 0 && o + 8 <= region.writeLength && region.readable) {
            const a = region.view.getInt32(o, true)
            const sum = (a + lo[s]) | 0
            const carry = sum >>> 0 < a >>> 0 ? 1 : 0
            region.view.setInt32(o, sum, true)
            region.view.setInt32(o + 4, region.view.getInt32(o + 4, true) + hi[s] + carry, true)
            continue
          }
          break
        }
        // Jumps
        case 0x05: // ja, gotol
          pc = code[(at + 2) as Index]
          continue
        case 0x1d: // jeq
          if (lo[d] === lo[s] && hi[d] === hi[s]) pc = code[(at + 2) as Index]
          continue
        case 0x5d: // jne
          if (lo[d] !== lo[s] || hi[d] !== hi[s]) pc = code[(at + 2) as Index]
          continue
        case 0x2d: // jgt
          if (hi[d] === hi[s] ? lo[d] >>> 0 > lo[s] >>> 0 : hi[d] >>> 0 > hi[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0x3d: // jge
          if (hi[d] === hi[s] ? lo[d] >>> 0 >= lo[s] >>> 0 : hi[d] >>> 0 > hi[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0xad: // jlt
          if (hi[d] === hi[s] ? lo[d] >>> 0 < lo[s] >>> 0 : hi[d] >>> 0 < hi[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0xbd: // jle
          if (hi[d] === hi[s] ? lo[d] >>> 0 <= lo[s] >>> 0 : hi[d] >>> 0 < hi[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0x4d: // jset
          if ((lo[d] & lo[s]) !== 0 || (hi[d] & hi[s]) !== 0) pc = code[(at + 2) as Index]
          continue
        case 0x6d: // jsgt
          if (hi[d] === hi[s] ? lo[d] >>> 0 > lo[s] >>> 0 : hi[d] > hi[s]) pc = code[(at + 2) as Index]
          continue
        case 0x7d: // jsge
          if (hi[d] === hi[s] ? lo[d] >>> 0 >= lo[s] >>> 0 : hi[d] > hi[s]) pc = code[(at + 2) as Index]
          continue
        case 0xcd: // jslt
          if (hi[d] === hi[s] ? lo[d] >>> 0 < lo[s] >>> 0 : hi[d] < hi[s]) pc = code[(at + 2) as Index]
          continue
        case 0xdd: // jsle
          if (hi[d] === hi[s] ? lo[d] >>> 0 <= lo[s] >>> 0 : hi[d] < hi[s]) pc = code[(at + 2) as Index]
          continue
        case 0x1e: // jeq32
          if (lo[d] === lo[s]) pc = code[(at + 2) as Index]
          continue
        case 0x5e: // jne32
          if (lo[d] !== lo[s]) pc = code[(at + 2) as Index]
          continue
        case 0x2e: // jgt32
          if (lo[d] >>> 0 > lo[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0x3e: // jge32
          if (lo[d] >>> 0 >= lo[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0xae: // jlt32
          if (lo[d] >>> 0 < lo[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0xbe: // jle32
          if (lo[d] >>> 0 <= lo[s] >>> 0) pc = code[(at + 2) as Index]
          continue
        case 0x4e: // jset32
          if ((lo[d] & lo[s]) !== 0) pc = code[(at + 2) as Index]
          continue
        case 0x6e: // jsgt32
          if (lo[d] > lo[s]) pc = code[(at + 2) as Index]
          continue
        case 0x7e: // jsge32
          if (lo[d] >= lo[s]) pc = code[(at + 2) as Index]
          continue
        case 0xce: // jslt32
          if (lo[d] < lo[s]) pc = code[(at + 2) as Index]
          continue
        case 0xde: // jsle32
          if (lo[d] <= lo[s]) pc = code[(at + 2) as Index]
          continue
        case 0xe5: { // may_goto
          const left = m.loops[m.depth] as number
          if (left === 0) pc = code[(at + 2) as Index]
          else m.loops[m.depth] = left - 1
          continue
        }
      }
      // What no case has continued after is not for this loop.
      break
    }
    m.pc = pc
    if (at < 0) {
      fuse = refuel(m, fuse)
      m.fuse = fuse
      if (fuse === 0) return SPENT
      continue
    }
    m.fuse = fuse
    const handled = perform(m, at)
    if (handled !== RETURNED && handled !== ENTERED) return handled
  }
}
