/** Small programs, maps and sessions for tests on the running kernel. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Encode from "../../src/insn/Encode.ts"
import { MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Session, SessionOptions } from "../../src/services/Kernel/Kernel.ts"
import type {
  Code,
  MapAttributes,
  MapCreate,
  ProgAttributes,
  ProgLoad,
  ProgTestRun
} from "../../src/services/Kernel/KernelCall.ts"
import { type CallError, KernelError, VerifierError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"

/** A session on the running kernel, closed with the surrounding scope. */
export const liveSession = (
  options?: SessionOptions
): Effect.Effect<Session, KernelError, Scope.Scope> =>
  Effect.flatMap(KernelLive.make, (kernel) => kernel.session(options))

/** Runs a body in a session of its own and closes it. */
export const inSession = <A, E>(
  body: (session: Session) => Effect.Effect<A, E, Scope.Scope>,
  options?: SessionOptions
): Effect.Effect<A, E | KernelError> => Effect.scoped(Effect.flatMap(liveSession(options), body))

/** A call that creates a hash of 4-byte keys and 8-byte values, unless told otherwise. */
export const mapCreate = (
  index: number,
  attr: Partial<MapAttributes> = {},
  more: Partial<MapCreate> = {}
): MapCreate => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: {
    name: `m${index}`,
    type: MapType.BPF_MAP_TYPE_HASH,
    keySize: 4,
    valueSize: 8,
    maxEntries: 4,
    flags: 0,
    numaNode: 0,
    ifindex: 0,
    extra: 0n,
    ...attr
  },
  ...more
})

/** Instructions without references. */
export const code = (...insns: ReadonlyArray<Uint8Array>): Code => ({ insns: Encode.program(...insns), refs: [] })

/** `return value;` */
export const returning = (value: number): Code => code(Encode.mov64Imm(0, value), Encode.exit())

/** A call that loads a GPL socket filter, unless told otherwise. */
export const progLoad = (
  index: number,
  code: Code,
  attr: Partial<ProgAttributes> = {},
  more: Partial<ProgLoad> = {}
): ProgLoad => ({
  _tag: "ProgLoad",
  as: Ref.prog(index),
  attr: {
    name: `p${index}`,
    type: ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
    expectedAttachType: 0,
    license: "GPL",
    kernelVersion: 0,
    flags: 0,
    ifindex: 0,
    ...attr
  },
  code,
  log: { level: 0 },
  ...more
})

/** A call that runs a program once on a packet of 64 zero bytes, unless told otherwise. */
export const testRun = (index: number, more: Partial<ProgTestRun> = {}): ProgTestRun => ({
  _tag: "ProgTestRun",
  prog: Ref.prog(index),
  dataIn: new Uint8Array(64),
  dataOutSize: 0,
  contextOutSize: 0,
  repeat: 1,
  flags: 0,
  cpu: 0,
  batchSize: 0,
  ...more
})

/** A 32-bit number as a key or value, in the order of the machine that runs the test. */
export const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

/** A 64-bit number as a value. */
export const u64 = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer)

/** A failure that must be the kernel's, not the verifier's nor a mistake of refs. */
export const kernelError = <A>(effect: Effect.Effect<A, CallError>): Effect.Effect<KernelError, A> =>
  Effect.map(Effect.flip(effect), (error) => {
    if (error instanceof KernelError) return error
    return assert.fail(`not a KernelError: ${error.message}`)
  })

/** A failure that must be the verifier's. */
export const verifierError = <A>(effect: Effect.Effect<A, CallError>): Effect.Effect<VerifierError, A> =>
  Effect.map(Effect.flip(effect), (error) => {
    if (error instanceof VerifierError) return error
    return assert.fail(`not a VerifierError: ${error.message}`)
  })

/** The descriptors of BPF objects that this process has open. */
export const openDescriptors = (): ReadonlyArray<number> =>
  Fs.readdirSync("/proc/self/fd").map(Number).filter((fd) => {
    try {
      return /^anon_inode:(bpf|btf)/.test(Fs.readlinkSync(`/proc/self/fd/${fd}`))
    } catch {
      // The descriptor of the listing itself is gone by now.
      return false
    }
  })

/** The addresses that this process has mapped of BPF objects, as `/proc/self/maps` lists them. */
export const mappings = (): number =>
  Fs.readFileSync("/proc/self/maps", "utf8").split("\n").filter((line) => /anon_inode:.*bpf-map/.test(line)).length
