import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Encode from "../../../../src/insn/Encode.ts"
import { MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../../../../src/services/Kernel/Kernel.ts"
import type {
  KernelCall,
  KernelSymbol,
  MapAttributes,
  MapCreate,
  ProgLoad
} from "../../../../src/services/Kernel/KernelCall.ts"
import { type CallError, KernelError, UnsupportedCall } from "../../../../src/services/Kernel/KernelError.ts"
import type { Requirement } from "../../../../src/services/Kernel/KernelInfo.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as KernelTraced from "../../../../src/services/Kernel/KernelTraced.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import type { LoaderProgram } from "../../../../src/stages/gen/LoaderProgram.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import { optional, required } from "../../../../src/stages/load/LoadPlan.ts"
import { plainMap } from "../../../support/LedgerKernel.ts"
import { deferred, loaderCalls, recordable, recordableAll, recorded } from "../../stages/gen/Recorded.ts"

const mapCreate = (index: number, attr: Partial<MapAttributes> = {}, more: Partial<MapCreate> = {}): MapCreate => ({
  _tag: "MapCreate",
  as: Ref.map(index),
  attr: { ...plainMap, name: `map${index}`, ...attr },
  ...more
})

const progLoad = (index: number, more: Partial<ProgLoad> = {}): ProgLoad => ({
  _tag: "ProgLoad",
  as: Ref.prog(index),
  attr: {
    name: `prog${index}`,
    type: 1,
    expectedAttachType: 0,
    license: "GPL",
    kernelVersion: 0,
    flags: 0,
    ifindex: 0
  },
  code: { insns: Encode.program(Encode.mov64Imm(0, 0), Encode.exit()), refs: [] },
  log: { level: 0 },
  ...more
})

/** Runs a body in the session of a recording, and answers with the loader. */
const recording = (
  body: (session: Session) => Effect.Effect<void, CallError, Scope.Scope>
): Effect.Effect<LoaderProgram, unknown> =>
  Effect.flatMap(
    KernelRecording.make,
    ({ kernel, loader }) => Effect.andThen(Effect.scoped(Effect.flatMap(kernel.session(), body)), loader)
  )

/** What a call is refused with, after a map 0, a program 0 and BTF 0 were made. */
const refusal = (call: KernelCall, attr: Partial<MapAttributes> = {}): Effect.Effect<CallError, unknown> =>
  Effect.flatMap(KernelRecording.make, ({ kernel }) =>
    Effect.scoped(Effect.gen(function*() {
      const session = yield* kernel.session()
      yield* session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(24) })
      yield* session.call(mapCreate(0, attr))
      yield* session.call(progLoad(0))
      return yield* Effect.flip(session.call(call) as Effect.Effect<unknown, CallError>)
    })))

const symbol: KernelSymbol = { name: "bpf_task_acquire", kind: "Func", weak: false }
const update = { _tag: "MapUpdate", map: Ref.map(0), key: new Uint8Array(4), flags: 0n } as const
const plain = { bytes: new Uint8Array(4), refs: [] }

