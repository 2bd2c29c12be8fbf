/**
 * Where the variables of an object's arena begin in it.
 *
 * Source: reference page `load`, section 7.2. Kernels that take any offset of 32 bits in an address within a map's value get
 * them at the arena's end, so that a null pointer of the arena is nobody's address; others at its beginning.
 */
import { hasIt } from "../../services/Kernel/Feature.ts"
import type { KernelInfo, Requirement } from "../../services/Kernel/KernelInfo.ts"
import * as KernelInfos from "../../services/Kernel/KernelInfo.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import * as Asked from "../Asked.ts"
import type { BpfObject } from "../open/BpfObject.ts"

/** An arena with variables. */
export interface Placement {
  /** Position in `object.maps`. */
  readonly map: number
  /** Bytes from the arena's beginning. */
  readonly offset: number
}

/** The place of variables of this many bytes in an arena of this many pages. What does not fit begins at its beginning. */
export const offsetAtEnd = (variables: number, pages: number, pageSize: number): number =>
  Math.max(0, pages * pageSize - Math.ceil(variables / pageSize) * pageSize)

/** Places the arena's variables; `undefined` where there are none. */
export const of = (object: BpfObject, info: KernelInfo): Asked.Asked<Placement | undefined> => {
  const map = object.maps.findIndex(({ attr, autocreate, initialValue }) =>
    attr.type === MapType.BPF_MAP_TYPE_ARENA && autocreate && initialValue !== undefined
  )
  const arena = object.maps[map]
  if (arena?.initialValue === undefined) return Asked.done(undefined)
  const feature: Requirement = { _tag: "Feature", feature: "Ldimm64FullRangeOffset" }
  const atEnd = info.features.get("Ldimm64FullRangeOffset") ?? KernelInfos.unasked
  const needs = [feature, { _tag: "PageSize" } as const].filter((each) =>
    KernelInfos.factOf(info, each)._tag === "Unasked"
  )
  if (needs.length > 0) return Asked.needs(needs)
  const { pageSize } = info
  // What is not decided yet, or not told, must do on every kernel.
  return Asked.done({
    map,
    offset: atEnd._tag === "Known" && hasIt(atEnd.value) === true && pageSize._tag === "Known"
      ? offsetAtEnd(arena.initialValue.length, arena.attr.maxEntries, pageSize.value)
      : 0
  })
}
