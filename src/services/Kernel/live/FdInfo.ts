/**
 * What procfs tells of a descriptor of this process: the only place where the kernel says how much memory an object takes,
 * and whether a map is frozen.
 *
 * Source: `bpf_map_show_fdinfo` and `bpf_prog_show_fdinfo` in `kernel/bpf/syscall.c`; lines of a name, a colon, a tab and
 * a number.
 */
import * as Result from "effect/Result"
import type { MapFile, ProgFile } from "../KernelCall.ts"
import { machine } from "./Files.ts"

/** Far more than the kernel writes, bytes. */
const limit = 65_536

const utf8 = new TextDecoder()

/** The fields of a descriptor's file; `undefined` where procfs cannot be read. */
export const fields = (fd: number): ReadonlyMap<string, string> | undefined => {
  const read = machine.read(`/proc/self/fdinfo/${fd}`, limit)
  if (Result.isFailure(read)) return undefined
  const found = new Map<string, string>()
  for (const line of utf8.decode(read.success).split("\n")) {
    const colon = line.indexOf(":")
    if (colon > 0) found.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  return found
}

const whole = (text: string | undefined): bigint | undefined =>
  text !== undefined && /^\d+$/.test(text) ? BigInt(text) : undefined

const flag = (text: string | undefined): boolean | undefined => {
  const number = whole(text)
  return number === undefined ? undefined : number !== 0n
}

/** What there is to say of a map's descriptor. */
export const ofMap = (fd: number): MapFile | undefined => {
  const found = fields(fd)
  if (found === undefined) return undefined
  const owner = whole(found.get("owner_prog_type"))
  return {
    memlock: whole(found.get("memlock")),
    frozen: flag(found.get("frozen")),
    ownerProgType: owner === undefined ? undefined : Number(owner),
    ownerJited: flag(found.get("owner_jited"))
  }
}

/** What there is to say of a program's descriptor. */
export const ofProg = (fd: number): ProgFile | undefined => {
  const found = fields(fd)
  return found === undefined ? undefined : { memlock: whole(found.get("memlock")) }
}
