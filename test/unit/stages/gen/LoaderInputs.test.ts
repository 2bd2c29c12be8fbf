import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfEdit from "../../../../src/btf/BtfEdit.ts"
import { ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../../../src/services/Kernel/abi/Errno.ts"
import { Kernel } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import * as KernelRecording from "../../../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as LoaderInput from "../../../../src/stages/gen/LoaderInput.ts"
import * as LoaderInputs from "../../../../src/stages/gen/LoaderInputs.ts"
import * as LoaderProgram from "../../../../src/stages/gen/LoaderProgram.ts"
import { replay } from "../../../../src/stages/gen/Replay.ts"
import * as Execute from "../../../../src/stages/load/Execute.ts"
import * as LoadPlan from "../../../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Given from "../../../../src/stages/open/Given.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as LedgerKernel from "../../../support/LedgerKernel.ts"
import { opened } from "../Pipeline.ts"
import { recordableAll, recorded } from "./Recorded.ts"

/** The plan of an object, with the answers of the kernel that is provided. */
const planOf = (object: BpfObject) =>
  Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated))

/** The plan of an object for a kernel that nothing is known of. */
const planLater = (object: BpfObject) =>
  Effect.flatMap(
    KernelRecording.makeWith({ byteOrder: object.byteOrder }),
    ({ kernel }) => planOf(object).pipe(Effect.provideService(Kernel, kernel))
  )

const loaderOf = (object: BpfObject, options?: KernelRecording.RecordingOptions) =>
  Effect.flatMap(planLater(object), (planned) => KernelRecording.record(planned, options))

/** A replay in books that tell of every call, and what is wrong with the books. */
const inBooks = (
  loader: LoaderProgram.LoaderProgram,
  told: Partial<LoaderInputs.Filled> & Pick<Parameters<typeof replay>[2] & object, "programs">
) =>
  Effect.gen(function*() {
    const ledger = LedgerKernel.make({ byteOrder: loader.byteOrder })
    const replayed = yield* Effect.scoped(
      Effect.flatMap(ledger.kernel.session(), (session) => replay(loader, session, told))
    )
    return { ...replayed, faults: LedgerKernel.faults(ledger, true).filter((text) => text.startsWith("handle")) }
  })

/** What a loader is told by books of this machine. */
const filled = (loader: LoaderProgram.LoaderProgram, options: LedgerKernel.LedgerOptions = {}) =>
  LoaderInputs.ask(loader).pipe(
    Effect.provideService(Kernel, LedgerKernel.make({ byteOrder: loader.byteOrder, ...options }).kernel)
  )

/** The sizes and the contents that calls give to maps. */
const mapsOf = (calls: ReadonlyArray<KernelCall>): ReadonlyArray<ReadonlyArray<unknown>> =>
  calls.flatMap((call): ReadonlyArray<ReadonlyArray<unknown>> => {
    if (call._tag === "MapCreate") return [[Ref.key(call.as), call.attr.maxEntries, call.attr.valueSize]]
    return call._tag === "MapUpdate" ? [[Ref.key(call.map), [...call.value.bytes]]] : []
  })

const machines: ReadonlyArray<LedgerKernel.LedgerOptions> = [
  {},
  { pageSize: 16_384, possibleCpus: 3, kernelVersion: 0x05_0f_07 },
  { pageSize: 65_536, possibleCpus: 512, features: new Map([["BpfCookie", false]]) }
]

