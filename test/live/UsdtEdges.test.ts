/**
 * Probes of running programs in less common places, and attachments that fail: nothing is left of them.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Koffi from "koffi"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Attach from "../../src/attach/Attach.ts"
import { supports } from "../../src/attach/Loaded.ts"
import * as Usdt from "../../src/attach/Usdt.ts"
import * as UsdtList from "../../src/attach/UsdtList.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as FunctionOffset from "../../src/services/Elf/FunctionOffset.ts"
import * as Spec from "../../src/usdt/Spec.ts"
import { loadFixture } from "../support/LoadFixture.ts"
import { describeWith, run, temporaryFolder } from "../support/Require.ts"
import { built, failed, live, probe, told, traces } from "../support/UsdtLive.ts"
import { build, compileTarget, compileTarget32, sdtHeader, start } from "../support/UsdtTarget.ts"
import { storedZip } from "../support/StoredZip.ts"

/** The object with calls of one kind answered otherwise. */
const answering = (loaded: LoadedObject, tag: KernelCall["_tag"], answer: unknown): LoadedObject => ({
  ...loaded,
  session: {
    ...loaded.session,
    call: (call) => call._tag === tag ? Effect.succeed(answer as never) : loaded.session.call(call)
  }
})

/** The object, and the calls that are made on it from now on. */
const recording = (loaded: LoadedObject): { readonly calls: Array<KernelCall>; readonly recorded: LoadedObject } => {
  const calls: Array<KernelCall> = []
  const { session } = loaded
  const call: typeof session.call = (call) => Effect.suspend(() => (calls.push(call), session.call(call)))
  return { calls, recorded: { ...loaded, session: { ...session, call } } }
}

const room = (entries: number) => ({
  edits: [(object: Parameters<typeof Edit.setMap>[0]) => Edit.setMap(object, Spec.specsMap, { maxEntries: entries })]
})

const byAddress = { without: ["UprobeMultiLink", "BpfCookie"] } as const

