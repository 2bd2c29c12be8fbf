/**
 * Structs of the kernel that programs implement as data, with bpftool's keys in bpftool's order.
 */
import type { Dumped, StructOpsMap } from "../structops/Verbs.ts"
import type { Json } from "./Json.ts"

/** One map with a struct. */
export const structOpsJson = ({ info, struct }: StructOpsMap): { readonly [key: string]: Json } => ({
  id: info.id,
  name: info.name,
  kernel_struct_ops: struct
})

/** What is in maps: for each the kernel's record of it, then its value. */
export const structOpsDumpJson = (dumped: ReadonlyArray<Dumped>): ReadonlyArray<Json> =>
  dumped.flatMap(({ record, type, value }): ReadonlyArray<Json> => [
    { bpf_map_info: record },
    Object.fromEntries([[type, value]])
  ])

/** A struct that was registered. */
export interface Registered {
  readonly name: string
  /** The kernel's name of the struct. */
  readonly struct: string
  /** The map's identifier. */
  readonly id: number
  readonly linkId: number | undefined
  readonly path: string | undefined
}

/** What was registered. bpftool says nothing here. */
export const registeredJson = (all: ReadonlyArray<Registered>): ReadonlyArray<Json> =>
  all.map(({ id, linkId, name, path, struct }) => ({
    id,
    name,
    kernel_struct_ops: struct,
    link_id: linkId ?? null,
    pinned: path ?? null
  }))
