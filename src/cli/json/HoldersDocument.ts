/**
 * Who holds an object, as bpftool's `pids`.
 */
import type { Holder } from "../objects/Holders.ts"
import type { Json } from "./Json.ts"

/** The key `pids`, where somebody holds the object. */
export const pidsJson = (holders: ReadonlyArray<Holder>): { readonly [key: string]: Json } =>
  holders.length === 0 ? {} : { pids: holders.map(({ comm, pid }) => ({ pid, comm })) }
