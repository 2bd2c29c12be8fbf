/**
 * The loop that executes decoded instructions.
 *
 * One function, one switch: the engine compiles it to a jump table and keeps everything but the register file in machine
 * registers. Labels are written as numbers, since only literals make a table; they are the opcodes of RFC 9669 in their
 * register form, and the numbers of `Operation` in Program.ts. Cases do the common thing in place; what is rare (an access
 * that does not go straight to a region's bytes, a call, the end of the budget) leaves the switch.
 */
import * as Access from "./Access.ts"
import * as Arithmetic64 from "./Arithmetic64.ts"
import {
  type Continuation,
  ENTERED,
  fault,
  FAULTED,
  FINISHED,
  type Handled,
  type Machine,
  pop,
  push,
  RETURNED,
  suspend,
  type SUSPENDED
} from "./Machine.ts"
import type { AccessSize, Region } from "./Memory.ts"

/** Why the loop was left: the program is over, it wants a call's result, its budget is spent, or it failed. */
export type Exit = typeof FINISHED | typeof SUSPENDED | typeof SPENT | typeof FAULTED

/** The budget is spent before the instruction at `pc`. */
export const SPENT = 5

/** `handled` of a case that leaves the switch for an access that is not straightforward. */
const SLOW = 6

/** Most instructions between two looks at the budget; it must fit a small integer of any engine. */
const CHUNK = 1 << 29

/**
 * A register file whose indices decoding has checked. An index is typed as the one literal `0`, so that the compiler knows
 * that the element is there; at run time it is any register or constant of the program.
 */
type Halves = Int32Array & { 0: number }
type Index = 0

const swap = (a: number): number => (a << 24) | ((a & 0xff00) << 8) | ((a >>> 8) & 0xff00) | (a >>> 24)

/** Bytes of an access, by bits 3 and 4 of the opcode: BPF_W, BPF_H, BPF_B, BPF_DW. */
const sizes: readonly [AccessSize, AccessSize, AccessSize, AccessSize] = [4, 2, 1, 8]

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
  const { host, memory, out } = m
  const { helpers, kfuncs } = host
  const { regions } = memory
  let mask = memory.mask
  let code = m.program.code as Halves
  let lo = m.low as Halves
  let hi = m.high as Halves
  let pc = m.pc
  let fuse = m.fuse
  for (;;) {
    if (--fuse < 0) {
      m.pc = pc
      fuse = refuel(m, fuse)
      if (fuse === 0) {
        m.fuse = 0
        return SPENT
      }
      fuse -= 1
    }
    const at = pc
    pc += 4
    const word = code[at as Index]
    const d = (word >> 16) as Index
    const s = code[(at + 1) as Index] as Index
    let handled: Handled | typeof SLOW = SLOW
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
      case 0x2f: // mul
        Arithmetic64.multiply(lo, hi, d, s)
        continue
      case 0x3f: // div
        Arithmetic64.divide(lo, hi, d, s)
        continue
      case 0x9f: // mod
        Arithmetic64.remainder(lo, hi, d, s)
        continue
      case 0x13f: // sdiv
        Arithmetic64.signedDivide(lo, hi, d, s)
        continue
      case 0x19f: // smod
        Arithmetic64.signedRemainder(lo, hi, d, s)
        continue
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
      // Arena pointers
      case 0x130: // to the kernel's address space
      case 0x131: // to user space's
        if (host.arena === undefined) {
          m.pc = pc
          m.fuse = fuse
          fault(m, { reason: "Unsupported", value: "a cast of an arena pointer without an arena" })
          return FAULTED
        }
        // NULL stays NULL on the way out, and only there.
        hi[d] = (word & 0xffff) === 0x130 ? host.arena.region.id : lo[s] === 0 ? 0 : host.arena.userHigh
        lo[d] = lo[s]
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
      case 0xc3: // atomic w
      case 0xdb: // atomic dw
        break
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
      // Calls
      case 0x85: { // helper
        const id = code[(at + 3) as Index]
        const helper = id >= 0 && id < helpers.length ? helpers[id] : undefined
        m.pc = pc
        m.fuse = fuse
        handled = helper === undefined ? suspend(m) : helper(m)
        break
      }
      case 0x186: { // kernel function
        const kfunc = kfuncs.get(code[(at + 3) as Index])
        m.pc = pc
        m.fuse = fuse
        handled = kfunc === undefined ? suspend(m) : kfunc(m)
        break
      }
      case 0x185: // subprogram
        if (push(m, pc, undefined)) {
          pc = code[(at + 2) as Index]
          continue
        }
        m.pc = pc
        m.fuse = fuse
        fault(m, { reason: "CallDepth" })
        return FAULTED
      case 0x95: { // exit
        if (m.depth === 0) {
          m.pc = pc
          m.fuse = fuse
          return FINISHED
        }
        const continuation: Continuation | undefined = pop(m)
        m.fuse = fuse
        handled = continuation === undefined ? RETURNED : continuation(m)
        break
      }
      case 0x140: { // packet load
        m.pc = pc
        m.fuse = fuse
        if (host.packetLoad === undefined) {
          fault(m, { reason: "Unsupported", value: "a packet load in this kind of program" })
          return FAULTED
        }
        const value = host.packetLoad(m, (lo[s] + code[(at + 3) as Index]) | 0, d)
        lo[0] = value ?? 0
        hi[0] = 0
        // Without such bytes the function is over: by the exit behind the code.
        if (value === undefined) pc = (m.program.slots + 1) * 4
        continue
      }
      default: // END
        m.pc = at
        m.fuse = fuse
        fault(m, { reason: "FellOff" })
        return FAULTED
    }
    if (handled === SLOW) {
      m.pc = pc
      const opcode = word & 0xff
      const offset = code[(at + 2) as Index]
      const size = sizes[((opcode >> 3) & 3) as Index]
      if ((opcode & 7) === 3) {
        const done = (opcode & 0xe0) === 0xc0
          ? Access.atomic(m, code[(at + 3) as Index], d, s, offset, size === 8 ? 8 : 4)
          : Access.store(m, lo[d], hi[d], offset, size, lo[s], hi[s])
        if (done) continue
      } else if (Access.load(m, lo[s], hi[s], offset, size)) {
        let value = out[0] as number
        if ((opcode & 0xe0) === 0x80) {
          value = size === 1 ? value << 24 >> 24 : size === 2 ? value << 16 >> 16 : value
          hi[d] = value >> 31
        } else hi[d] = out[1] as number
        lo[d] = value
        continue
      }
      m.fuse = fuse
      return FAULTED
    }
    // A helper, or what goes on after a callback, may have changed everything.
    fuse = m.fuse
    pc = m.pc
    mask = memory.mask
    code = m.program.code as Halves
    lo = m.low as Halves
    hi = m.high as Halves
    if (handled !== RETURNED && handled !== ENTERED) return handled
  }
}
