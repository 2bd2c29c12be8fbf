/**
 * An object whose programs are whole: each entry program with its subprograms behind it, as the kernel takes it.
 */
import type { Code, InfoRecords } from "../../services/Kernel/KernelCall.ts"
import type { Variable } from "../../services/Kernel/KernelConfig.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import type { CoreOutcome } from "./core/Core.ts"

/** Where a function of the object ended up in a program. */
export interface Placement {
  /** Position in `object.programs`. */
  readonly program: number
  /** First instruction slot in the laid-out program. */
  readonly slot: number
  readonly slots: number
}

/** A map of instructions that `gotox` may lead to, which the kernel moves along when it rewrites the program. */
export interface JumpTable {
  /** Number of the map's ref. */
  readonly map: number
  /** Instruction slots in the laid-out program. */
  readonly targets: ReadonlyArray<number>
}

/** An entry program with everything that it calls. Map refs are positions in `object.maps`. */
export interface RelocatedProgram {
  /** Position in `object.programs`. */
  readonly program: number
  readonly code: Code
  /** The entry program first, then subprograms in the order in which they are first called. */
  readonly layout: ReadonlyArray<Placement>
  readonly funcInfo: InfoRecords | undefined
  readonly lineInfo: InfoRecords | undefined
  /** Its jump tables: maps of this program alone, numbered behind the object's maps and their templates. */
  readonly jumpTables?: ReadonlyArray<JumpTable>
  /**
   * What became of each CO-RE relocation, in order; their slots are those of `code`. `undefined` where the kernel decides
   * when the program is loaded: the records are then part of `code`.
   */
  readonly core: ReadonlyArray<CoreOutcome> | undefined
  readonly notes: ReadonlyArray<string>
}

/** An object that is ready to be planned. */
export interface RelocatedObject {
  readonly object: BpfObject
  /** Entry programs that a load takes, in the object's order. */
  readonly programs: ReadonlyArray<RelocatedProgram>
  /** Where the variables in the object's arena begin in it, bytes; absent where it has none. Code refers to them there. */
  readonly arenaOffset?: number
  /** The value of the `.kconfig` map, where the object has one. */
  readonly kconfig: Uint8Array | undefined
  /** The variables of `.kconfig` that are left for the time when the plan runs; absent where there are none. */
  readonly kconfigPending?: ReadonlyArray<Variable>
}