describe("a recording", () => {
  it.effect.each(recordable)("%s: becomes a loader of the plan's maps and programs", (name) =>
    Effect.gen(function*() {
      const planned = yield* deferred(name)
      const loader = yield* KernelRecording.record(planned)
      const calls = loaderCalls(planned)
      const { maps, programs } = planned.object
      const creates = (tag: "MapCreate" | "ProgLoad") =>
        calls.flatMap((call) => call._tag === tag ? [{ name: call.attr.name, ref: call.as.index }] : [])
      // All of the object has its place; templates of maps of maps are made as well, and have none.
      assert.deepStrictEqual(
        loader.maps.map(({ maxEntries, name, published, ref }) => ({ maxEntries, name, published, ref })),
        maps.map(({ attr, autocreate, name }, ref) => ({
          maxEntries: attr.maxEntries,
          name,
          published: autocreate,
          ref
        }))
      )
      assert.deepStrictEqual(
        loader.programs.map(({ name, published, ref }) => ({ name, published, ref })),
        programs.flatMap(({ autoload, entry, name }, ref) => entry ? [{ name, published: autoload, ref }] : [])
      )
      assert.deepStrictEqual(loader.created, { maps: creates("MapCreate"), programs: creates("ProgLoad") })
      for (const call of calls) {
        if (call._tag !== "MapUpdate" || call.overridable !== true) continue
        const image = loader.maps.find(({ ref }) => ref === call.map.index)?.initialValue
        const { offset, size } = image ?? assert.fail("no initial value")
        assert.deepStrictEqual(new Uint8Array(loader.data.subarray(offset, offset + size)), call.value.bytes)
      }
    }))

  it.effect.each(recordableAll)(
    "%s: is what executing the plan on its kernel comes to",
    (name) =>
      Effect.gen(function*() {
        const planned = yield* deferred(name)
        const { maps, programs } = planned.object
        const { kernel, loader } = yield* KernelRecording.makeWith({
          byteOrder: planned.object.byteOrder,
          listed: {
            maps: maps.map(({ attr: { maxEntries }, name }, ref) => ({ name, ref, maxEntries })),
            programs: programs.flatMap(({ entry, name }, ref) => entry ? [{ name, ref }] : [])
          }
        })
        yield* Effect.scoped(Execute.toLoaded(planned)).pipe(Effect.provideService(Kernel, kernel))
        assert.deepStrictEqual(yield* KernelRecording.record(planned), yield* loader)
      })
  )

  it.effect("is the same however often it is made", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* recorded("global_data.bpf.o"), yield* recorded("global_data.bpf.o"))
    }))

  it.effect("notes the optional calls that a loader cannot make", () =>
    Effect.gen(function*() {
      const { notes } = yield* recorded("xdp_firewall.bpf.o")
      assert.strictEqual(notes.length, 1)
      assert.match(notes[0] ?? "", /left out: ProgBindMap of .*\.rodata: loaders cannot bind maps to programs/)
      assert.deepStrictEqual((yield* recorded("tracepoint.bpf.o")).notes, [])
    }))

  it.effect("ends at a required call that a loader cannot make", () =>
    Effect.gen(function*() {
      const planned = yield* deferred("xdp_firewall.bpf.o")
      const bind = { _tag: "ProgBindMap", prog: Ref.prog(0), map: Ref.map(0) } as const
      const plan = [required(mapCreate(0), "a map"), required(progLoad(0), "a program")]
      const missed = yield* KernelRecording.record({ ...planned, plan: [...plan, optional(bind, "binding")] })
      assert.strictEqual(missed.notes.length, 1)
      const error = yield* Effect.flip(
        KernelRecording.record({ ...planned, plan: [...plan, required(bind, "binding")] })
      )
      assert.instanceOf(error, UnsupportedCall)
      assert.match(error.message, /^ProgBindMap: the recording kernel cannot make this call on map0/)
    }))

  it.effect("leaves every question for later", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelRecording.make
      const requirements: ReadonlyArray<Requirement> = [
        { _tag: "PageSize" },
        { _tag: "PossibleCpus" },
        { _tag: "KernelVersion" },
        { _tag: "Kconfig", key: "CONFIG_HZ" },
        { _tag: "Feature", feature: "BpfCookie" },
        { _tag: "Symbol", name: "jiffies" },
        { _tag: "VmlinuxTypes" }
      ]
      const info = KernelInfo.add(yield* kernel.info, yield* kernel.ask(requirements))
      for (const each of requirements) assert.strictEqual(KernelInfo.factOf(info, each)._tag, "Deferred", each._tag)
    }))

  it.effect("is one session, and shows its attempts to decorators", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelRecording.make
      yield* Effect.scoped(kernel.session())
      const again = yield* Effect.flip(Effect.scoped(kernel.session()))
      assert.strictEqual(again.errno, "EBUSY")
      const other = yield* KernelRecording.make
      const traced = yield* KernelTraced.make(other.kernel)
      const planned = yield* deferred("tracepoint.bpf.o")
      yield* Effect.scoped(Execute.toLoaded(planned)).pipe(Effect.provideService(Kernel, traced.kernel))
      const attempts = yield* traced.attempts
      assert.deepStrictEqual(attempts.map(({ call }) => call), loaderCalls(planned))
    }))

  it.effect("closes what the plan closes, and hands out what the session's end would close", () =>
    Effect.gen(function*() {
      const loader = yield* recording((session) =>
        Effect.gen(function*() {
          yield* session.call(mapCreate(0))
          yield* session.call(mapCreate(1))
          yield* session.call({ _tag: "Close", ref: Ref.map(0) })
          yield* session.call(mapCreate(0, { name: "again" }))
        })
      )
      assert.deepStrictEqual(
        loader.maps.map(({ name, published, ref }) => [name, ref, published]),
        [["again", 0, true], ["map1", 1, true]]
      )
    }))
})

