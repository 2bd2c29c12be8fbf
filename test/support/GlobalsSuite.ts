/** Global variables of a loaded object, for kernels that run programs. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoadedObject } from "../../src/stages/load/Execute.ts"
import * as Globals from "../../src/stages/load/Globals.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { testRun } from "./LiveKernel.ts"
import * as Rights from "./Rights.ts"
import { loadFixture, type LoadFixtureOptions } from "./LoadFixture.ts"

/** Runs the program of `global_data` once. */
const runOnce = ({ program, session }: LoadedObject) =>
  Effect.suspend(() =>
    session.call({
      ...testRun(0),
      prog: program("read_all") ?? assert.fail("it is not loaded"),
      dataIn: new Uint8Array(64)
    })
  )

const failing = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<Globals.GlobalsError, A, R> =>
  Effect.map(
    Effect.flip(effect),
    (error) => error instanceof Globals.GlobalsError ? error : assert.fail(`not a GlobalsError: ${String(error)}`)
  )

/** The tests on a kernel; `mapped` says whether it lets user space map arrays. */
export const globalsSuite = (make: Effect.Effect<KernelShape, unknown>, mapped = true): void => {
  /** A body with a loaded fixture and its variables. */
  const withGlobals = (
    name: string,
    body: (globals: Globals.Globals, loaded: LoadedObject) => Effect.Effect<void, unknown>,
    options: LoadFixtureOptions = {}
  ) =>
    Effect.gen(function*() {
      const kernel = yield* make
      yield* Effect.gen(function*() {
        const loaded = yield* loadFixture(name, { ...options, kernel })
        yield* body(yield* Globals.open(loaded), loaded)
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    })

  it.live("are read as they were initialised, of every type and section", () =>
    withGlobals("global_data.bpf.o", (globals) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* globals.get("answer"), 42)
        assert.strictEqual(yield* globals.get("wide_number"), 0x1122334455667788n)
        assert.strictEqual(yield* globals.get("small_number"), -3)
        assert.strictEqual(yield* globals.get("favourite"), "GREEN")
        assert.strictEqual(yield* globals.get("biggest"), 0xfedcba9876543210n)
        assert.strictEqual(yield* globals.get("enabled"), true)
        assert.deepStrictEqual(yield* globals.get("position"), { x: -1, y: 300 })
        assert.strictEqual(yield* globals.get("custom_data"), 0xbeef)
        assert.strictEqual(yield* globals.get("only_static"), 9)
        assert.strictEqual(yield* globals.get("limit"), 100)
        assert.strictEqual(yield* globals.get("greeting"), "hello")
        assert.deepStrictEqual(yield* globals.get("table"), [1n, 10n, 100n, 1000n])
        assert.strictEqual(yield* globals.get("custom_limit"), -5n)
        assert.strictEqual(yield* globals.get("counter"), 0n)
        const answer = Result.getOrThrow(globals.variable("answer"))
        assert.deepStrictEqual([answer.section, answer.writable, answer.mapped], [".data", true, mapped])
        // A section of static variables alone is not for user space: it is no mapping, and works all the same.
        assert.strictEqual(Result.getOrThrow(globals.variable("only_static")).mapped, false)
        assert.strictEqual(Result.getOrThrow(globals.variable("limit")).writable, false)
      })))

  it.live("are seen by programs when they are set, and set by programs when they are read", () =>
    withGlobals("global_data.bpf.o", (globals, loaded) =>
      Effect.gen(function*() {
        yield* runOnce(loaded)
        const before = yield* globals.get("sum")
        assert.strictEqual(yield* globals.get("counter"), 1n)
        assert.strictEqual(yield* globals.get("name_matches"), 1)
        assert.deepStrictEqual(yield* globals.get("seen_position"), { x: -1, y: 300 })
        yield* globals.set("answer", 142)
        yield* globals.set("only_static", 19)
        yield* globals.set("position", { x: 1, y: 298 })
        yield* globals.set("settings", {
          name: "other",
          enabled: true,
          corners: [{ x: 1, y: 2 }, { x: -3, y: -4 }],
          flags: { low: 5, middle: -7, high: 0x1ffff, wide: 0xabcdef0123n }
        })
        yield* runOnce(loaded)
        assert.strictEqual(yield* globals.get("sum"), (before as bigint) + 110n)
        assert.deepStrictEqual(yield* globals.get("seen_position"), { x: 1, y: 298 })
        assert.strictEqual(yield* globals.get("name_matches"), 0)
        assert.strictEqual(yield* globals.get("counter"), 2n)
        yield* globals.set("counter", 40n)
        yield* runOnce(loaded)
        assert.strictEqual(yield* globals.get("counter"), 41n)
      })))

  it.live("that are constant are refused, and so is what does not fit", () =>
    withGlobals("global_data.bpf.o", (globals) =>
      Effect.gen(function*() {
        const constant = yield* failing(globals.set("limit", 3))
        assert.deepStrictEqual([constant.reason, constant.name], ["ReadOnly", "limit"])
        assert.match(constant.message, /hint: set it before the load: Edit.setVariable/)
        assert.strictEqual((yield* failing(globals.set("answer", "many"))).reason, "Value")
        assert.strictEqual((yield* failing(globals.set("custom_data", 70_000))).reason, "Value")
        const unknown = yield* failing(globals.get("no_such_variable"))
        assert.strictEqual(unknown.reason, "NoSuchName")
        assert.match(unknown.message, /there are answer, /)
        // Nothing was written.
        assert.strictEqual(yield* globals.get("answer"), 42)
      })))

  it.live("are closed with their scope, and can be opened more than once", () =>
    withGlobals("global_data.bpf.o", (globals, loaded) =>
      Effect.gen(function*() {
        const kernel = yield* make
        const open = Globals.open(loaded).pipe(Effect.provideService(Kernel, kernel))
        const second = yield* Effect.scoped(Effect.gen(function*() {
          const second = yield* open
          yield* second.set("answer", 7)
          assert.strictEqual(yield* globals.get("answer"), 7)
          return second
        }))
        if (mapped) {
          assert.strictEqual((yield* failing(second.get("answer"))).reason, "Closed")
          assert.strictEqual((yield* failing(second.set("answer", 8))).reason, "Closed")
        }
        assert.strictEqual(yield* globals.get("answer"), 7)
      })))

  it.live("of a map of another load's are that map's", () =>
    withGlobals("global_data.bpf.o", (globals, loaded) =>
      Effect.gen(function*() {
        const map = loaded.map(".data") ?? assert.fail()
        const { id } = yield* loaded.session.call({ _tag: "MapGetInfo", map })
        yield* globals.set("answer", 99)
        const kernel = yield* make
        const other = kernel.name === "simulated" ? undefined : kernel
        // A simulated kernel is another one each time: its maps cannot be shared across two of them.
        if (other === undefined || !Rights.identifiers()) return
        yield* Effect.gen(function*() {
          const sharing = yield* loadFixture("global_data.bpf.o", {
            kernel: other,
            edits: [(object) => Edit.replaceMap(object, ".data", { _tag: "Id", id })]
          })
          const shared = yield* Globals.open(sharing)
          assert.strictEqual(yield* shared.get("answer"), 99)
          yield* shared.set("answer", 100)
          assert.strictEqual(yield* globals.get("answer"), 100)
          yield* runOnce(sharing)
          assert.strictEqual(yield* shared.get("counter"), 1n)
          assert.strictEqual(yield* globals.get("counter"), 0n)
        }).pipe(Effect.scoped, Effect.provideService(Kernel, other))
      })))

  it.live("of a section that is not loaded are left out", () =>
    withGlobals("global_data.bpf.o", (globals) =>
      Effect.sync(() => {
        assert.isFalse(globals.variables.some(({ section }) => section === ".data.static"))
        assert.isTrue(Result.isFailure(globals.variable("only_static")))
      }), {
      edits: [
        (object) => Edit.setMap(object, ".data.static", { autocreate: false }),
        (object) => Edit.setAutoload(object, "read_all", false)
      ]
    }))

  it.live("can be looked at as the memory of their map; other maps only if they can be mapped", () =>
    withGlobals("map_kinds.bpf.o", (_, loaded) =>
      Effect.gen(function*() {
        const kernel = yield* make
        yield* Effect.gen(function*() {
          const view = yield* Globals.view(loaded, "array")
          const key = new Uint8Array(4)
          key[0] = 2
          view.bytes.set([1, 2, 3], 2 * 32)
          const map = loaded.map("array") ?? assert.fail()
          const found = yield* loaded.session.call({ _tag: "MapLookup", map, key, valueSize: 32, flags: 0n })
          assert.deepStrictEqual([...found ?? []].slice(0, 4), [1, 2, 3, 0])
          assert.strictEqual((yield* failing(Effect.scoped(Globals.view(loaded, "hash")))).reason, "NotMappable")
          assert.strictEqual((yield* failing(Effect.scoped(Globals.view(loaded, "none")))).reason, "NoSuchName")
        }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
      })))

  it.live("named fault: a view of memory of one's own does not see what programs write", () =>
    withGlobals("global_data.bpf.o", (globals, loaded) =>
      Effect.gen(function*() {
        const disconnected = { bytes: new Uint8Array(loaded.object.maps[Ref.map(0).index]?.attr.valueSize ?? 0) }
        yield* runOnce(loaded)
        assert.isTrue(disconnected.bytes.every((byte) => byte === 0))
        assert.strictEqual(yield* globals.get("counter"), 1n)
      })))
}
