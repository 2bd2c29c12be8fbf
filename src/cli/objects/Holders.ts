/**
 * Which processes hold objects of the kernel open, as procfs tells.
 *
 * Everything there may vanish while it is read: processes end, descriptors are closed. What has gone, and what this user may
 * not look into (others' processes, without root), is left out. Threads are taken to share the descriptors of their process.
 */
import * as Fs from "node:fs"

/** A process that holds an object. */
export interface Holder {
  readonly pid: number
  /** The name of its first thread, up to 15 bytes that it has chosen itself. */
  readonly comm: string
}

/** Holders by the identifiers of what they hold, in rising order of processes. */
export type Holders = ReadonlyMap<number, ReadonlyArray<Holder>>

/** The kinds of object that descriptors stand for. */
export type HeldKind = "Map" | "Prog" | "Link" | "Btf"

/** What is read of procfs; `undefined` is what has gone or may not be read. */
export interface Proc {
  /** The names in a folder. */
  readonly names: (path: string) => ReadonlyArray<string> | undefined
  /** Where a symbolic link leads. */
  readonly target: (path: string) => string | undefined
  readonly text: (path: string) => string | undefined
}

const unlessGone = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** The procfs of this machine. */
export const machine: Proc = {
  names: (path) => unlessGone(() => Fs.readdirSync(path)),
  target: (path) => unlessGone(() => Fs.readlinkSync(path)),
  text: (path) => unlessGone(() => Fs.readFileSync(path, "utf8"))
}

/** What the descriptors of a kind are called, and the line of their file that has the identifier. */
const kinds: Readonly<Record<HeldKind, { readonly target: string; readonly field: string }>> = {
  Map: { target: "anon_inode:bpf-map", field: "map_id" },
  Prog: { target: "anon_inode:bpf-prog", field: "prog_id" },
  Link: { target: "anon_inode:bpf_link", field: "link_id" },
  Btf: { target: "anon_inode:btf", field: "btf_id" }
}

const isNumber = (name: string): boolean => /^[0-9]+$/.test(name)

/** The numbers among the names in a folder, in rising order. */
const numbers = (proc: Proc, path: string): ReadonlyArray<number> =>
  (proc.names(path) ?? []).filter(isNumber).map(Number).sort((a, b) => a - b)

/** A descriptor that is open in some process. */
export interface Descriptor {
  readonly pid: number
  readonly fd: number
  /** Where its entry in procfs leads: `anon_inode:bpf-map`. */
  readonly target: string
}

/** The descriptors of all processes that may be looked into, in rising order of processes, then of descriptors. */
export function* descriptors(proc: Proc = machine): Generator<Descriptor> {
  for (const pid of numbers(proc, "/proc")) {
    for (const fd of numbers(proc, `/proc/${pid}/fd`)) {
      const target = proc.target(`/proc/${pid}/fd/${fd}`)
      if (target !== undefined) yield { pid, fd, target }
    }
  }
}

/** The identifier in the file of a descriptor. */
const idIn = (text: string | undefined, field: string): number | undefined => {
  const digits = text === undefined ? undefined : new RegExp(`^${field}:\\s*([0-9]+)$`, "m").exec(text)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** The name of a process; `undefined` where it has gone. */
export const commOf = (pid: number, proc: Proc = machine): string | undefined =>
  proc.text(`/proc/${pid}/comm`)?.replace(/\n$/, "")

/** Who holds objects of a kind. */
export const find = (kind: HeldKind, proc: Proc = machine): Holders => {
  const { field, target: wanted } = kinds[kind]
  const found = new Map<number, Array<Holder>>()
  for (const { fd, pid, target } of descriptors(proc)) {
    if (target !== wanted) continue
    const id = idIn(proc.text(`/proc/${pid}/fdinfo/${fd}`), field)
    if (id === undefined) continue
    const holders = found.get(id) ?? []
    if (holders.at(-1)?.pid === pid) continue
    const comm = commOf(pid, proc)
    if (comm === undefined) continue
    holders.push({ pid, comm })
    found.set(id, holders)
  }
  return found
}
