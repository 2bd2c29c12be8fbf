/**
 * What bpf file systems delegate as data, with bpftool's keys in bpftool's order.
 */
import type { Delegation } from "../objects/Delegations.ts"
import type { Json } from "./Json.ts"

/** One file system. */
export const tokenJson = (
  { attachTypes, commands, folder, maps, programs }: Delegation
): { readonly [key: string]: Json } => ({
  token_info: folder,
  allowed_cmds: [...commands],
  allowed_maps: [...maps],
  allowed_progs: [...programs],
  allowed_attachs: [...attachTypes]
})
