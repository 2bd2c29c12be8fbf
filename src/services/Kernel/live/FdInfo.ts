/**
 * What procfs tells of a descriptor of this process: the only place where the kernel says how much memory an object takes,
 * and whether a map is frozen.
 *
 * Source: `bpf_map_show_fdinfo` and `bpf_prog_show_fdinfo` in `kernel/bpf/syscall.c`; lines of a name, a colon, a tab and
 * a number.
 */
import * as Result from "effect/Result"
import type { MapFile, MapInfo, ProgFile } from "../KernelCall.ts"
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

/** A number as procfs writes it: flags and `map_extra` begin with `0x`. */
const numberOf = (text: string | undefined): bigint | undefined =>
  text !== undefined && /^(0x[0-9a-f]+|\d+)$/.test(text) ? BigInt(text) : undefined

/**
 * What the kernel's info would say of a map, as far as procfs says it: kernels before 4.13 tell it here alone. A map has no
 * name then. `undefined` where procfs cannot be read, or tells of no map.
 */
export const infoOfMap = (
  fd: number,
  read: (fd: number) => ReadonlyMap<string, string> | undefined = fields
): MapInfo | undefined => {
  const found = read(fd)
  const number = (name: string): number | undefined => {
    const value = numberOf(found?.get(name))
    return value === undefined || value > 0xffff_ffffn ? undefined : Number(value)
  }
  const [type, keySize, valueSize, maxEntries] = ["map_type", "key_size", "value_size", "max_entries"].map(number)
  if (type === undefined || keySize === undefined || valueSize === undefined || maxEntries === undefined) {
    return undefined
  }
  return {
    id: number("map_id") ?? 0,
    name: "",
    type,
    keySize,
    valueSize,
    maxEntries,
    flags: number("map_flags") ?? 0,
    numaNode: 0,
    ifindex: 0,
    extra: numberOf(found?.get("map_extra")) ?? 0n,
    btfId: 0,
    btfKeyTypeId: 0,
    btfValueTypeId: 0
  }
}

/** What there is to say of a program's descriptor. */
export const ofProg = (fd: number): ProgFile | undefined => {
  const found = fields(fd)
  return found === undefined ? undefined : { memlock: whole(found.get("memlock")) }
}
