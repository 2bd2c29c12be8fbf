/**
 * Loaders that nobody has recorded: changed, cut off, made up. A replay of one ends in a value or a tagged error, in bounded
 * time and memory, on every kernel; so does looking at one, and reading one out of a text.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import { Command } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as ForeignLoader from "../../src/stages/gen/ForeignLoader.ts"
import * as LoaderDiff from "../../src/stages/gen/LoaderDiff.ts"
import * as LoaderExplain from "../../src/stages/gen/LoaderExplain.ts"
import * as Layout from "../../src/stages/gen/LoaderLayout.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { replay } from "../../src/stages/gen/Replay.ts"
import { standIns } from "../../src/stages/gen/replay/ReplayInputs.ts"
import { runs } from "../support/Require.ts"
import { recorded } from "../unit/stages/gen/Recorded.ts"
import { assertQuick, cpuTime } from "../support/CpuTime.ts"

const BUDGET = 50_000

const names = [
  "xdp_firewall.bpf.o",
  "global_data.bpf.o",
  "map_in_map.eb.o",
  "ksyms.bpf.o",
  "prog_array.bpf.o",
  "struct_ops.bpf.o",
  "externs.eb.o",
  "program_targets.bpf.o"
]

const loaders = names.map((name) => Effect.runSync(recorded(name)))

/** Fails where there is a defect: every reason must be an error with a tag. */
const requireTagged = (exit: Exit.Exit<unknown, { readonly _tag: string }>): void => {
  if (Exit.isSuccess(exit)) return
  for (const reason of exit.cause.reasons) {
    assert.isTrue(Cause.isFailReason(reason), Cause.pretty(exit.cause))
    if (Cause.isFailReason(reason)) assert.isString(reason.error._tag)
  }
}

/** Looks at a loader, and replays it on the simulated kernel. */
const survive = (loader: LoaderProgram): void => {
  const explained = Effect.runSyncExit(LoaderExplain.explain(loader, { budget: BUDGET }))
  requireTagged(explained)
  if (Exit.isSuccess(explained)) {
    const { calls } = explained.value.replayed
    assert.isAtMost(calls.length, BUDGET)
    LoaderDiff.diff([], calls, loader)
  }
  requireTagged(Effect.runSyncExit(Effect.scoped(Effect.gen(function*() {
    const { kernel } = yield* KernelSimulated.make({ memoryLimit: 1 << 24 })
    const session = yield* kernel.session()
    return yield* replay(loader, session, { ...standIns(loader), budget: BUDGET })
  }))))
}

const copyOf = (loader: LoaderProgram) => ({
  ...loader,
  insns: new Uint8Array(loader.insns),
  data: new Uint8Array(loader.data)
})

const part = fc.constantFrom("insns", "data")

/** Values that something may go wrong with. */
const edge = fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff, 0x16, 0x61, 0x18, 0x85, 0x95, 0x05)

describe("a loader that was", () => {
  it("changed in some bytes", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...loaders),
        fc.array(fc.record({ part, at: fc.nat(), by: fc.oneof(fc.nat(255), edge) }), { minLength: 1, maxLength: 12 }),
        (loader, changes) => {
          const spoilt = copyOf(loader)
          for (const { at, by, part } of changes) spoilt[part][at % spoilt[part].length] = by
          survive(spoilt)
        }
      ),
      { numRuns: runs(600) }
    )
  })

  it("changed in one instruction: another opcode, register, offset or immediate", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...loaders),
        fc.nat(),
        fc.nat(7),
        fc.oneof(fc.nat(255), edge),
        (loader, slot, byte, by) => {
          const spoilt = copyOf(loader)
          spoilt.insns[(slot % (spoilt.insns.length / 8)) * 8 + byte] = by
          survive(spoilt)
        }
      ),
      { numRuns: runs(600) }
    )
  })

  it("cut off, in either part", () => {
    fc.assert(
      fc.property(fc.constantFrom(...loaders), part, fc.nat(), (loader, part, length) => {
        survive({ ...loader, [part]: loader[part].slice(0, length % loader[part].length) })
      }),
      { numRuns: runs(150) }
    )
  })

  it("given the description of another, or another byte order", () => {
    fc.assert(
      fc.property(fc.constantFrom(...loaders), fc.constantFrom(...loaders), fc.boolean(), (one, other, turned) => {
        const turnedOrder = one.byteOrder === "little" ? "big" : "little"
        survive({ ...other, insns: one.insns, data: one.data, byteOrder: turned ? turnedOrder : one.byteOrder })
      }),
      { numRuns: runs(60) }
    )
  })

  it("made up", () => {
    const insn = fc.record({
      opcode: fc.constantFrom(0x07, 0xbf, 0xb7, 0x85, 0x05, 0x15, 0x61, 0x63, 0x7b, 0x79, 0x62, 0x95, 0x18, 0xdb),
      dst: fc.nat(10),
      src: fc.nat(10),
      offset: fc.oneof(fc.integer({ min: -8, max: 8 }), fc.integer({ min: -32768, max: 32767 })),
      imm: fc.oneof(fc.constantFrom(0, 5, 6, 113, 148, 166, 167, 168, 179), fc.integer())
    }).map(({ dst, imm, offset, opcode, src }) => Encode.raw(opcode, dst, src, offset, imm))
    fc.assert(
      fc.property(
        fc.array(insn, { minLength: 1, maxLength: 40 }),
        fc.uint8Array({ maxLength: 400 }),
        (insns, data) => {
          const pieces = ForeignLoader.ofPieces(Encode.program(...insns, Encode.exit()), data)
          if (Result.isSuccess(pieces)) survive(pieces.success)
        }
      ),
      { numRuns: runs(400) }
    )
  })
})

