/**
 * Runs a loader program on a kernel, as libbpf's `skel_internal.h` does: its data in a map, itself loaded with that map,
 * and run once.
 */
import * as Effect from "effect/Effect"
import { MapType, ProgFlag, PROG_LOAD_ATTEMPTS, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { CallError } from "../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Layout from "../../src/stages/gen/LoaderLayout.ts"
import * as LoaderProgram from "../../src/stages/gen/LoaderProgram.ts"

/** What a run of a loader left. */
export interface LoaderRun {
  /** 0, or the negated error number that the loader ended with. */
  readonly retval: number
  readonly context: Uint8Array
  readonly descriptors: LoaderProgram.Descriptors
}

const runOnce = (
  session: Session,
  loader: LoaderProgram.LoaderProgram,
  options: LoaderProgram.ContextOptions
): Effect.Effect<LoaderRun, CallError> =>
  Effect.gen(function*() {
    const data = Ref.map(0)
    const prog = Ref.prog(0)
    yield* session.call({
      _tag: "MapCreate",
      as: data,
      attr: {
        name: Layout.LOADER_MAP_NAME,
        type: MapType.BPF_MAP_TYPE_ARRAY,
        keySize: 4,
        valueSize: loader.data.length,
        maxEntries: 1,
        flags: 0,
        numaNode: 0,
        ifindex: 0,
        extra: 0n
      }
    })
    const value = { bytes: loader.data, refs: [] }
    yield* session.call({ _tag: "MapUpdate", map: data, key: new Uint8Array(4), value, flags: 0n })
    yield* session.call({ _tag: "MapFreeze", map: data })
    yield* session.call({
      _tag: "ProgLoad",
      as: prog,
      attr: {
        name: Layout.LOADER_PROGRAM_NAME,
        type: ProgType.BPF_PROG_TYPE_SYSCALL,
        expectedAttachType: 0,
        license: loader.license,
        kernelVersion: 0,
        flags: ProgFlag.BPF_F_SLEEPABLE,
        ifindex: 0
      },
      code: LoaderProgram.code(loader, data),
      log: { level: 0 }
    })
    const run = yield* session.call({
      _tag: "ProgTestRun",
      prog,
      dataOutSize: 0,
      contextIn: LoaderProgram.context(loader, options),
      contextOutSize: loader.contextSize,
      repeat: 0,
      flags: 0,
      cpu: 0,
      batchSize: 0
    })
    return {
      retval: run.retval | 0,
      context: run.contextOut,
      descriptors: LoaderProgram.descriptors(loader, run.contextOut)
    }
  })

/**
 * Runs a loader in a session. The kernel gives up verifying a program with `EAGAIN` when a signal is pending, which it
 * stays until the loader has returned: so the loader is then run again, on fresh data.
 */
export const runLoader = (
  session: Session,
  loader: LoaderProgram.LoaderProgram,
  options: LoaderProgram.ContextOptions = {},
  attempts: number = PROG_LOAD_ATTEMPTS
): Effect.Effect<LoaderRun, CallError> =>
  Effect.gen(function*() {
    const run = yield* runOnce(session, loader, options)
    yield* session.call({ _tag: "Close", ref: Ref.prog(0) })
    yield* session.call({ _tag: "Close", ref: Ref.map(0) })
    return run.retval === -Errno.numbers.EAGAIN && attempts > 1
      ? yield* runLoader(session, loader, options, attempts - 1)
      : run
  })
