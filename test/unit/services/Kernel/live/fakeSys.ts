/** System calls that answer by a script, to see what the handlers make of answers that no test can get from a kernel. */
import * as Result from "effect/Result"
import type { Arena } from "../../../../../src/services/Kernel/abi/Arena.ts"
import type { Facts } from "../../../../../src/services/Kernel/live/Facts.ts"
import type { Files } from "../../../../../src/services/Kernel/live/Files.ts"
import * as KernelLive from "../../../../../src/services/Kernel/KernelLive.ts"
import type { KernelShape } from "../../../../../src/services/Kernel/Kernel.ts"
import type { Sys } from "../../../../../src/services/Kernel/sys/Sys.ts"

/** What was asked of the system, in order. */
export type Trace = Array<
  | { readonly _tag: "bpf"; readonly command: number; readonly arena: Arena; readonly isAsync: boolean }
  | { readonly _tag: "close"; readonly fd: number }
>

/** Answers bpf(2); it may write into the arena, whose pointers are offsets still. */
export type Script = (command: number, arena: Arena, index: number) => number

/** System calls on a script. */
export const make = (script: Script, trace: Trace): Sys => {
  let index = 0
  const bpf = (isAsync: boolean) => (command: number, arena: Arena): number => {
    trace.push({ _tag: "bpf", command, arena, isAsync })
    return script(command, arena, index++)
  }
  const later: Sys["bpfAsync"] = (command, arena, done) => {
    const result = bpf(true)(command, arena)
    setImmediate(() => done(result, arena))
  }
  return {
    bpf: bpf(false),
    bpfCommon: bpf(false),
    perfEventOpen: () => -2,
    ioctl: () => -1,
    duplicate: () => -1,
    uprobe: () => -38,
    bpfAsync: later,
    bpfDescriptor: bpf(false),
    bpfDescriptorAsync: later,
    map: () => -95,
    unmap: () => {},
    close: (fd) => void trace.push({ _tag: "close", fd }),
    kindOf: () => "Map",
    memlock: () => ({ soft: 0xffff_ffff_ffff_ffffn, hard: 0xffff_ffff_ffff_ffffn }),
    setMemlock: () => -1,
    pageSize: 4096
  }
}

/** A kernel of two CPUs that tells nothing else about itself. */
export const facts: Facts = {
  release: "1.2.3",
  possibleCpus: () => Result.succeed(2),
  kernelVersion: () => Result.succeed(0x010203),
  configuration: () => Result.succeed(""),
  kconfig: () => Result.succeed(new Map()),
  vmlinux: () => {
    throw new Error("nobody should need the kernel's types")
  },
  addresses: (names) => Result.succeed({ of: new Map(names.map((name) => [name, 16n])), hidden: false }),
  symbolNames: () => Result.succeed({ names: new Map(), hidden: false }),
  modules: () => [],
  allModules: () => []
}

/** A machine without procfs. */
const noFiles: Files = { read: () => Result.fail(2), list: () => Result.fail(2) }

/** A live kernel on scripted system calls. */
export const kernel = (script: Script, trace: Trace, more: Partial<Facts> = {}): KernelShape =>
  KernelLive.fromParts({
    sys: () => Result.succeed(make(script, trace)),
    facts: { ...facts, ...more },
    files: noFiles,
    architecture: "x64"
  })
