/**
 * Loaders that must be told something of their machine, on the running kernel: configuration, structs that programs
 * implement, programs for other programs; and loaders of hundreds of programs.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as StructOps from "../../src/attach/StructOps.ts"
import * as Encode from "../../src/insn/Encode.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as LoaderInput from "../../src/stages/gen/LoaderInput.ts"
import * as LoaderInputs from "../../src/stages/gen/LoaderInputs.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import * as LoaderRunner from "../../src/stages/gen/LoaderRunner.ts"
import { runLoader } from "../../src/stages/gen/RunLoader.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Given from "../../src/stages/open/Given.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture } from "../support/Require.ts"

const opened = (name: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))

const planOf = (object: BpfObject) =>
  Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated))

/** The loader of an object, for whatever kernel. */
const record = (object: BpfObject) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelRecording.make
    return yield* KernelRecording.record(yield* planOf(object).pipe(Effect.provideService(Kernel, kernel)))
  })

/** Runs on the live kernel, and leaves no descriptor behind. */
const live = <A, E>(body: Effect.Effect<A, E, Kernel | Scope.Scope>) =>
  Effect.gen(function*() {
    const before = openDescriptors()
    const exit = yield* Effect.exit(Effect.provide(Effect.scoped(body), KernelLive.layer))
    assert.deepStrictEqual(openDescriptors(), before)
    return yield* exit
  })

const available = (): ReadonlyArray<string> =>
  Fs.readFileSync("/proc/sys/net/ipv4/tcp_available_congestion_control", "utf8").trim().split(/\s+/)

/** An object of so many programs: each returns its own number, by one instruction that every verifier is soon done with. */
const withPrograms = (count: number): BpfObject => {
  const object = opened("many_programs.bpf.o")
  const program = object.programs.find(({ entry }) => entry) ?? assert.fail("the fixture has changed")
  return {
    ...object,
    // What it says of lines is of other instructions.
    btfExt: undefined,
    programs: Array.from({ length: count }, (_, at) => ({
      ...program,
      name: `returns_${at}`,
      insns: Encode.program(Encode.mov64Imm(0, at), Encode.exit()),
      relocations: []
    }))
  }
}

describeWith({ kind: "live" }, "loaders that are told something", () => {
  it.live("refuse with EINVAL to run without, and leave nothing open", () =>
    live(Effect.gen(function*() {
      const kernel = yield* Kernel
      let omitted = 0
      for (const name of ["externs.bpf.o", "map_kinds.bpf.o", "struct_ops.bpf.o"]) {
        const loader = yield* record(opened(name))
        const filled = yield* LoaderInputs.ask(loader)
        for (const input of loader.inputs.filter(LoaderInput.isRequired)) {
          const maps = new Map(filled.maps)
          const words = new Map(filled.words)
          if (LoaderInput.wordsOf(input) === 0 && "map" in input) maps.delete(input.map)
          words.delete(input.contextOffset)
          const before = openDescriptors()
          yield* Effect.scoped(Effect.gen(function*() {
            const session = yield* kernel.session()
            const error = yield* Effect.flip(LoaderRunner.run(session, loader, { maps, words }))
            assert.deepInclude(error, { _tag: "LoaderError", errno: "EINVAL" }, `${name} ${input._tag}`)
            assert.deepStrictEqual(openDescriptors(), before)
          }))
          omitted++
        }
      }
      assert.isAtLeast(omitted, 8)
    })))

  it.live("a struct that programs implement is made, and registered with the image of a plan", () =>
    live(Effect.gen(function*() {
      const object = Result.getOrThrow(
        Edit.setStructOps(opened("struct_ops.bpf.o"), "congestion", "name", "effect_loader")
      )
      const controls = available()
      const { session } = yield* runLoader(yield* record(object))
      assert.deepStrictEqual(available(), controls)
      const { structOps } = yield* planOf(object)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* StructOps.register({ object, session, structOps }, "congestion")
        assert.include(available(), "effect_loader")
      }))
      assert.deepStrictEqual(available(), controls)
    })))

  it.live("two hundred programs are loaded by one loader, and each is its own", () =>
    live(Effect.gen(function*() {
      const object = withPrograms(200)
      const loader = yield* record(object)
      const { program, session } = yield* runLoader(loader)
      const ids = new Set<number>()
      for (const { name } of loader.programs) {
        const prog = program(name) ?? assert.fail(`${name} was not handed out`)
        const info = yield* session.call({ _tag: "ProgGetInfo", prog })
        assert.strictEqual(info.name, name)
        ids.add(info.id)
        const number = Number(name.replace("returns_", ""))
        const { retval } = yield* session.call({ _tag: "ProgTestRun", prog, ...packet })
        assert.strictEqual(retval, number)
      }
      assert.strictEqual(ids.size, 200)
    })))

  it.live("when one of many programs is refused, nothing stays open", () =>
    live(Effect.gen(function*() {
      // The descriptors of 32 programs are on the loader's stack, those of the others in its data.
      for (const at of [31, 39]) {
        const object = withPrograms(40)
        const broken: BpfObject = {
          ...object,
          programs: object.programs.map((program, position) =>
            position === at ? { ...program, insns: unfit(program.insns) } : program
          )
        }
        const loader = yield* record(broken)
        const before = openDescriptors()
        const error = yield* Effect.flip(Effect.scoped(runLoader(loader)))
        assert.deepInclude(error, { _tag: "LoaderError" }, `program ${at}`)
        assert.match("log" in error ? error.log : "", /R9 !read_ok/)
        assert.deepStrictEqual(openDescriptors(), before, `program ${at}`)
      }
    })))
})