describe("the inputs of a loader", () => {
  it.effect.each(["externs.bpf.o", "externs.eb.o", "map_kinds.bpf.o", "map_kinds.eb.o", "events.bpf.o"])(
    "%s: filled on a machine, it makes the maps that a plan for that machine makes",
    (name) =>
      Effect.gen(function*() {
        const object = opened(name)
        const loader = yield* recorded(name)
        for (const options of machines) {
          const machine = { byteOrder: object.byteOrder, ...options }
          const known = yield* planOf(object).pipe(
            Effect.provideService(Kernel, LedgerKernel.make(machine).kernel)
          )
          const replayed = yield* inBooks(loader, yield* filled(loader, options))
          assert.deepInclude(replayed, { retval: 0, leaked: [], strayCloses: 0, faults: [] })
          assert.deepStrictEqual(mapsOf(replayed.calls), mapsOf(LoadPlan.mainCalls(known.plan)))
        }
      })
  )

  it.effect("named fault: told of another machine, it makes other maps", () =>
    Effect.gen(function*() {
      const loader = yield* recorded("map_kinds.bpf.o")
      const [one, other] = [yield* filled(loader), yield* filled(loader, machines[1])]
      const [first, second] = [yield* inBooks(loader, one), yield* inBooks(loader, other)]
      assert.notDeepEqual(mapsOf(first.calls), mapsOf(second.calls))
    }))

  it.effect("are declared: what, of which map, and where it goes", () =>
    Effect.gen(function*() {
      const { inputs, maps } = yield* recorded("map_kinds.bpf.o")
      assert.deepStrictEqual(
        inputs.flatMap((input) =>
          input._tag === "RingSize"
            ? [[maps[input.map]?.name, input.bytes, input.required]]
            : [[input._tag]]
        ),
        [["ringbuf_rounded", 5000, true], ["ringbuf_exact", 4096, false], ["user_ringbuf", 1, true], ["PossibleCpus"]]
      )
      for (const input of inputs) {
        if ("map" in input) assert.strictEqual(input.contextOffset, (maps[input.map]?.contextOffset ?? 0) + 4)
      }
      const [kconfig] = (yield* recorded("externs.bpf.o")).inputs
      if (kconfig?._tag !== "Kconfig") return assert.fail("there is no configuration")
      assert.sameMembers(kconfig.values.map(({ kind, name, weak }) => `${name} ${kind}${weak ? " weak" : ""}`), [
        "LINUX_KERNEL_VERSION int",
        "LINUX_HAS_SYSCALL_WRAPPER bool weak",
        "LINUX_HAS_BPF_COOKIE bool weak",
        "CONFIG_HZ int",
        "CONFIG_BPF_SYSCALL tristate",
        "CONFIG_NET bool",
        "CONFIG_BPF_JIT char weak",
        "CONFIG_CC_VERSION_TEXT string weak",
        "CONFIG_THERE_IS_NO_SUCH_THING int weak"
      ])
    }))

  it.effect("each that is required and empty ends the loader with EINVAL, and leaves nothing behind", () =>
    Effect.gen(function*() {
      let omitted = 0
      for (const name of ["externs.bpf.o", "map_kinds.bpf.o", "map_kinds.eb.o", "events.bpf.o", "usdt.bpf.o"]) {
        const loader = yield* recorded(name)
        const all = yield* filled(loader)
        for (const input of loader.inputs) {
          const maps = new Map(all.maps)
          if ("map" in input) maps.delete(input.map)
          const replayed = yield* inBooks(loader, { ...all, maps })
          if (!LoaderInput.isRequired(input)) {
            assert.strictEqual(replayed.retval, 0, name)
            continue
          }
          omitted++
          assert.deepInclude(replayed, {
            retval: -Errno.numbers.EINVAL,
            leaked: [],
            strayCloses: 0,
            faults: []
          })
          assert.isTrue([...replayed.maps, ...replayed.programs].every((ref) => ref === undefined), name)
        }
      }
      assert.isAtLeast(omitted, 8)
    }))

  it.effect("that are configuration of the user's are none: they are in the loader", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelRecording.make
      const relocate = Relocate.relocateWith({ kconfig: "CONFIG_HZ=1234\nCONFIG_NET=y\n" })
      const planned = yield* Effect.flatMap(relocate.run(opened("externs.bpf.o")), (object) => Plan.plan.run(object))
        .pipe(Effect.provideService(Kernel, kernel))
      const loader = yield* KernelRecording.record(planned)
      const [input] = loader.inputs
      if (input?._tag !== "Kconfig") return assert.fail("there is no configuration")
      assert.notIncludeMembers(input.values.map(({ name }) => name), ["CONFIG_HZ", "CONFIG_NET"])
      const { maps } = yield* filled(loader)
      const image = maps.get(input.map)?.initialValue ?? assert.fail("it is not filled")
      const extern = opened("externs.bpf.o").externs.find(({ name }) => name === "CONFIG_HZ")
      if (extern?._tag !== "Kconfig") return assert.fail("the fixture has changed")
      assert.strictEqual(new DataView(image.buffer).getUint32(extern.dataOffset, true), 1234)
    }))

  it.effect("which a kernel cannot fill are named", () =>
    Effect.gen(function*() {
      const externs = yield* recorded("externs.bpf.o")
      const without = (name: string) =>
        Effect.flip(
          filled(externs, { kconfig: new Map([...LedgerKernel.defaultKconfig].filter(([key]) => key !== name)) })
        )
      const missing = yield* without("CONFIG_HZ")
      assert.strictEqual(
        missing._tag === "LoaderInputError" ? `${missing.reason} ${missing.name}` : "",
        "Value CONFIG_HZ"
      )
      const wrong = yield* Effect.flip(
        filled(externs, { kconfig: new Map([...LedgerKernel.defaultKconfig, ["CONFIG_HZ", "many"]]) })
      )
      assert.match(wrong.message, /^CONFIG_HZ: the value many is no int/)
      const { kernel } = yield* KernelRecording.make
      const deferred = yield* Effect.flip(LoaderInputs.ask(externs).pipe(Effect.provideService(Kernel, kernel)))
      assert.strictEqual(deferred._tag === "LoaderInputError" ? deferred.reason : "", "Deferred")
      const cpus = yield* recorded("map_kinds.bpf.o")
      const nobody = KernelInfo.add(KernelInfo.make({ release: "", architecture: "", byteOrder: "little" }), {
        pageSize: KernelInfo.known(4096),
        possibleCpus: KernelInfo.deferred
      })
      assert.match(
        Result.getOrThrow(Result.flip(LoaderInputs.fill(cpus, nobody))).message,
        /^perf_events: the number of possible CPUs is not known/
      )
    }))

  it.effect("ask for what they need, each once", () =>
    Effect.gen(function*() {
      const needs = LoaderInputs.requirements(yield* recorded("map_kinds.bpf.o")).map(KernelInfo.describe)
      assert.deepStrictEqual(needs, ["the page size", "the number of possible CPUs"])
      assert.deepStrictEqual(LoaderInputs.requirements(yield* recorded("xdp_firewall.bpf.o")), [])
      const info = KernelInfo.make({ release: "", architecture: "", byteOrder: "little" })
      const asked = Result.getOrThrow(LoaderInputs.fill(yield* recorded("map_kinds.bpf.o"), info))
      assert.strictEqual(asked._tag === "Needs" ? asked.requirements.length : 0, 2)
    }))

  it.effect("come back from JSON as they were, and are refused where they contradict the rest", () =>
    Effect.gen(function*() {
      let inputs = 0
      for (const name of recordableAll) {
        const loader = yield* recorded(name)
        inputs += loader.inputs.length
        const json: unknown = JSON.parse(JSON.stringify(yield* Schema.encodeEffect(LoaderProgram.codec)(loader)))
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(LoaderProgram.codec)(json), loader)
      }
      assert.isAtLeast(inputs, 20)
      const json = yield* Schema.encodeEffect(LoaderProgram.codec)(yield* recorded("externs.bpf.o"))
      const [kconfig] = json.inputs
      if (kconfig?.input !== "kconfig") return assert.fail("the form has changed")
      const [value] = kconfig.values
      assert.hasAllKeys(value ?? {}, ["key", "offset", "size", "kind", "signed", "weak"])
      const refused = (change: object): string => {
        const decoded = Schema.decodeUnknownResult(LoaderProgram.codec)({ ...json, ...change })
        return Result.isFailure(decoded) ? decoded.failure.message : "taken"
      }
      assert.match(refused({ inputs: [{ ...kconfig, map: 99 }] }), /input 0 is/)
      assert.match(refused({ inputs: [{ ...kconfig, context_offset: 4 }] }), /not at its place/)
      assert.match(refused({ inputs: [{ ...kconfig, values: [{ ...value, offset: 1000 }] }] }), /not in the value/)
      assert.match(refused({ inputs: [{ ...kconfig, values: [{ ...value, size: 0 }] }] }), /not in the value/)
      assert.match(refused({ inputs: [{ ...kconfig, input: "luck" }] }), /inputs/)
      assert.match(refused({ signed: { covers: "insns" } }), /a signed loader takes no inputs/)
    }))
})

