/**
 * Values for a loader's inputs where there is no kernel to ask: so that it can be looked at, which does not depend on them.
 */
import type { ProgFunction } from "../../../services/Kernel/KernelCall.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import * as MapSteps from "../../load/MapSteps.ts"
import type { LoaderProgram } from "../LoaderProgram.ts"
import type { ReplayOptions } from "../Replay.ts"

/** Refs of programs that stand for those of others: beyond those of any plan. */
const FIRST_PROGRAM = 0x2000_0000

/** The page size and the number of CPUs that stand in for the machine's. */
const PAGE_SIZE = 4096
const POSSIBLE_CPUS = 1

/** Any struct of the kernel is smaller, bytes: what stands in for the size of one. */
const STRUCT_SIZE = 4096

/** The part of a replay's options that are inputs. */
export type Inputs = Required<Pick<ReplayOptions, "maps" | "words" | "programs">>

/**
 * What stands in for the inputs of a loader: pages of 4096 bytes, one CPU, a configuration in which nothing is set, structs of
 * 4096 bytes of which everything is the first member, and programs that are in no session.
 */
export const standIns = (loader: LoaderProgram): Inputs => {
  const maps = new Map<number, { maxEntries?: number; initialValue?: Uint8Array }>()
  const words = new Map<number, number>()
  const programs = new Map<number, ProgFunction>()
  for (const input of loader.inputs) {
    switch (input._tag) {
      case "Kconfig": {
        const { offset, size } = loader.maps[input.map]?.initialValue ?? { offset: 0, size: 0 }
        maps.set(input.map, { ...maps.get(input.map), initialValue: loader.data.slice(offset, offset + size) })
        break
      }
      case "PossibleCpus":
      case "RingSize": {
        const value = input._tag === "RingSize" ? MapSteps.ringSize(input.bytes, PAGE_SIZE) : POSSIBLE_CPUS
        if (input.template) words.set(input.contextOffset, value)
        else maps.set(input.map, { ...maps.get(input.map), maxEntries: value })
        break
      }
      case "StructSize":
        words.set(input.contextOffset, STRUCT_SIZE)
        break
      case "Member":
        words.set(input.contextOffset, 1)
        break
      case "Program":
        programs.set(input.program, { program: Ref.prog(FIRST_PROGRAM + input.program), function: input.function })
    }
  }
  return { maps, words, programs }
}
