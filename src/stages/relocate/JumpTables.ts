/**
 * The jump tables of laid-out programs: each a map of its program's own, since it holds places in that program.
 */
import * as Ref from "../../services/Kernel/Ref.ts"
import type { BpfObject, Relocation } from "../open/BpfObject.ts"
import { maxTotalSlots } from "./Layout.ts"
import { RelocateError } from "./RelocateError.ts"
import type { JumpTable, Placement } from "./RelocatedObject.ts"

/** The tables of one program. */
export interface Tables {
  /** The map of the table that a relocation of this function names. Throws `RelocateError`. */
  readonly of: (relocation: Extract<Relocation, { readonly _tag: "JumpTable" }>, placement: Placement) => Ref.MapRef
  readonly all: ReadonlyArray<JumpTable>
}

/** Numbers the tables of an object: behind its maps, and behind the templates of those that hold maps. */
export const make = (object: BpfObject): (program: string) => Tables => {
  let next = 2 * object.maps.length
  let entries = 0
  return (program) => {
    const known = new Map<ReadonlyArray<number>, Ref.MapRef>()
    const all: Array<JumpTable> = []
    return {
      all,
      of: ({ at, targets }, { program: position, slot }) => {
        const before = known.get(targets)
        if (before !== undefined) return before
        entries += targets.length
        const refuse = (reason: RelocateError["reason"], detail: string) =>
          new RelocateError({ reason, name: program, slot: at, detail })
        // One table may serve a function that is part of many programs.
        if (entries > maxTotalSlots) {
          throw refuse("TooLarge", `the object's jump tables have more than ${maxTotalSlots} entries together`)
        }
        const { sectionSlot = 0, sectionSlots = 0 } = object.programs[position] ?? {}
        const moved = targets.map((target, entry) => {
          if (target >= sectionSlot && target < sectionSlot + sectionSlots) return target - sectionSlot + slot
          throw refuse("Instruction", `entry ${entry} of the jump table leads out of the function`)
        })
        const map = Ref.map(next++)
        known.set(targets, map)
        all.push({ map: map.index, targets: moved })
        return map
      }
    }
  }
}