describe("sizes of maps in maps", () => {
  it.effect("are inputs of their own", () =>
    Effect.gen(function*() {
      const object = opened("map_in_map.bpf.o")
      const position = object.maps.findIndex(({ inner }) => inner !== undefined)
      const outer = object.maps[position]
      if (outer?.inner === undefined) return assert.fail("the fixture has changed")
      const ring = {
        ...outer.inner,
        attr: { ...outer.inner.attr, type: 27, keySize: 0, valueSize: 0, maxEntries: 5000 }
      }
      const holding: BpfObject = {
        ...object,
        maps: object.maps.map((map, at) => at === position ? { ...map, inner: ring, slots: [] } : map)
      }
      const loader = yield* loaderOf(holding)
      const [input] = loader.inputs
      assert.deepInclude(input, { _tag: "RingSize", template: true, bytes: 5000, required: true })
      assert.strictEqual(input?.contextOffset, loader.contextSize - 4)
      const sizes = (calls: ReadonlyArray<KernelCall>) =>
        calls.flatMap((call) => call._tag === "MapCreate" && call.attr.type === 27 ? [call.attr.maxEntries] : [])
      for (const [pageSize, size] of [[4096, 8192], [16_384, 16_384]] as const) {
        const replayed = yield* inBooks(loader, yield* filled(loader, { pageSize }))
        assert.deepStrictEqual([replayed.retval, sizes(replayed.calls)], [0, [size]])
      }
      assert.strictEqual((yield* inBooks(loader, {})).retval, -Errno.numbers.EINVAL)
    }))
})