/** A loader of these instructions, which has room for some data. */
const loaderOf = (bytes: number, ...insns: ReadonlyArray<Uint8Array>): LoaderProgram =>
  Result.getOrThrow(ForeignLoader.ofPieces(Encode.program(...insns), new Uint8Array(Layout.FD_ARRAY_SIZE + bytes)))

const call = (command: number, attr: number, size: number): ReadonlyArray<Uint8Array> => [
  Encode.mov64Imm(1, command),
  Encode.ldMapIdxValue(2, 0, attr),
  Encode.mov64Imm(3, size),
  Encode.callHelper(Layout.Helper.SYS_BPF)
]

/** The loader again and again, without end. */
const forever = (...insns: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> => {
  const body = Encode.program(...insns)
  return [body, Encode.ja(-body.length / 8 - 1), Encode.exit()]
}

const errorOf = (loader: LoaderProgram): string => {
  const exit = Effect.runSyncExit(LoaderExplain.explain(loader))
  const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  return reason !== undefined && Cause.isFailReason(reason) ? reason.error.message : assert.fail("it came to an end")
}

describe("a loader that does not end is stopped by its budget", () => {
  it("whatever it does: nothing, calls, look-ups, prints, copies", () => {
    assert.match(errorOf(loaderOf(0, ...forever(Encode.mov64Imm(0, 0)))), /budget/)
    const close = [Encode.mov64Imm(1, 9), Encode.callHelper(Layout.Helper.SYS_CLOSE)]
    assert.match(errorOf(loaderOf(0, ...forever(...close))), /budget/)
    const at = Layout.FD_ARRAY_SIZE
    assert.match(errorOf(loaderOf(200, ...forever(...call(Command.BPF_MAP_CREATE, at, 72)))), /budget/)
    const name = [Encode.ldMapIdxValue(1, 0, at), Encode.mov64Imm(2, 2), Encode.mov64Imm(3, 12), Encode.mov64Imm(4, 0)]
    const find = [...name, Encode.callHelper(Layout.Helper.BTF_FIND_BY_NAME_KIND)]
    assert.match(errorOf(loaderOf(200, ...forever(...find))), /budget/)
    const print = [Encode.ldMapIdxValue(1, 0, at), Encode.mov64Imm(2, 100), Encode.callHelper(6)]
    assert.match(errorOf(loaderOf(200, ...forever(...print))), /budget/)
  })

  it("and takes no memory beyond it: what calls take along costs as well", () => {
    const size = 1 << 20
    const at = Layout.FD_ARRAY_SIZE + size
    const loader = loaderOf(size + 64, ...forever(...call(Command.BPF_BTF_LOAD, at, 28)))
    const view = new DataView(loader.data.buffer, loader.data.byteOffset)
    view.setUint32(at + 16, size, true)
    // The address of the data, as the loader has it: stored by the loader itself.
    const store = [
      Encode.ldMapIdxValue(0, 0, 0),
      Encode.ldMapIdxValue(1, 0, at),
      Encode.stx(0x18, 1, 0, 0)
    ]
    const filled = { ...loader, insns: Encode.program(...store, ...forever(...call(Command.BPF_BTF_LOAD, at, 28))) }
    let taken = 0
    const before = cpuTime()
    const exit = Effect.runSyncExit(
      LoaderExplain.explain(filled).pipe(Effect.tapError(() => Effect.sync(() => taken = cpuTime() - before)))
    )
    assert.match(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", /budget/)
    // A hundred megabytes at most: without that share of the budget it would be terabytes.
    assertQuick(taken, 20_000)
  })

  it("a call into memory that is not there is EFAULT, as by a kernel", () => {
    const loader = loaderOf(64, ...call(Command.BPF_MAP_CREATE, Layout.FD_ARRAY_SIZE + 60, 72), Encode.exit())
    const { replayed } = Effect.runSync(LoaderExplain.explain(loader))
    assert.deepStrictEqual([replayed.retval, replayed.calls], [-14, []])
  })
})

describe("a text with a loader in it", () => {
  const hex = (bytes: Uint8Array): string =>
    [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")
  const skeleton = (insns: string, data: string): string =>
    `struct x { struct { struct bpf_map_desc m; } maps; };\n\topts.data = (void *)"${data}";\n` +
    `\topts.insns = (void *)"${insns}";\n`

  it("is read, or refused with a reason, whatever it says", () => {
    const whole = skeleton(hex(loaderOf(0, Encode.mov64Imm(0, 0), Encode.exit()).insns), "\\0\\x01")
    const chunk = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom("\"", "\\", "\\x", "\\0", "\\777", "\n", ";", "opts.data = (void *)\"", "opts_insn[] =", "\"\"")
    )
    fc.assert(
      fc.property(fc.nat(whole.length), fc.nat(12), fc.array(chunk, { maxLength: 4 }), (at, cut, chunks) => {
        const text = whole.slice(0, at) + chunks.join("") + whole.slice(at + cut)
        const found = ForeignLoader.ofSkeleton(text)
        if (Result.isFailure(found)) return assert.instanceOf(found.failure, ForeignLoader.ForeignLoaderError)
        survive(found.success)
      }),
      { numRuns: runs(400) }
    )
  })

  it("takes time in proportion to its length", () => {
    const before = cpuTime()
    for (const part of ["opts.data = (void *) ", "opts_data[] ", "\"", "struct bpf_map_desc x;", "\\x", " "]) {
      ForeignLoader.ofSkeleton(part.repeat(200_000))
      ForeignLoader.ofSkeleton(`opts.data = (void *)"${part.repeat(100_000)}`)
    }
    assertQuick(cpuTime() - before, 10_000)
  })
})