/** A run on a packet of which nothing is looked at. */
const packet = {
  dataIn: new Uint8Array(64),
  dataOutSize: 0,
  contextOutSize: 0,
  repeat: 1,
  flags: 0,
  cpu: 0,
  batchSize: 0
}

/** The same instructions with a first one that the verifier refuses: it reads a register that nothing has written. */
const unfit = (insns: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(insns)
  bytes.set(Encode.mov64Reg(6, 9))
  return bytes
}

// Types of other programs are read by their identifier, which only root may.
describeWith({ kind: "live", root: true }, "loaders of programs for other programs", () => {
  /** Whether trampolines are forbidden here by a policy of the kernel: what the log has is about other programs. */
  const isPolicy = (error: { readonly _tag: string; readonly errno?: unknown }): boolean =>
    error._tag === "LoaderError" && error.errno === "EPERM"

  const run = (loader: LoaderProgram, targets?: Readonly<Record<string, Given.Given>>) =>
    Effect.map(Effect.result(runLoader(loader, targets === undefined ? {} : { targets })), (result) => {
      if (Result.isSuccess(result)) return "loaded"
      if (!isPolicy(result.failure)) return assert.fail(result.failure.message)
      return "forbidden"
    })

  const replacing = (program: string | Given.Given): BpfObject =>
    Result.getOrThrow(
      Result.flatMap(
        Edit.attachTo(opened("program_targets.bpf.o"), "replacement", { program, function: "choose" }),
        (object) => Edit.setAutoload(object, "replacement", true)
      )
    )

  it.live("the other is one of the same object, or one that is given", () =>
    live(Effect.gen(function*() {
      const answers = new Set<string>()
      answers.add(yield* run(yield* record(replacing("target"))))
      const other = yield* runLoader(yield* record(opened("program_targets.bpf.o")))
      const prog = other.program("target") ?? assert.fail("the fixture has changed")
      const { id } = yield* other.session.call({ _tag: "ProgGetInfo", prog })
      const later = yield* record(replacing(Given.later))
      answers.add(yield* run(later, { replacement: Given.id(id) }))
      // A policy is one for all of them.
      assert.strictEqual(answers.size, 1)
      console.log(`programs for other programs by loaders: ${[...answers].join()}`)
      const none = yield* Effect.flip(runLoader(later))
      assert.match(none.message, /^replacement: it is for the function choose of another program/)
      const wrong = Result.getOrThrow(
        Edit.attachTo(replacing(Given.later), "replacement", { program: Given.later, function: "nobody" })
      )
      const unknown = yield* Effect.flip(runLoader(yield* record(wrong), { targets: { replacement: Given.id(id) } }))
      assert.match(unknown.message, /nobody/)
    })))
})
