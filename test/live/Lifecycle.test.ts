/** Objects in two halves, unloaded, pinned, opened again and cloned, on the running kernel: nothing is left behind. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { Kernel, type Session } from "../../src/services/Kernel/Kernel.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelTraced from "../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Clone from "../../src/stages/load/Clone.ts"
import type { PreparedObject } from "../../src/stages/load/Execute.ts"
import * as Pins from "../../src/stages/load/Pins.ts"
import type { PlannedObject } from "../../src/stages/load/Plan.ts"
import * as Prepare from "../../src/stages/load/Prepare.ts"
import * as Reopen from "../../src/stages/load/Reopen.ts"
import * as Select from "../../src/stages/load/Select.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { inSession, openDescriptors, testRun } from "../support/LiveKernel.ts"
import { planFixture } from "../support/LoadFixture.ts"
import { bpffs, describeWith, fixture, repository, run } from "../support/Require.ts"

/** The fields of an error, to compare some of them. */
const fields = (error: object): Readonly<Record<string, unknown>> => Object.fromEntries(Object.entries(error))

const object = Result.getOrThrow(Open.fromBytes(fixture("prog_array.bpf.o"), { path: "prog_array.bpf.o" }))

const plan = (name = "prog_array.bpf.o"): Effect.Effect<PlannedObject, unknown> =>
  Effect.flatMap(KernelLive.make, (kernel) => planFixture(name, { kernel }))

const prepared = Effect.gen(function*() {
  return yield* Prepare.toPrepared(yield* plan())
})

/** What `start` answers: 1 alone, and more with what stands in the slots. */
const started = ({ session }: PreparedObject, ref: Ref.ProgRef | undefined) =>
  ref === undefined
    ? assert.fail("not loaded")
    : Effect.map(session.call({ ...testRun(0), prog: ref }), ({ retval }) => retval)

type Ids = ReadonlyArray<{ readonly kind: "Map" | "Prog"; readonly id: number }>

/** The identifiers of everything that an object has in the kernel. */
const idsOf = ({ object, session }: PreparedObject): Effect.Effect<Ids, unknown> =>
  Effect.gen(function*() {
    const ids: Array<Ids[number]> = []
    for (const position of object.maps.keys()) {
      if (!session.exists(Ref.map(position))) continue
      ids.push({ kind: "Map", id: (yield* session.call({ _tag: "MapGetInfo", map: Ref.map(position) })).id })
    }
    for (const position of object.programs.keys()) {
      if (!session.exists(Ref.prog(position))) continue
      ids.push({ kind: "Prog", id: (yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(position) })).id })
    }
    return ids
  })

/**
 * Which of these the kernel has. What programs hold goes a moment after them, so a first look may still find it. Nothing is
 * opened for it: each time that the last user lets go of a program array, the kernel empties it later, and keeps it for
 * good when it is asked to while it has not yet begun.
 */
const alive = (ids: Ids) =>
  inSession(Effect.fnUntraced(function*(session: Session) {
    const isThere = ({ id, kind }: Ids[number]) =>
      Effect.map(session.call({ _tag: "IdNext", kind, after: id - 1 }), (next) => next === id)
    let left: Ids = ids
    for (let look = 0; left.length > 0 && look < 400; look++) {
      const there: Array<Ids[number]> = []
      for (const each of left) if (yield* isThere(each)) there.push(each)
      left = there
      if (left.length > 0) yield* Effect.sleep("5 millis")
    }
    return left
  }))

