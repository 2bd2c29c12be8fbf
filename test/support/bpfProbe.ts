/**
 * Whether bpf(2) works for this process, asked in the one way that can be trusted: by loading a program.
 *
 * Being root says little (a container drops capabilities, lockdown and seccomp refuse), so the probe makes the call
 * and reports the errno. It is independent of the library's own system-call layer, which is what live tests judge.
 */
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Os from "node:os"

/** Whether live tests can run, and if not why, as one phrase for people. */
export type Live = { readonly available: boolean; readonly reason: string }

/** The number of bpf(2) per architecture, from the kernel's syscall tables. */
const syscallNumber: Readonly<Record<string, number>> = { x64: 321, arm64: 280, riscv64: 280, loong64: 280, s390x: 351 }

const BPF_PROG_LOAD = 5
const BPF_PROG_TYPE_TRACEPOINT = 5

type Ffi = typeof import("koffi")

const isFfi = (value: unknown): value is Ffi =>
  typeof value === "object" && value !== null && "load" in value && "address" in value && "errno" in value

const loadFfi = (): Ffi | string => {
  try {
    const loaded: unknown = createRequire(import.meta.url)("koffi")
    return isFfi(loaded) ? loaded : "koffi has an unexpected shape"
  } catch (error) {
    return `koffi does not load: ${error instanceof Error ? error.message : String(error)}`
  }
}

const errnoName = (code: number): string =>
  Object.entries(Os.constants.errno).find(([, value]) => value === code)?.[0] ?? `errno ${code}`

/** Loads `return 0` as a tracepoint program, which needs CAP_BPF and CAP_PERFMON, and closes it again. */
export const probeBpf = (): Live => {
  if (process.platform !== "linux") {
    return { available: false, reason: `bpf(2) needs Linux, this is ${process.platform}` }
  }
  const number = syscallNumber[process.arch]
  if (number === undefined) {
    return { available: false, reason: `the number of bpf(2) on ${process.arch} is not known here` }
  }
  const koffi = loadFfi()
  if (typeof koffi === "string") return { available: false, reason: koffi }
  // One buffer holds the attribute, the program and the licence, so that passing it keeps all three alive.
  const arena = new Uint8Array(192)
  const view = new DataView(arena.buffer)
  const base = koffi.address(arena)
  const little = Os.endianness() === "LE"
  arena.set([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95], 128)
  arena.set(new TextEncoder().encode("GPL"), 160)
  view.setUint32(0, BPF_PROG_TYPE_TRACEPOINT, little)
  view.setUint32(4, 2, little)
  view.setBigUint64(8, base + 128n, little)
  view.setBigUint64(16, base + 160n, little)
  const syscall = koffi.load(null).func("syscall", "long", ["long", "long", "void *", "long"])
  const descriptor = Number(syscall(number, BPF_PROG_LOAD, arena, 128))
  if (descriptor < 0) {
    const name = errnoName(koffi.errno())
    const hint = name === "EPERM" || name === "EACCES" ? "; run as root" : ""
    return { available: false, reason: `bpf(2) answers ${name}${hint}` }
  }
  Fs.closeSync(descriptor)
  return { available: true, reason: "bpf(2) loads programs" }
}