describeWith(
  { kind: "live", tools: ["cc", "clang", "ld", "strip", "unshare"], files: [sdtHeader] },
  "probes in all places",
  () => {
    it.live("of this process", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const called = Koffi.load(built().library).func("void library(long)")
          yield* Usdt.attach(loaded, "any", { path: built().library, provider: "library", name: "called", pid: 0 })
          called(77)
          assert.deepStrictEqual((yield* events).map(({ process, values }) => [process, values]), [[process.pid, [
            77n
          ]]])
        })))

    it.live("of every process", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const targets = [yield* start(built().program), yield* start(built().program)]
          yield* Usdt.attach(loaded, "any", probe("begin"))
          for (const target of targets) yield* target.round
          const late = yield* start(built().program)
          yield* late.round
          const pids = [...targets, late].map(({ pid }) => pid)
          assert.deepStrictEqual((yield* events).map(({ process }) => process), pids)
        })))

    it.live("of every process of a program that is always loaded at the same address, without cookies", () =>
      live(byAddress, ({ events, loaded }) =>
        Effect.gen(function*() {
          const { program } = build(["-no-pie"])
          const target = yield* start(program)
          yield* Usdt.attach(loaded, "any", probe("begin", { path: program, cookie: 5n }))
          yield* target.round
          assert.deepStrictEqual((yield* events).map(told), [
            { program: 1, cookie: 5n, failed: 0, values: [1n, BigInt(target.pid)] }
          ])
        })))

    it.live("at the sum of two registers", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const target = yield* start(built().program)
          yield* Usdt.attach(loaded, "any", probe("indexed", { pid: target.pid }))
          yield* target.round
          yield* target.round
          assert.deepStrictEqual((yield* events).map(({ failed, values }) => [failed, values]), [[0, [11n]], [0, [
            12n
          ]]])
        })))

    it.live("with arguments in variables, wherever the program is loaded", () =>
      live({ fixture: "usdt.bpf.o" }, ({ events, loaded }) =>
        Effect.gen(function*() {
          for (const path of [built().program, build(["-no-pie"]).program]) {
            const target = yield* start(path)
            yield* Usdt.attach(loaded, "any", probe("variables", { path, pid: target.pid }))
            yield* target.round
            const values = [-300n, 4000000000n, -5000000000000n]
            assert.deepStrictEqual((yield* events).map(told), [{ program: 1, cookie: 0n, failed: 0, values }])
          }
          const stripped = Path.join(temporaryFolder(), "effect_bpf_target")
          assert.strictEqual(run("strip", ["-o", stripped, built().program]).status, 0)
          const error = yield* failed(Usdt.attach(loaded, "any", probe("variables", { path: stripped })))
          assert.match(error.message, /argument 0: no symbol s16\nhint: the file has been stripped of its symbols/)
        })))

    it.live("of a program of 32 bits", ({ skip }) =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const path = compileTarget32()
          if (run(path, []).status !== 0) return skip("this kernel runs no programs of 32 bits")
          const target = yield* start(path)
          yield* Usdt.attach(loaded, "any", probe("narrow", { path, pid: target.pid, cookie: 9n }))
          yield* target.round
          assert.deepStrictEqual((yield* events).map(told), [
            { program: 1, cookie: 9n, failed: 0, values: [1n, -1n, -5000000000000n] }
          ])
        })))

    it.live("in a member of an archive", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const library = new Uint8Array(Fs.readFileSync(built().library))
          const [symbol] = yield* Effect.fromResult(FunctionOffset.findAll(library, ["library"]))
          const archive = Path.join(temporaryFolder(), "effect_probes.zip")
          const { bytes, offset } = storedZip("lib/libeffect_probes.so", library)
          Fs.writeFileSync(archive, bytes)
          const runner = compileTarget("usdt_archive.c")
          const target = yield* start(runner, [archive, String(offset), String(symbol?.address ?? 0n)])
          const path = `${archive}!/lib/libeffect_probes.so`
          yield* Usdt.attach(loaded, "any", { path, provider: "library", name: "called", pid: target.pid })
          yield* target.round
          assert.deepStrictEqual((yield* events).map(({ values }) => values), [[1n]])
        })))

    it.live("under a path with spaces and colons", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const path = Path.join(temporaryFolder(), "a : b", "effect_bpf_target:1 (deleted)")
          Fs.mkdirSync(Path.dirname(path))
          Fs.copyFileSync(built().program, path)
          const target = yield* start(path)
          yield* Usdt.attach(loaded, "any", probe("begin", { path, pid: target.pid }))
          yield* target.round
          assert.lengthOf(yield* events, 1)
        })))

    it.live("in a container: a file that only the process sees", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const folder = temporaryFolder()
          const hidden = Path.join(folder, "effect_bpf_target")
          const script = `mount -t tmpfs none ${folder} && cp ${built().program} ${hidden} && exec ${hidden}`
          const target = yield* start("unshare", ["--mount", "sh", "-c", script])
          assert.isFalse(Fs.existsSync(hidden))
          const ways: ReadonlyArray<Partial<Usdt.UsdtOptions>> = [
            { path: `/proc/${target.pid}/root${hidden}` },
            { path: hidden, root: `/proc/${target.pid}/root` },
            { path: "effect_bpf_target", pid: target.pid }
          ]
          for (const way of ways) {
            yield* Effect.scoped(Effect.andThen(Usdt.attach(loaded, "any", probe("begin", way)), target.round))
            assert.lengthOf(yield* events, 1, JSON.stringify(way))
          }
        })))

    it.live("on two nops are put on the second, where the kernel enters such probes fast", () =>
      live({}, ({ events, loaded }) =>
        Effect.gen(function*() {
          const path = compileTarget("usdt_nops.c")
          const target = yield* start(path)
          const [listed] = yield* UsdtList.ofFile(path)
          if (listed === undefined) assert.fail("no probe")
          const noted = Result.getOrThrow(listed.place).fileOffset
          const isFast = process.arch === "x64" && (yield* supports("UprobeSyscall"))
          const { calls, recorded } = recording(loaded)
          yield* Usdt.attach(recorded, "any", { path, provider: "effect", name: "fast", pid: target.pid, cookie: 3n })
          const offsets = calls.flatMap((call) =>
            call._tag === "LinkCreate" && call.options?._tag === "UprobeMulti" ? call.options.offsets : []
          )
          assert.deepStrictEqual(offsets, [isFast ? noted + 1n : noted])
          yield* target.round
          assert.deepStrictEqual((yield* events).map(told), [{ program: 1, cookie: 3n, failed: 0, values: [1n] }])
        })))

    it.live("by programs that may sleep", () =>
      live(
        { edits: [(object) => Edit.setProgram(object, "any_sleepable", { autoload: true })] },
        ({ events, loaded }) =>
          Effect.gen(function*() {
            const target = yield* start(built().program)
            yield* Usdt.attach(loaded, "any_sleepable", probe("begin", { pid: target.pid }))
            yield* target.round
            assert.deepStrictEqual((yield* events).map(({ program }) => program), [2])
          })
      ))

    const loadNamed = (object: Parameters<typeof Edit.setProgram>[0]) =>
      Edit.setProgram(object, "named", { autoload: true })

    it.live("that sections name are attached by themselves, and a bare SEC(\"usdt\") is not", () =>
      live({
        edits: [loadNamed, (object) => Edit.setProgram(object, "named_sleepable", { autoload: true })]
      }, ({ events, loaded }) =>
        Effect.gen(function*() {
          const before = process.env["PATH"]
          process.env["PATH"] = `${built().folder}:${before ?? ""}`
          yield* Effect.addFinalizer(() => Effect.sync(() => void (process.env["PATH"] = before)))
          const target = yield* start(built().program)
          const { links, skipped } = yield* Attach.attachAll(loaded)
          assert.deepStrictEqual([...links.keys()].sort(), ["named", "named_sleepable"])
          assert.deepStrictEqual(skipped.map(({ name }) => name).sort(), ["any", "any_sleepable"])
          assert.match(skipped[0]?.because ?? "", /SEC\("usdt\/path:provider:name"\) would/)
          yield* target.round
          const seen = (yield* events).map(({ program, values }) => [program, values.slice(0, 2)])
          assert.deepStrictEqual(seen, [[3, [1n, BigInt(target.pid)]], [4, []]])
        })))
  }
)

