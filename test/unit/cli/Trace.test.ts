/** What `trace` prints of records: read on the simulated kernel, as text and as JSON. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as EventPipe from "../../../src/cli/map/EventPipe.ts"
import { pipeJson } from "../../../src/cli/json/PipeDocument.ts"
import * as Objects from "../../../src/cli/objects/Objects.ts"
import { pipeText } from "../../../src/cli/text/PipeText.ts"
import { recordJson, safeText, summaryJson } from "../../../src/cli/json/EventDocument.ts"
import { recordText, summaryText } from "../../../src/cli/text/EventText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import * as Records from "../../../src/cli/trace/Records.ts"
import { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import * as KernelSimulated from "../../../src/services/Kernel/KernelSimulated.ts"
import type { LoadedObject } from "../../../src/stages/load/Execute.ts"
import * as Globals from "../../../src/stages/load/Globals.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { faultOf } from "../../support/Documents.ts"
import { testRun } from "../../support/LiveKernel.ts"
import { loadFixture } from "../../support/LoadFixture.ts"
import { fixture } from "../../support/Require.ts"

const opened = Result.getOrThrow(Open.fromBytes(fixture("trace_events.bpf.o"), { path: "trace_events.bpf.o" }))
const time = new Date("2026-11-23T05:06:07.089Z")

/** The fixture on a simulated kernel, with its buffers open. */
const withBuffers = <A, E>(
  names: ReadonlyArray<string>,
  body: (
    buffers: Records.Opened,
    send: Effect.Effect<void, unknown>,
    loaded: LoadedObject
  ) => Effect.Effect<A, E, Kernel | Scope.Scope>
) =>
  Effect.gen(function*() {
    const { kernel } = yield* KernelSimulated.make()
    return yield* Effect.gen(function*() {
      const loaded = yield* loadFixture("trace_events.bpf.o", { kernel })
      const buffers = yield* Records.open(loaded, Result.getOrThrow(Records.mapsOf(opened, names)))
      const prog = loaded.program("on_packet") ?? assert.fail("it is not loaded")
      return yield* body(buffers, Effect.asVoid(loaded.session.call({ ...testRun(0), prog })), loaded)
    }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
  })

/** The first records, by the order in which they are shown. */
const take = Effect.fnUntraced(function*(buffers: Records.Opened, most: number) {
  const seen: Array<Records.EventRecord> = []
  yield* buffers.read(most, (records) => Effect.sync(() => seen.push(...records)))
  return seen
})

describe("records that trace prints", () => {
  it.effect("have the types that annotations name, by their sizes; bytes where there is none", () =>
    withBuffers([], (buffers, send, loaded) =>
      Effect.gen(function*() {
        const globals = yield* Globals.open(loaded)
        yield* globals.set("floods", 1)
        yield* send
        const records = yield* take(buffers, 3)
        const by = (map: string) => records.filter((record) => record.map === map)
        assert.deepStrictEqual(by("renames").map(({ cpu, value }) => [cpu, value?.type]), [
          [undefined, "struct short_event"]
        ])
        assert.deepStrictEqual(by("untyped"), [
          { map: "untyped", cpu: undefined, value: undefined, bytes: Uint8Array.of(1, 2, 3, 4, 0) }
        ])
        const [copy] = by("copies")
        assert.deepStrictEqual([copy?.cpu, copy?.value?.type], [0, "struct rename_event"])
      })))

  it.effect("are shown up to a number, and those behind it are not shown", () =>
    withBuffers(["renames"], (buffers, send) =>
      Effect.gen(function*() {
        for (let turn = 0; turn < 5; turn++) yield* send
        assert.strictEqual((yield* take(buffers, 3)).length, 3)
        const [summary] = yield* buffers.summary
        assert.strictEqual(summary?.records, 5)
      })))

  it.live("come while one waits, and reading ends when it is interrupted", () =>
    withBuffers([], (buffers, send) =>
      Effect.gen(function*() {
        const seen: Array<Records.EventRecord> = []
        const reading = yield* Effect.forkChild(
          buffers.read(Number.POSITIVE_INFINITY, (records) => Effect.sync(() => seen.push(...records)))
        )
        yield* send
        while (seen.length < 2) yield* Effect.sleep(1)
        yield* Fiber.interrupt(reading)
        yield* send
        assert.strictEqual(seen.length, 2)
      })))

  it.effect("losses are those that the program and the kernel count, and unknown where nobody does", () =>
    withBuffers([], (buffers, send, loaded) =>
      Effect.gen(function*() {
        const globals = yield* Globals.open(loaded)
        yield* globals.set("floods", 300)
        yield* send
        yield* take(buffers, 256)
        const summary = yield* buffers.summary
        assert.deepStrictEqual(summary.map(({ lost, map }) => [map, lost]), [
          ["renames", undefined],
          ["untyped", 45n],
          ["copies", 0n]
        ])
        assert.deepStrictEqual(summaryJson(3, summary.slice(1, 2)), {
          records: 3,
          maps: [{ map: "untyped", type: "ringbuf", records: 255, lost: "45", lost_by_cpu: [] }]
        })
        const text = render(summaryText(3, summary), plain)
        assert.match(text, /^3 records\nlost: 45 of map untyped\nwhat map renames could not take is not known/)
      })))

  it.effect("as text and as JSON", () =>
    withBuffers(["copies"], (buffers, send) =>
      Effect.gen(function*() {
        yield* send
        const [record] = yield* take(buffers, 1)
        if (record === undefined) return assert.fail("there is none")
        assert.match(
          render([recordText(record, time)], plain),
          /^\d\d:\d\d:07\.089 copies cpu 0 struct rename_event \{sequence = 0, process = 1, kind = LENGTH_SHORT, name = \{27, 91,/
        )
        assert.deepInclude(recordJson(record, time), {
          time: "2026-11-23T05:06:07.089Z",
          map: "copies",
          cpu: 0,
          type: "struct rename_event",
          bytes: null
        })
      })))

  it("what a terminal would act upon is never printed as it is", () => {
    const hostile = "\u001b[2J\u009b31m\u202e\u2028\u007f\ufeff"
    const record: Records.EventRecord = {
      map: `m${hostile}`,
      cpu: 1,
      value: { type: "struct s", value: { text: hostile } },
      bytes: undefined
    }
    const acts = (text: string): boolean => /[^\P{Cc}\n]|[\p{Zl}\p{Zp}\p{Bidi_Control}\ufeff]/u.test(text)
    assert.isTrue(acts(hostile))
    assert.isFalse(acts(render([recordText(record, time)], plain)))
    const json = safeText(recordJson(record, time), false)
    assert.isFalse(acts(json))
    assert.deepInclude(JSON.parse(json), { map: record.map, value: { text: hostile } })
    const bytes: Records.EventRecord = { map: "m", cpu: undefined, value: undefined, bytes: new Uint8Array(100) }
    assert.match(render([recordText(bytes, time)], plain), /^\S+ m (00 ){64}…\n$/)
  })

  it("maps that the object has not are named, and user ring buffers are not read", () => {
    const typed = Result.getOrThrow(Open.fromBytes(fixture("typed_events.bpf.o"), { path: "typed_events.bpf.o" }))
    const names = Result.map(Records.mapsOf(typed, []), (maps) => maps.map(({ name }) => name).sort())
    assert.deepStrictEqual(names, Result.succeed(["execs", "mixed", "samples"]))
    const failed = Result.getOrThrow(Result.flip(Records.mapsOf(typed, ["requests"])))
    assert.match(failed.message, /^--events requests: the object has no ring buffer or perf buffer of this name/)
    assert.strictEqual(Result.getOrThrow(Records.mapsOf(opened, ["untyped"])).length, 1)
  })
})

describe("map event_pipe", () => {
  /** The fixture of perf buffers on a simulated kernel of two CPUs, and a session of another user of it. */
  const withPipe = <A, E>(
    body: (objects: Objects.Objects, send: Effect.Effect<void, unknown>) => Effect.Effect<A, E, Kernel | Scope.Scope>
  ) =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make({ possibleCpus: 2, cpu: 1 })
      return yield* Effect.gen(function*() {
        const loaded = yield* loadFixture("perf_events.bpf.o", { kernel })
        const globals = yield* Globals.open(loaded)
        yield* globals.set("wanted_count", 1)
        yield* globals.set("wanted_length", 3)
        const prog = loaded.program("send_wanted") ?? assert.fail("it is not loaded")
        const send = Effect.asVoid(loaded.session.call({ ...testRun(0), prog }))
        return yield* body(yield* Objects.open, send)
      }).pipe(Effect.scoped, Effect.provideService(Kernel, kernel))
    })

  it.live("shows what programs send through the map of another, with its CPU and slot", () =>
    withPipe((objects, send) =>
      Effect.gen(function*() {
        const seen: Array<EventPipe.PipeItem> = []
        let ready = false
        const reading = yield* Effect.forkChild(EventPipe.read(
          objects,
          ["name", "records"],
          Effect.sync(() => void (ready = true)),
          (items) => Effect.sync(() => seen.push(...items))
        ))
        while (!ready) yield* Effect.sleep(1)
        yield* send
        while (seen.length === 0) yield* Effect.sleep(1)
        yield* Fiber.interrupt(reading)
        const [first] = seen
        if (first === undefined) return assert.fail("there is none")
        const octets = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 1, 2, 0]
        assert.deepStrictEqual(pipeJson(first), {
          type: 9,
          cpu: 1,
          index: 1,
          data: octets.map((octet) => `0x${octet.toString(16).padStart(2, "0")}`)
        })
        const text = render(pipeText(first), plain)
        assert.match(text, /^CPU 1 index 1, 20 bytes\n {2}00000000 {2}00 00 00 00 00 00 00 00 {2}01 00 /)
        const lost: EventPipe.PipeItem = { item: { _tag: "Lost", cpu: 0, count: 7n }, index: 0 }
        assert.deepStrictEqual(pipeJson(lost), { type: 2, cpu: 0, index: 0, lost: { lost: "7" } })
        assert.strictEqual(render(pipeText(lost), plain), "CPU 0 index 0, lost 7\n")
        const other: EventPipe.PipeItem = {
          item: { _tag: "Other", cpu: 0, type: 5, bytes: Uint8Array.of(5, 0) },
          index: 0
        }
        assert.deepStrictEqual(pipeJson(other), { type: 5, cpu: 0, index: 0, data: ["0x05", "0x00"] })
        assert.match(render(pipeText(other), plain), /^CPU 0 index 0, record of type 5\n/)
        const stdout = [first, lost, other].map((item) => `${JSON.stringify(pipeJson(item))}\n`).join("")
        assert.isUndefined(faultOf(["map", "event_pipe", "--json"], { status: 0, stdout }))
      })
    ))

  it.effect("says what is wrong with its words", () =>
    withPipe((objects) =>
      Effect.gen(function*() {
        const said = (...words: ReadonlyArray<string>) =>
          Effect.map(
            Effect.flip(EventPipe.read(objects, words, Effect.void, () => Effect.void)),
            (error) => error.message
          )
        assert.match(yield* said("name", "rooms"), /percpu_array, and a perf_event_array is read here/)
        assert.match(yield* said("name", "records", "cpu", "0"), /a CPU is given with the slot/)
        assert.match(yield* said("name", "records", "index", "0"), /a CPU is given with the slot/)
        assert.match(yield* said("name", "records", "cpu", "7", "index", "0"), /never has such a CPU/)
        assert.match(yield* said("name", "records", "what"), /what/)
        assert.match(yield* said("name", "nobody"), /nobody/)
      })
    ))
})
