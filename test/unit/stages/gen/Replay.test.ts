import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import { Command } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Layout from "../../../../src/stages/gen/LoaderLayout.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import { replay, type Replayed, type ReplayError, type ReplayOptions } from "../../../../src/stages/gen/Replay.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { runs } from "../../../support/Require.ts"
import { recorded } from "./Recorded.ts"

const loaderOf = (...insns: ReadonlyArray<Uint8Array>): LoaderProgram => ({
  byteOrder: "little",
  insns: Encode.program(...insns),
  data: new Uint8Array(Layout.FD_ARRAY_SIZE + 256),
  license: "GPL",
  contextSize: 24,
  maps: [],
  programs: [],
  created: { maps: [], programs: [] },
  inputs: [],
  notes: []
})

const replayed = (loader: LoaderProgram, options?: ReplayOptions): Exit.Exit<Replayed, ReplayError> =>
  Effect.runSyncExit(Effect.scoped(
    Effect.flatMap(Effect.orDie(LedgerKernel.make().kernel.session()), (session) => replay(loader, session, options))
  ))

const errorOf = (loader: LoaderProgram, options?: ReplayOptions): ReplayError => {
  const exit = replayed(loader, options)
  const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  return reason !== undefined && Cause.isFailReason(reason) ? reason.error : assert.fail("it was replayed")
}

const sysBpf = (command: number, attr: number, size: number): ReadonlyArray<Uint8Array> => [
  Encode.mov64Imm(1, command),
  Encode.ldMapIdxValue(2, 0, attr),
  Encode.mov64Imm(3, size),
  Encode.callHelper(Layout.Helper.SYS_BPF)
]

describe("a replay", () => {
  it.effect("leaves in the session what the loader published, under the plan's refs", () =>
    Effect.gen(function*() {
      const loader = yield* recorded("xdp_firewall.bpf.o")
      yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* LedgerKernel.make().kernel.session()
        const { leaked, maps, programs, retval } = yield* replay(loader, session)
        assert.strictEqual(retval, 0)
        assert.deepStrictEqual(leaked, [])
        assert.deepStrictEqual(maps, loader.maps.map(({ ref }) => Ref.map(ref)))
        assert.deepStrictEqual(programs, loader.programs.map(({ ref }) => Ref.prog(ref)))
        for (const ref of [...maps, ...programs]) assert.isTrue(ref !== undefined && session.exists(ref))
        for (const [number, { maxEntries }] of loader.maps.entries()) {
          const info = yield* session.call({ _tag: "MapGetInfo", map: maps[number] ?? Ref.map(99) })
          assert.strictEqual(info.maxEntries, maxEntries)
        }
      }))
    }))

  it("answers with error numbers, and tells what was closed that was not open", () => {
    const stray = loaderOf(
      ...sysBpf(Command.BPF_BTF_LOAD, Layout.FD_ARRAY_SIZE, 28),
      Encode.mov64Imm(1, 4),
      Encode.callHelper(Layout.Helper.SYS_CLOSE),
      Encode.exit()
    )
    const exit = replayed(stray)
    if (Exit.isFailure(exit)) return assert.fail(String(exit.cause))
    // No types are at address 0.
    assert.strictEqual(exit.value.failure?._tag, "DecodeError")
    assert.deepStrictEqual(exit.value.calls, [])
    assert.strictEqual(exit.value.strayCloses, 1)
    assert.strictEqual(exit.value.retval, -9)
  })

  it("is refused where a loader wants more than a loader may", () => {
    assert.match(errorOf(loaderOf(Encode.callHelper(1), Encode.exit())).message, /nothing implements/)
    assert.match(
      errorOf(loaderOf(...sysBpf(Command.BPF_LINK_CREATE, 0, 16), Encode.exit())).message,
      /command 28 is not decoded/
    )
    assert.match(errorOf(loaderOf(Encode.ldMapFd(1, 3), Encode.exit())).message, /nothing is known of/)
    assert.match(errorOf(loaderOf(Encode.ldMapIdxValue(1, 1, 0), Encode.exit())).message, /nothing is known of/)
    assert.match(errorOf(loaderOf(Encode.ldx(0x18, 0, 1, 24), Encode.exit())).message, /no such field/)
    const wild = [Encode.ldMapIdxValue(1, 0, 0), Encode.mov64Imm(2, -1), Encode.mov64Imm(3, 0)]
    assert.match(
      errorOf(loaderOf(...wild, Encode.callHelper(Layout.Helper.COPY_FROM_USER), Encode.exit())).message,
      /no size/
    )
    assert.match(errorOf(loaderOf(Encode.ja(-1), Encode.exit()), { budget: 1000 }).message, /budget/)
    const forever = [Encode.mov64Imm(1, 77), Encode.callHelper(Layout.Helper.SYS_CLOSE), Encode.ja(-3), Encode.exit()]
    assert.match(errorOf(loaderOf(...forever), { budget: 1000 }).message, /budget/)
  })

  it("ends in a value or an error, whatever became of the loader", () => {
    const loaders = ["xdp_firewall.bpf.o", "global_data.bpf.o"].map((name) => Effect.runSync(recorded(name)))
    const part = fc.constantFrom("insns", "data")
    fc.assert(
      fc.property(
        fc.constantFrom(...loaders),
        fc.array(fc.record({ part, at: fc.nat(), by: fc.nat(255) }), { minLength: 1, maxLength: 12 }),
        (loader, changes) => {
          const spoilt = { ...loader, insns: new Uint8Array(loader.insns), data: new Uint8Array(loader.data) }
          for (const { at, by, part } of changes) spoilt[part][at % spoilt[part].length] = by
          const exit = replayed(spoilt, { budget: 100_000 })
          if (Exit.isSuccess(exit)) return
          // No defect: every reason is an error with a tag.
          for (const reason of exit.cause.reasons) assert.isTrue(Cause.isFailReason(reason), String(exit.cause))
        }
      ),
      { numRuns: runs(400) }
    )
  })

  it.effect("is of the recording kernel, too: a loader recorded again is the same loader", () =>
    Effect.gen(function*() {
      for (const name of ["xdp_firewall.bpf.o", "global_data.bpf.o", "subprograms.bpf.o"]) {
        const loader = yield* recorded(name)
        const recording = yield* KernelRecording.make
        yield* Effect.scoped(Effect.flatMap(recording.kernel.session(), (session) => replay(loader, session)))
        const again = yield* recording.loader
        // The replayed loader closes its BTF in so many words; what it leaves out was left out before.
        assert.deepStrictEqual({ ...again, notes: [] }, { ...loader, notes: [] })
      }
    }))
})