describeWith({ kind: "live", tools: ["cc"], files: [sdtHeader] }, "probes that cannot be attached to", () => {
  it.live("are refused where there is none of the name, with those that there are", () =>
    live({}, ({ loaded }) =>
      Effect.gen(function*() {
        const error = yield* failed(Usdt.attach(loaded, "any", probe("began")))
        assert.strictEqual(error.reason, "NotFound")
        assert.include(error.message, "it has no probe effect:began")
        assert.include(error.message, "effect:many, effect:variables, effect:widths, effect:indexed, effect:begin")
        const none = yield* failed(Usdt.attach(loaded, "any", probe("begin", { path: "/bin/true" })))
        assert.match(none.message, /no section \.note\.stapsdt/)
        const missing = yield* failed(Usdt.attach(loaded, "any", probe("begin", { path: "/nowhere" })))
        assert.strictEqual(missing.reason, "NotFound")
        const text = yield* failed(Usdt.attach(loaded, "any", probe("begin", { path: "/etc/passwd" })))
        assert.strictEqual(text.reason, "BadTarget")
        const program = yield* failed(Usdt.attach(loaded, "some", probe("begin")))
        assert.strictEqual(program.reason, "NoSuchProgram")
        const unloaded = yield* failed(Usdt.attach(loaded, "named", probe("begin")))
        assert.strictEqual(unloaded.reason, "NotLoaded")
      })))

  it.live("are refused where the object has no maps for their arguments", () =>
    live({}, ({ loaded }) =>
      Effect.gen(function*() {
        const bare = { ...loaded, object: { ...loaded.object, maps: [] } }
        const error = yield* failed(Usdt.attach(bare, "any", probe("begin")))
        assert.match(error.message, /the object has no map __bpf_usdt_specs\nhint: include <bpf\/usdt.bpf.h>/)
      })))

  it.live("are refused where they need a newer usdt.bpf.h", () =>
    live({ fixture: "usdt.bpf.o" }, ({ loaded }) =>
      Effect.gen(function*() {
        const error = yield* failed(Usdt.attach(loaded, "any", probe("indexed")))
        assert.strictEqual(error.reason, "Unsupported")
        assert.match(error.message, /sum of two registers.*\nhint: compile the object with usdt.bpf.h of libbpf 1.7/)
      })))

  it.live("are refused where a semaphore needs a kernel that counts, and nothing is written to the program's memory", () =>
    live({}, ({ events, loaded }) =>
      Effect.gen(function*() {
        const target = yield* start(built().program)
        for (const pmu of [{ type: 9, hasCounter: false }, undefined]) {
          const older = answering(loaded, "ProbePmuGet", pmu)
          const error = yield* failed(Usdt.attach(older, "any", probe("counted", { pid: target.pid })))
          assert.strictEqual(error.reason, "Unsupported")
          assert.match(error.message, /the probe has a semaphore, and this kernel cannot count in it/)
        }
        assert.strictEqual(yield* target.round, 0)
        assert.deepStrictEqual(yield* events, [])
      })))

  it.live("are refused where a library is anywhere and the kernel has no cookies, unless a process is named", () =>
    live(byAddress, ({ loaded }) =>
      Effect.gen(function*() {
        const error = yield* failed(Usdt.attach(loaded, "any", probe("begin")))
        assert.strictEqual(error.reason, "Unsupported")
        assert.match(error.message, /name a process/)
        const here = yield* failed(Usdt.attach(loaded, "any", probe("begin", { pid: 0 })))
        assert.match(here.message, /has not mapped .*effect_bpf_target as code/)
      })))

  it.live("are refused twice to one object without cookies, and the first attachment stays", () =>
    live(byAddress, ({ events, loaded }) =>
      Effect.gen(function*() {
        const target = yield* start(built().program)
        const { pid } = target
        yield* Usdt.attach(loaded, "any", probe("begin", { pid }))
        const error = yield* failed(Usdt.attach(loaded, "any", probe("begin", { pid })))
        assert.match(error.message, /a program of this object is attached to the probe already/)
        yield* target.round
        assert.lengthOf(yield* events, 1)
      })))

  it.live("are refused where the object's records are all in use, and attached to when some are free again", () =>
    live(room(2), ({ events, loaded }) =>
      Effect.gen(function*() {
        const target = yield* start(built().program)
        const { pid } = target
        const first = yield* Usdt.attach(loaded, "any", probe("begin", { pid }))
        const error = yield* failed(Usdt.attach(loaded, "any", probe("many", { pid })))
        assert.match(error.message, /its places need 2 records of arguments, and of the object's 2 only 1 are free/)
        yield* first.detach
        yield* Usdt.attach(loaded, "any", probe("many", { pid }))
        yield* target.round
        assert.lengthOf(yield* events, 3)
      })))

  it.live("are not refused for what other objects use, nor for what an object used that is gone", () =>
    live(room(2), ({ loaded }) =>
      Effect.gen(function*() {
        const kernel = yield* Kernel
        const another = loadFixture("usdt_wide.bpf.o", { kernel, ...room(2) })
        yield* Usdt.attach(loaded, "any", probe("many"))
        for (let time = 0; time < 2; time++) {
          yield* Effect.scoped(Effect.flatMap(another, (each) => Usdt.attach(each, "any", probe("many"))))
        }
        yield* failed(Usdt.attach(loaded, "any", probe("begin")))
      })))

  it.live("are refused of processes that have ended", () =>
    live({}, ({ loaded }) =>
      Effect.gen(function*() {
        const target = yield* start(built().program)
        yield* target.stop
        const error = yield* failed(Usdt.attach(loaded, "any", probe("begin", { pid: target.pid })))
        assert.include(["Refused", "NotFound"], error.reason)
      })))

  it.live("are attached or refused when their process ends meanwhile, whenever that is, and nothing stays", () =>
    live(byAddress, ({ loaded }) =>
      Effect.gen(function*() {
        for (let step = 0; step < 8; step++) {
          const target = yield* start(built().program)
          let left = step * 2
          const call: typeof loaded.session.call = (call) =>
            Effect.suspend(() =>
              left-- === 0 ? Effect.andThen(target.stop, loaded.session.call(call)) : loaded.session.call(call)
            )
          const dying = { ...loaded, session: { ...loaded.session, call } }
          const attached = yield* Effect.exit(
            Effect.scoped(Usdt.attach(dying, "any", probe("many", { pid: target.pid })))
          )
          if (attached._tag === "Failure") yield* failed(attached)
          assert.deepStrictEqual(yield* traces, [], `step ${step}`)
        }
      })))

  it.live("stay attached without effect when their process ends, and are detached as all others", () =>
    live(byAddress, ({ events, loaded }) =>
      Effect.gen(function*() {
        const target = yield* start(built().program)
        const link = yield* Usdt.attach(loaded, "any", probe("begin", { pid: target.pid }))
        yield* target.round
        yield* target.stop
        assert.lengthOf(yield* events, 1)
        yield* link.detach
      })))

  it.live("cannot be pinned: their records belong to this process", () =>
    live({}, ({ loaded }) =>
      Effect.gen(function*() {
        const link = yield* Usdt.attach(loaded, "any", probe("begin"))
        assert.strictEqual(link.ref, undefined)
        const error = yield* failed(link.pin("/sys/fs/bpf/effect_usdt"))
        assert.strictEqual(error.reason, "Unsupported")
      })))
})
