/**
 * Lays a program and the functions that it calls out in one stream of instructions.
 *
 * The kernel knows no calls between programs: a function is loaded as a part of each program that calls it. Functions
 * stand in the order in which calls reach them first, depth first, as in libbpf, since that order can be seen in
 * function info, logs and dumps.
 */
import * as Insn from "../../insn/Insn.ts"
import { BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC } from "../../insn/InsnConstants.ts"
import { type BpfObject, functionAt } from "../open/BpfObject.ts"
import type { Placement } from "./RelocatedObject.ts"
import { RelocateError } from "./RelocateError.ts"

/** The most instructions that a program may have: the verifier's limit for the privileged. */
const maxSlots = 1_000_000

/** Instructions that all programs of an object together may have; more is an attack on memory, not an object. */
export const maxTotalSlots = 4_000_000

/** A program laid out, with its calls filled in and nothing else changed. */
export interface LaidOut {
  readonly insns: Uint8Array
  readonly layout: ReadonlyArray<Placement>
}

/** The function that a call of `caller` at slot `at` leads to. Throws `RelocateError`. */
const callee = (object: BpfObject, caller: number, at: number, section: number, slot: number): number => {
  const position = functionAt(object.programs, section, slot)
  const target = position === undefined ? undefined : object.programs[position]
  if (position === undefined || target === undefined || target.sectionSlot !== slot) {
    throw new RelocateError({
      reason: "CallTarget",
      name: object.programs[caller]?.name ?? "",
      slot: at,
      detail: target === undefined
        ? `the call leads to no function (section ${section}, instruction ${slot})`
        : `the call leads into the middle of ${target.name}`
    })
  }
  return position
}

/** A function on the way: which of its relocations comes next. */
interface Frame {
  readonly program: number
  readonly slot: number
  next: number
}

/** Lays out an entry program, its exception callback at the end where it has one. Throws `RelocateError`. */
export const layOut = (object: BpfObject, entry: number, exceptionCallback?: number): LaidOut => {
  const placed = new Map<number, Placement>()
  const layout: Array<Placement> = []
  const calls: Array<{ readonly at: number; readonly to: number; readonly pointer: boolean }> = []
  let end = 0
  const place = (position: number): Placement => {
    const slots = Insn.count(object.programs[position]?.insns ?? new Uint8Array())
    const placement: Placement = { program: position, slot: end, slots }
    end += slots
    if (end > maxSlots) {
      throw new RelocateError({
        reason: "TooLarge",
        name: object.programs[entry]?.name ?? "",
        detail: `the program has more than ${maxSlots} instructions with the functions that it calls`
      })
    }
    placed.set(position, placement)
    layout.push(placement)
    return placement
  }
  // A stack of our own: how deep calls nest is up to the object.
  const stack: Array<Frame> = [{ program: entry, slot: place(entry).slot, next: 0 }]
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const relocation = object.programs[frame.program]?.relocations[frame.next]
    if (relocation === undefined) {
      stack.pop()
      if (stack.length === 0 && exceptionCallback !== undefined && !placed.has(exceptionCallback)) {
        stack.push({ program: exceptionCallback, slot: place(exceptionCallback).slot, next: 0 })
      }
      continue
    }
    frame.next++
    if (relocation._tag !== "Call" && relocation._tag !== "Function") continue
    const target = callee(object, frame.program, relocation.at, relocation.section, relocation.slot)
    let placement = placed.get(target)
    if (placement === undefined) {
      placement = place(target)
      stack.push({ program: target, slot: placement.slot, next: 0 })
    }
    calls.push({ at: frame.slot + relocation.at, to: placement.slot, pointer: relocation._tag === "Function" })
  }
  const insns = new Uint8Array(end * 8)
  for (const { program, slot } of layout) insns.set(object.programs[program]?.insns ?? new Uint8Array(), slot * 8)
  for (const { at, pointer, to } of calls) {
    Insn.setSrc(insns, at, pointer ? BPF_PSEUDO_FUNC : BPF_PSEUDO_CALL)
    Insn.setImm(insns, at, to - at - 1)
    if (pointer) Insn.setImm(insns, at + 1, 0)
  }
  return { insns, layout }
}