describe("calls that a recording refuses", () => {
  const unsupported: ReadonlyArray<readonly [string, KernelCall, RegExp, Partial<MapAttributes>?]> = [
    ["values per CPU", { ...update, value: plain }, /map0.*each CPU/, { type: MapType.BPF_MAP_TYPE_PERCPU_HASH }],
    [
      "maps for one program",
      mapCreate(1, {}, { exclusiveTo: { prog: Ref.prog(1), hash: new Uint8Array(32) } }),
      /map1.*one program alone/
    ],
    [
      "all functions of a module",
      progLoad(1, { attachTo: { ...symbol, module: "m", resolved: { owner: "m", id: 0 } } }),
      /prog1.*module m/
    ],
    ["pins", { _tag: "ObjPin", object: Ref.map(0), path: "/sys/fs/bpf/m" }, /\/sys\/fs\/bpf\/m.*pins/],
    ["removing pins", { _tag: "ObjUnpin", path: "/sys/fs/bpf/m" }, /\/sys\/fs\/bpf\/m.*pins/],
    ["taking pins", { _tag: "ObjGet", as: Ref.map(1), path: "/sys/fs/bpf/m" }, /\/sys\/fs\/bpf\/m.*pins/],
    ["bindings", { _tag: "ProgBindMap", prog: Ref.prog(0), map: Ref.map(0) }, /map0.*bind/],
    [
      "look-ups",
      { _tag: "MapLookup", map: Ref.map(0), key: new Uint8Array(4), valueSize: 4, flags: 0n },
      /map0.*no answer/
    ],
    ["walks", { _tag: "MapNextKey", map: Ref.map(0), keySize: 4 }, /map0.*no answer/],
    [
      "taking elements",
      { _tag: "MapLookupAndDelete", map: Ref.map(0), key: new Uint8Array(4), valueSize: 4, flags: 0n },
      /map0.*no answer/
    ],
    [
      "batches of elements",
      { _tag: "MapLookupBatch", map: Ref.map(0), remove: false, count: 1, keySize: 4, valueSize: 4, flags: 0n },
      /map0.*no answer/
    ],
    [
      "batches of changes",
      {
        _tag: "MapUpdateBatch",
        map: Ref.map(0),
        count: 1,
        keys: new Uint8Array(4),
        values: new Uint8Array(4),
        flags: 0n
      },
      /map0.*one at a time/
    ],
    [
      "batches of removals",
      { _tag: "MapDeleteBatch", map: Ref.map(0), count: 1, keys: new Uint8Array(4), flags: 0n },
      /map0.*one at a time/
    ],
    ["questions", { _tag: "MapGetInfo", map: Ref.map(0) }, /map0.*no answer/],
    ["lists of identifiers", { _tag: "IdNext", kind: "Map", after: 3 }, /map 3.*no answer/],
    ["identifiers", { _tag: "GetById", as: Ref.map(9), id: 7 }, /map 7.*identifiers are those of one kernel/],
    ["questions about programs", { _tag: "ProgGetInfo", prog: Ref.prog(0) }, /prog#0.*no answer/],
    [
      "memory",
      { _tag: "MapMmap", map: Ref.map(0), as: Ref.view(0), offset: 0, length: 4096, writable: false },
      /map0.*no answer/
    ],
    [
      "runs",
      {
        _tag: "ProgTestRun",
        prog: Ref.prog(0),
        dataOutSize: 0,
        contextOutSize: 0,
        repeat: 0,
        flags: 0,
        cpu: 0,
        batchSize: 0
      },
      /prog#0.*no answer/
    ]
  ]
  it.effect.each(unsupported)("%s, by name", ([, call, pattern, attr]) =>
    Effect.gen(function*() {
      const error = yield* refusal(call, attr)
      assert.instanceOf(error, UnsupportedCall)
      assert.strictEqual(error.call, call._tag)
      assert.strictEqual(error.kernel, "recording")
      assert.match(error.message, pattern)
    }))

  const invalid: ReadonlyArray<readonly [string, KernelCall, RegExp, Partial<MapAttributes>?]> = [
    [
      "a key that is too short",
      { ...update, key: new Uint8Array(3), value: plain },
      /keys of this map have 4 bytes, not 3/
    ],
    [
      "a value that is too short",
      { ...update, value: { bytes: new Uint8Array(3), refs: [] } },
      /values of this map have 4 bytes, not 3/
    ],
    ["no instructions", progLoad(1, { code: { insns: new Uint8Array(0), refs: [] } }), /whole number of instructions/],
    [
      "half an instruction",
      progLoad(1, { code: { insns: new Uint8Array(12), refs: [] } }),
      /whole number of instructions/
    ],
    [
      "half a record",
      progLoad(1, { btf: Ref.btf(0), lineInfo: { recordSize: 16, records: new Uint8Array(17) } }),
      /whole number of records/
    ],
    [
      "records of no size",
      progLoad(1, { btf: Ref.btf(0), funcInfo: { recordSize: 0, records: new Uint8Array(8) } }),
      /whole number of records/
    ],
    [
      "CO-RE records without types",
      progLoad(1, {
        code: { insns: new Uint8Array(8), refs: [], coreRelocations: { recordSize: 16, records: new Uint8Array(16) } }
      }),
      /CO-RE records only to programs with BTF/
    ],
    [
      "a map of programs that holds a number",
      { ...update, value: plain },
      /one program each/,
      { type: MapType.BPF_MAP_TYPE_PROG_ARRAY }
    ],
    [
      "a map of maps that holds a program",
      { ...update, value: { ...plain, refs: [{ at: 0, size: 4, to: Ref.prog(0) }] } },
      /one map each/,
      { type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS }
    ],
    [
      "a type of keys alone",
      mapCreate(1, {}, { types: { btf: Ref.btf(0), key: 3, value: 0 } }),
      /type of the keys without one of the values/
    ],
    ["a removal with half a key", { _tag: "MapDelete", map: Ref.map(0), key: new Uint8Array(2) }, /4 bytes, not 2/],
    ["a license in two", progLoad(1, { attr: { ...progLoad(1).attr, license: "GPL\0evil" } }), /NUL/]
  ]
  it.effect.each(invalid)("%s", ([, call, pattern, attr]) =>
    Effect.gen(function*() {
      const error = yield* refusal(call, attr)
      assert.instanceOf(error, KernelError)
      assert.strictEqual(error.errno, "EINVAL")
      assert.match(error.message, pattern)
    }))

  it.effect("descriptors of the user's", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelRecording.make
      const error = yield* Effect.scoped(Effect.flatMap(kernel.session(), (session) =>
        Effect.flip(session.adopt({ _tag: "Descriptor", kind: "Map", fd: 7 }))))
      assert.instanceOf(error, UnsupportedCall)
      assert.match(error.message, /descriptor 7/)
    }))

  it.effect.each(
    [
      ["pinned_map.bpf.o", /pins/],
      ["arena.bpf.o", /arena: it has variables/]
    ] as const
  )("%s, as a whole, for what it has that loaders cannot do", ([name, pattern]) =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(recorded(name))
      assert.match(error.message, pattern)
    }))
})