describeWith({ kind: "live", root: true }, "the life of an object", () => {
  it.live("in two halves: maps, then programs one after another, unloaded and loaded again", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const ids: Array<Ids[number]> = []
      yield* Effect.scoped(Effect.gen(function*() {
        const halves = yield* prepared
        const maps = yield* idsOf(halves)
        assert.sameMembers(maps.map(({ kind }) => kind), ["Map", "Map"])
        const one = yield* Prepare.load(halves, { only: ["start"] })
        // Its slots are empty: the tail call falls through.
        assert.strictEqual(yield* started(one, one.program("start")), 0)
        const two = yield* Prepare.load(one, { only: ["add_ten"] })
        assert.strictEqual(yield* started(two, two.program("start")), 11)
        const all = yield* Prepare.load(two)
        assert.strictEqual(yield* started(all, all.program("start")), 31)
        assert.strictEqual((yield* Effect.flip(Prepare.load(all, { only: ["start"] })))._tag, "LifecycleError")
        ids.push(...yield* idsOf(all))
        assert.strictEqual(ids.length, 5)
        const fewer = yield* Prepare.unload(all, { only: ["add_twenty"] })
        assert.strictEqual(yield* started(fewer, fewer.program("start")), 11)
        const none = yield* Prepare.unload(fewer)
        // The programs are gone, the array does not hold them; the maps live on.
        assert.deepStrictEqual(yield* alive(ids.filter(({ kind }) => kind === "Prog")), [])
        assert.deepStrictEqual(yield* idsOf(none), maps)
        const again = yield* Prepare.load(none)
        assert.strictEqual(yield* started(again, again.program("start")), 31)
      })).pipe(Effect.provide(KernelLive.layer))
      assert.deepStrictEqual(openDescriptors(), before)
      assert.deepStrictEqual(yield* alive(ids), [])
    }))

  it.live("for the named programs and their maps alone", () =>
    Effect.scoped(Effect.gen(function*() {
      const chosen = Result.getOrThrow(Select.onlyPlanned(yield* plan(), ["start"]))
      const loaded = yield* Prepare.load(yield* Prepare.toPrepared(chosen))
      assert.isUndefined(loaded.program("add_ten"))
      assert.strictEqual(yield* started(loaded, loaded.program("start")), 0)
    })).pipe(Effect.provide(KernelLive.layer)))

  it.live("in pins, which another process opens, and which go without a trace", () =>
    Effect.gen(function*() {
      const folder = Path.join(bpffs(), "life.d")
      const before = openDescriptors()
      // A bpf file system takes no dots in names of folders either.
      const dotless = folder.replace("life.d", "life")
      const ids = yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* prepared)
        const refused = yield* Effect.flip(Pins.pin(loaded, folder))
        assert.deepInclude(fields(refused), { _tag: "KernelError", call: "ObjPin" })
        const pins = yield* Pins.pin(loaded, dotless)
        assert.sameMembers(Fs.readdirSync(dotless), pins.map(({ path }) => Path.basename(path)))
        assert.include(Fs.readdirSync(dotless), "prog_arr_bss")
        return yield* idsOf(loaded)
      })).pipe(Effect.provide(KernelLive.layer))
      assert.deepStrictEqual(openDescriptors(), before)
      yield* Effect.scoped(Effect.gen(function*() {
        const found = yield* Reopen.reopen(object, dotless)
        assert.deepStrictEqual(yield* idsOf(found), ids)
        assert.strictEqual(yield* started(found, found.program("start")), 31)
        const larger = Result.getOrThrow(Edit.setMap(object, "steps", { maxEntries: 7 }))
        const other = yield* Effect.flip(Reopen.reopen(larger, dotless))
        assert.match(other.message, /max_entries is 6, the object wants 7/)
        yield* Pins.unpin(found, dotless)
        assert.deepStrictEqual(Fs.readdirSync(dotless), [])
        const missing = yield* Effect.flip(Reopen.reopen(object, dotless))
        assert.match(missing.message, /not pinned: map steps/)
      })).pipe(Effect.provide(KernelLive.layer))
      assert.deepStrictEqual(openDescriptors(), before)
      assert.deepStrictEqual(yield* alive(ids), [])
    }))

  it.live("is not pinned by halves, and not unpinned where a pin is another's by now", () =>
    Effect.gen(function*() {
      const folder = Path.join(bpffs(), "halves")
      yield* Effect.scoped(Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* prepared)
        const { session } = loaded
        yield* session.call({ _tag: "ObjPin", object: Ref.prog(0), path: Path.join(folder, "start") })
        yield* session.commit
        assert.deepInclude(fields(yield* Effect.flip(Pins.pin(loaded, folder))), { call: "ObjPin", errno: "EEXIST" })
        assert.deepStrictEqual(Fs.readdirSync(folder), ["start"])
        const wrong = yield* Effect.flip(Pins.unpin(loaded, folder))
        assert.match(wrong.message, /what is pinned at .*start is not this program/)
        assert.deepStrictEqual(Fs.readdirSync(folder), ["start"])
        yield* session.call({ _tag: "ObjUnpin", path: Path.join(folder, "start") })
      })).pipe(Effect.provide(KernelLive.layer))
    }))

  it.live("with a clone that outlives its original", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      yield* Effect.scoped(Effect.gen(function*() {
        const halves = yield* prepared
        const early = yield* Clone.clone(halves, "start", { name: "early", logLevel: 1 })
        assert.notStrictEqual(early.log, "")
        assert.strictEqual(yield* started(halves, early.program), 0)
        const loaded = yield* Prepare.load(halves)
        const late = yield* Clone.clone(loaded, "start", { name: "late" })
        assert.strictEqual(yield* started(loaded, late.program), 31)
        const info = yield* loaded.session.call({ _tag: "ProgGetInfo", prog: late.program })
        assert.strictEqual(info.name, "late")
        yield* Prepare.unload(loaded, { only: ["start"] })
        assert.strictEqual(yield* started(loaded, late.program), 31)
        // Another attach type than such programs have: the kernel says no, and nothing is left of it.
        const refused = yield* Effect.flip(Clone.clone(loaded, "add_ten", { flags: 0x4000_0000 }))
        assert.include(["KernelError", "VerifierError"], refused._tag)
      })).pipe(Effect.provide(KernelLive.layer))
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("that fails at any attempt leaves no descriptor, no identifier and no pin", () =>
    Effect.gen(function*() {
      const planned = yield* plan()
      const live = yield* KernelLive.make
      const folder = Path.join(bpffs(), "any")
      const ids: Array<Ids[number]> = []
      const life = Effect.gen(function*() {
        const loaded = yield* Prepare.load(yield* Prepare.toPrepared(planned))
        yield* Clone.clone(loaded, "start")
        yield* Pins.pin(loaded, folder)
        yield* Pins.unpin(loaded, folder)
        ids.push(...yield* idsOf(loaded))
        yield* Prepare.unload(loaded)
      })
      const traced = yield* KernelTraced.make(live)
      yield* Effect.scoped(life).pipe(Effect.provideService(Kernel, traced.kernel))
      // What the test itself asks is among them, after unpinning.
      const attempts = (yield* traced.attempts).length
      assert.isAbove(attempts, 30)
      const before = openDescriptors()
      let points = 0
      for (const fault of [{ _tag: "Answer", errno: "EPERM" }, { _tag: "InterruptAfter" }] as const) {
        for (let at = 0; at < attempts; at++) {
          const kernel = yield* KernelFaulty.make(live, at, fault)
          const seen = yield* KernelTraced.make(kernel)
          const exit = yield* Effect.exit(Effect.scoped(life).pipe(Effect.provideService(Kernel, seen.kernel)))
          if (exit._tag === "Failure") points++
          const where = `${fault._tag} at attempt ${at}`
          assert.deepStrictEqual(openDescriptors(), before, where)
          // A pin that could not be taken away is there to be taken away again; else there is none.
          const pins = Fs.existsSync(folder) ? Fs.readdirSync(folder) : []
          const unpinning = (yield* seen.attempts).some(({ call }) => call._tag === "ObjUnpin") ||
            (yield* seen.attempts).filter(({ call }) => call._tag === "ObjPin").length >= 5
          if (!unpinning) assert.deepStrictEqual(pins, [], where)
          for (const pin of pins) Fs.unlinkSync(Path.join(folder, pin))
        }
      }
      assert.isAbove(points, attempts)
      assert.deepStrictEqual(yield* alive(ids), [])
    }))
})

const child = "test/support/reopenChild.ts"

describeWith({ kind: "live", root: true, files: [child] }, "an object in another process", () => {
  it.live("is opened from its pins, and runs", () =>
    Effect.scoped(Effect.gen(function*() {
      const folder = Path.join(bpffs(), "other_process")
      const loaded = yield* Prepare.load(yield* prepared)
      yield* Pins.pin(loaded, folder)
      const fixturePath = Path.join(repository, "test/fixtures/prog_array.bpf.o")
      const { status, stderr, stdout } = run(process.execPath, [Path.join(repository, child), fixturePath, folder])
      assert.strictEqual(status, 0, stderr)
      assert.deepStrictEqual(JSON.parse(stdout), { retval: 31 })
      yield* Pins.unpin(loaded, folder)
    })).pipe(Effect.provide(KernelLive.layer)))
})
