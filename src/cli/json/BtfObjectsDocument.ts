/**
 * Objects of types of a kernel as data, with bpftool's keys in bpftool's order.
 */
import type { BtfObject } from "../btf/Objects.ts"
import type { Holder } from "../objects/Holders.ts"
import { pidsJson } from "./HoldersDocument.ts"
import type { Json } from "./Json.ts"

/** One object of types. */
export const btfObjectJson = (
  { info, users }: BtfObject,
  holders: ReadonlyArray<Holder> = []
): { readonly [key: string]: Json } => ({
  id: info.id,
  size: info.size,
  prog_ids: [...users.progs],
  map_ids: [...users.maps],
  ...pidsJson(holders),
  kernel: info.isKernels,
  ...(info.name === "" ? {} : { name: info.name })
})