/** Types of a kernel that has the struct of the fixtures, in another layout than theirs. */
const congestionTypes = (): Btf.Btf => {
  const editor = BtfEdit.make()
  const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED)
  const pointer = editor.addPtr(editor.addFuncProto(int, []))
  const member = (name: string, type: number, offset: number): Btf.Member => ({
    name,
    type,
    bitOffset: 8 * offset,
    bitfieldSize: 0
  })
  const names = ["init", "ssthresh", "release", "cong_avoid", "undo_cwnd"]
  const ops = editor.addStruct("tcp_congestion_ops", 64, [
    ...names.map((name, at) => member(name, pointer, 8 * at)),
    member("flags", int, 40),
    member("name", editor.addArray(int, editor.addInt("char", 1, Btf.BTF_INT_SIGNED), 16), 44)
  ])
  editor.addStruct("bpf_struct_ops_tcp_congestion_ops", 192, [member("common", int, 0), member("data", ops, 64)])
  return Result.getOrThrow(editor.finish())
}

describe("structs that programs implement", () => {
  const known = (types: Btf.Btf): KernelInfo.KernelInfo =>
    KernelInfo.add(KernelInfo.make({ release: "", architecture: "", byteOrder: "little" }), {
      vmlinuxTypes: KernelInfo.known(types),
      moduleTypes: KernelInfo.known([])
    })

  /** What a loader does for structs. */
  const structs = (calls: ReadonlyArray<KernelCall>) =>
    calls.flatMap((call) => {
      if (call._tag === "MapCreate" && call.valueType !== undefined) {
        return [[call.attr.name, call.valueType.name, call.attr.valueSize]]
      }
      if (call._tag !== "ProgLoad" || call.attr.type !== ProgType.BPF_PROG_TYPE_STRUCT_OPS) return []
      const { attachTo } = call
      return [[
        call.attr.name,
        attachTo !== undefined && "name" in attachTo && attachTo.name,
        call.attr.expectedAttachType
      ]]
    })

  it.effect.each(["struct_ops.bpf.o", "struct_ops.eb.o"])(
    "%s: their size and the positions of members are inputs, their types are looked up by name",
    (name) =>
      Effect.gen(function*() {
        const loader = yield* recorded(name)
        assert.deepStrictEqual(
          loader.inputs.map((input) => input._tag === "Member" ? input.member : input._tag),
          ["StructSize", "ssthresh", "cong_avoid", "undo_cwnd"]
        )
        const told = Result.getOrThrow(LoaderInputs.fill(loader, known(congestionTypes())))
        if (told._tag !== "Done") return assert.fail("there is nothing to ask")
        const replayed = yield* inBooks(loader, told.value)
        assert.deepInclude(replayed, { retval: 0, leaked: [], leakedModules: [], strayCloses: 0, faults: [] })
        assert.sameDeepMembers(structs(replayed.calls), [
          ["congestion", "bpf_struct_ops_tcp_congestion_ops", 192],
          ["halve_window", "tcp_congestion_ops", 1],
          ["grow_window", "tcp_congestion_ops", 3],
          ["restore_window", "tcp_congestion_ops", 4]
        ])
      })
  )

  it.effect("of a module come with the module's types, which are closed once", () =>
    Effect.gen(function*() {
      const loader = yield* recorded("struct_ops.bpf.o")
      const told = Result.getOrThrow(LoaderInputs.fill(loader, known(congestionTypes())))
      if (told._tag !== "Done") return assert.fail("there is nothing to ask")
      for (const refuse of [undefined, "MapCreate", "ProgLoad"] as const) {
        const ledger = LedgerKernel.make({ refuse: ({ _tag }) => _tag === refuse ? "EPERM" : undefined })
        const { leakedModules, leaked, retval, strayCloses } = yield* Effect.scoped(
          Effect.flatMap(ledger.kernel.session(), (session) =>
            replay(loader, session, { ...told.value, find: () => ({ module: "tcp_mine" }) }))
        )
        assert.deepStrictEqual({ leakedModules, leaked, retval, strayCloses }, {
          leakedModules: [],
          leaked: [],
          retval: refuse === undefined ? 0 : -Errno.numbers.EPERM,
          strayCloses: 0
        })
      }
    }))

  it.effect("that the kernel does not have are named, and each input that is empty ends the loader", () =>
    Effect.gen(function*() {
      const loader = yield* recorded("struct_ops.bpf.o")
      const empty = Result.getOrThrow(BtfEdit.make().finish())
      assert.match(
        Result.getOrThrow(Result.flip(LoaderInputs.fill(loader, known(empty)))).message,
        /^congestion: the kernel has no struct bpf_struct_ops_tcp_congestion_ops/
      )
      const told = Result.getOrThrow(LoaderInputs.fill(loader, known(congestionTypes())))
      if (told._tag !== "Done") return assert.fail("there is nothing to ask")
      for (const offset of told.value.words.keys()) {
        const words = new Map([...told.value.words].filter(([at]) => at !== offset))
        const replayed = yield* inBooks(loader, { words })
        assert.deepInclude(replayed, { retval: -Errno.numbers.EINVAL, leaked: [], strayCloses: 0, faults: [] })
      }
      assert.strictEqual(told.value.words.size, 4)
    }))
})

describe("programs for other programs", () => {
  const replacing = (program: Given.Given | string): BpfObject =>
    Result.getOrThrow(
      Result.flatMap(
        Edit.attachTo(opened("program_targets.bpf.o"), "replacement", { program, function: "choose" }),
        (object) => Edit.setAutoload(object, "replacement", true)
      )
    )

  it.effect("of the same object are loaded behind them, for the function by the object's types", () =>
    Effect.gen(function*() {
      const planned = yield* planLater(replacing("target"))
      const loader = yield* KernelRecording.record(planned)
      assert.deepStrictEqual(loader.inputs, [])
      const replayed = yield* inBooks(loader, {})
      assert.deepInclude(replayed, { retval: 0, leaked: [], strayCloses: 0, faults: [] })
      const targets = (calls: ReadonlyArray<KernelCall>) =>
        calls.flatMap((call) => call._tag === "ProgLoad" ? [[call.attr.name, call.attachTo]] : [])
      assert.deepStrictEqual(targets(replayed.calls), targets(LoadPlan.mainCalls(planned.plan)))
    }))

  it.effect("that are loaded already are inputs, however the object names them", () =>
    Effect.gen(function*() {
      for (const given of [Given.later, Given.id(7), Given.pin("/sys/fs/bpf/other"), Given.descriptor(5)]) {
        const loader = yield* loaderOf(replacing(given))
        const [input] = loader.inputs
        const number = loader.programs.findIndex(({ name }) => name === "replacement")
        assert.deepStrictEqual(loader.inputs, [
          { _tag: "Program", program: number, function: "choose", contextOffset: loader.contextSize - 8 }
        ])
        const info = KernelInfo.make({ release: "", architecture: "", byteOrder: "little" })
        const none = Result.getOrThrow(Result.flip(LoaderInputs.fill(loader, info)))
        assert.deepStrictEqual([none.reason, none.name], ["NotGiven", "replacement"])
        const told = LoaderInputs.fill(loader, info, { programs: new Map([[number, { fd: 9, functionId: 4 }]]) })
        assert.deepStrictEqual(Result.getOrThrow(told), {
          _tag: "Done",
          value: {
            maps: new Map(),
            words: new Map([[input?.contextOffset ?? 0, 9], [(input?.contextOffset ?? 0) + 4, 4]])
          }
        })
        assert.strictEqual((yield* inBooks(loader, {})).retval, -Errno.numbers.EINVAL)
      }
    }))

  it.effect("of which nothing says which other program they are for are for one that is given", () =>
    Effect.gen(function*() {
      const object = Result.getOrThrow(Edit.setAutoload(opened("program_targets.bpf.o"), "replacement", true))
      const none = yield* Effect.flip(loaderOf(object))
      assert.match(none.message, /replacement: .*nothing says which program that is/)
      const loader = yield* loaderOf(Edit.attachLater(object))
      assert.deepStrictEqual(loader.inputs.map((input) => input._tag === "Program" && input.function), ["choose"])
      const named = replacing("target")
      assert.strictEqual(Edit.attachLater(named), named)
    }))

  it.effect("given when the loader runs cannot be loaded without one", () =>
    Effect.gen(function*() {
      const ledger = LedgerKernel.make()
      const planned = yield* planOf(replacing(Given.later)).pipe(Effect.provideService(Kernel, ledger.kernel))
      const error = yield* Effect.flip(
        Effect.scoped(Execute.toLoaded(planned)).pipe(
          Effect.provideService(Kernel, (yield* KernelSimulated.make()).kernel)
        )
      )
      assert.deepInclude(error, { _tag: "KernelError", call: "Adopt", errno: "EBADF" })
      assert.match("hint" in error ? error.hint ?? "" : "", /given when a loader program runs/)
    }))
})

describe("what a plan leaves to the loader", () => {
  it.effect("is not taken by kernels that load at once", () =>
    Effect.gen(function*() {
      const planned = yield* planLater(opened("externs.bpf.o"))
      const { kernel } = yield* KernelSimulated.make()
      const error = yield* Effect.flip(
        Effect.scoped(Execute.toLoaded(planned)).pipe(Effect.provideService(Kernel, kernel))
      )
      assert.match(error.message, /MapUpdate/)
      assert.match(
        "hint" in error ? error.hint ?? "" : "",
        /the plan leaves .*CONFIG_HZ.* to whoever runs a loader program/
      )
    }))
})

describe("loaders that will be signed", () => {
  it.effect("take neither changes nor inputs", () =>
    Effect.gen(function*() {
      const planned = yield* planLater(opened("global_data.bpf.o"))
      const loader = yield* KernelRecording.record(planned, { signed: true })
      const open = yield* KernelRecording.record(planned)
      assert.deepStrictEqual(loader.signed, { covers: "insns_and_data" })
      const number = loader.maps.findIndex(({ initialValue }) => initialValue !== undefined)
      const size = loader.maps[number]?.initialValue?.size ?? 0
      const changes = { maps: new Map([[number, { maxEntries: 3, initialValue: new Uint8Array(size).fill(9) }]]) }
      const [plain, changed] = [yield* inBooks(loader, {}), yield* inBooks(loader, changes)]
      assert.deepStrictEqual(changed.calls, plain.calls)
      assert.deepStrictEqual(plain.calls, (yield* inBooks(open, {})).calls)
      assert.notDeepEqual((yield* inBooks(open, changes)).calls, plain.calls)
      // What it reads of its context is how much the verifier shall say, and nothing of maps.
      assert.isTrue([...plain.inputs].every((at) => at < 24))
    }))

  it.effect("of the older form compare the digest of their data, in either byte order", () =>
    Effect.gen(function*() {
      for (const name of ["xdp_firewall.bpf.o", "xdp_firewall.eb.o", "many_programs.bpf.o"]) {
        const planned = yield* planLater(opened(name))
        const loader = yield* KernelRecording.record(planned, { signed: "insns" })
        const newer = yield* KernelRecording.record(planned, { signed: true })
        const good = yield* inBooks(loader, {})
        assert.deepStrictEqual(good.calls, (yield* inBooks(newer, {})).calls)
        assert.strictEqual(good.retval, 0)
        // What was signed answers for every byte of the data: the newer form leaves that to the kernel.
        for (const at of [0, 1300, loader.data.length - 1]) {
          const changed = { ...loader, data: loader.data.with(at, (loader.data[at] ?? 0) ^ 1) }
          const { calls, retval } = yield* inBooks(changed, {})
          assert.deepStrictEqual([retval, calls], [-Errno.numbers.EINVAL, []], `${name}: byte ${at}`)
        }
      }
    }))

  it.effect("are refused with the inputs that they would need", () =>
    Effect.gen(function*() {
      const refused = (object: BpfObject) => Effect.flip(loaderOf(object, { signed: true }))
      const error = yield* refused(opened("externs.bpf.o"))
      assert.strictEqual(error._tag === "AssembleError" ? error.reason : "", "NeedsInputs")
      assert.match(error.message, /this one needs .*CONFIG_HZ/)
      assert.match(error.message, /hint: record it for a kernel profile/)
      const kinds = yield* refused(opened("map_kinds.bpf.o"))
      assert.match(kinds.message, /the page size \(the size of ringbuf_rounded\)/)
      assert.match(kinds.message, /the number of possible CPUs \(the size of perf_events\)/)
      assert.notMatch(kinds.message, /ringbuf_exact/)
      const structs = yield* refused(opened("struct_ops.bpf.o"))
      assert.match(structs.message, /the position of ssthresh in struct tcp_congestion_ops \(program halve_window\)/)
    }))
})
