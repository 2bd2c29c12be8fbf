/**
 * What `map` and `prog` say in JSON of the objects of each fixture is what bpftool says of the same objects, 7.1 and 7.5:
 * infos, elements with their bytes and what they are by their types, and the instructions behind the verifier.
 *
 * Differences that are meant:
 * - bpftool 7.1 does not say whether a program is orphaned, nor which map an element of a map of maps is by a key of its own;
 * - the moment of a load is counted from boot, which either side asks the clock for: a second may lie between them;
 * - bpftool 7.1 does not know some types of the running kernel; it writes their numbers;
 * - bpftool writes what it does not know of values (floating-point numbers) as text that is no JSON;
 * - bpftool 7.1 disassembles as the kernel of its time did: a cast to this CPU's memory is a plain move there;
 * - bpftool loses backslashes in lines of C;
 * - bpftool writes a number that an enum has no name for with a sign, whether or not the enum's type has one;
 * - libbpf gives up on the lines of a program in which some function has none, as that which the verifier adds to programs
 *   that throw.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { encode } from "../../src/btf/BtfEncode.ts"
import { elementJson } from "../../src/cli/json/ElementDocument.ts"
import { type Json, jsonText } from "../../src/cli/json/Json.ts"
import { mapJson, progJson } from "../../src/cli/json/ObjectsDocument.ts"
import { xlatedJson } from "../../src/cli/json/XlatedDocument.ts"
import * as MapVerbs from "../../src/cli/map/Verbs.ts"
import * as Objects from "../../src/cli/objects/Objects.ts"
import * as ProgVerbs from "../../src/cli/prog/Verbs.ts"
import type { XlatedInsn } from "../../src/cli/prog/Xlated.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { MapInfo } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as SymbolNames from "../../src/services/Kernel/live/SymbolNames.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Select from "../../src/stages/load/Select.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { check } from "../support/Documents.ts"
import { mapCreate, u32 } from "../support/LiveKernel.ts"
import { richType, richValues } from "../support/RichType.ts"
import { allFixtures, bpffs, describeWith, fixture, newBpftool, run } from "../support/Require.ts"

/** Integers as they are written, whatever their size. */
const exact = (_key: string, value: unknown, context?: { readonly source?: string }): unknown =>
  typeof value === "number" && !Number.isSafeInteger(value) ? `number ${context?.source}` : value

const parse = (text: string): unknown => JSON.parse(text, exact)

const written = (document: Json): unknown => parse(jsonText(document, false))

interface Judge {
  readonly name: "7.1" | "7.5"
  readonly tool: string
}

const judges: ReadonlyArray<Judge> = [{ name: "7.1", tool: "bpftool" }, { name: "7.5", tool: newBpftool }]

const unknownType = "(unsupport"

/** What it says; `undefined` where that is no JSON, for it has met a type that it does not know. */
const ask = ({ name, tool }: Judge, ...args: ReadonlyArray<string>): unknown => {
  const done = run(tool, ["-j", ...args])
  if (done.stdout.includes(unknownType)) return undefined
  // The schemas are of documents that the newer one prints as well.
  if (name === "7.5" && done.status === 0) check([...args, "--json"], done)
  return parse(done.stdout)
}

/** A document without these keys, at any depth. */
const without = (document: unknown, keys: ReadonlySet<string>): unknown => {
  if (Array.isArray(document)) return document.map((each) => without(each, keys))
  if (typeof document !== "object" || document === null) return document
  return Object.fromEntries(
    Object.entries(document).flatMap(([key, value]) => keys.has(key) ? [] : [[key, without(value, keys)]])
  )
}

const notIn71: ReadonlySet<string> = new Set(["orphaned", "inner_map_id"])
const isKnown = (judge: Judge): ReadonlySet<string> => judge.name === "7.1" ? notIn71 : new Set()

/** Fields of an object. */
const fieldsOf = (document: unknown): Readonly<Record<string, unknown>> =>
  typeof document === "object" && document !== null ? Object.fromEntries(Object.entries(document)) : {}

const numberOf = (document: unknown, key: string): number => Number(fieldsOf(document)[key])

/** The moment of the load may be a second off; all else is equal. */
const sameProgram = (ours: unknown, theirs: unknown, what: string): void => {
  assert.isAtMost(Math.abs(numberOf(ours, "loaded_at") - numberOf(theirs, "loaded_at")), 1, what)
  const rest = new Set(["loaded_at"])
  assert.deepStrictEqual(without(ours, rest), without(theirs, rest), what)
}

/** A document whose type is a number where the other one knows no name of it. */
const typed = (ours: unknown, type: number, theirs: unknown): unknown =>
  typeof fieldsOf(theirs)["type"] === "number" ? { ...fieldsOf(ours), type } : ours

const places: ReadonlySet<string> = new Set(["src", "file", "line_num", "line_col"])

/** An instruction in the words of Linux 6.1. */
const older = (insn: XlatedInsn): XlatedInsn => ({
  ...insn,
  text: insn.text.replace(/^(\(bf\) r\d+ = )&\(void __percpu \*\)\((r\d+)\)$/, "$1$2")
})

/** A listing without lines, or without those that have a backslash. */
const sourced = (document: unknown, bare: boolean): unknown => {
  if (bare) return without(document, places)
  return Array.isArray(document)
    ? document.map((each) => /%\[|\\|\n/.test(String(fieldsOf(each)["src"])) ? { ...fieldsOf(each), src: "" } : each)
    : document
}

/** Members of fixtures whose types are enums without a sign. */
const unsignedEnums: ReadonlySet<string> = new Set(["arg_type"])

/** A document with the numbers of such members as bpftool writes them. */
const signed = (document: unknown): unknown => {
  if (Array.isArray(document)) return document.map(signed)
  if (typeof document !== "object" || document === null) return document
  return Object.fromEntries(
    Object.entries(document).map(([key, value]) => [
      key,
      unsignedEnums.has(key) && typeof value === "number" ? value | 0 : signed(value)
    ])
  )
}

/** Types of maps whose elements take any bytes. */
const plainTypes: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_HASH,
  MapType.BPF_MAP_TYPE_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
])

/** Puts bytes into maps that take any: each kind of number, text and pointer is read from them then. */
const fill = Effect.fnUntraced(function*(objects: Objects.Objects, info: MapInfo) {
  if (!plainTypes.has(info.type) || info.file?.frozen === true) return
  const bytes = (length: number, seed: number) =>
    Array.from({ length }, (_, at) => String((seed * 37 + at * 101) % (at % 3 === 0 ? 128 : 256)))
  const isArray = info.type === MapType.BPF_MAP_TYPE_ARRAY || info.type === MapType.BPF_MAP_TYPE_PERCPU_ARRAY
  for (let n = 0; n < Math.min(3, info.maxEntries); n++) {
    const key = isArray ? [String(n), "0", "0", "0"] : bytes(info.keySize, n)
    const words = ["id", String(info.id), "key", ...key, "value", ...bytes(info.valueSize, n + 1)]
    yield* MapVerbs.update(objects, words)
  }
})

const compareMap = Effect.fnUntraced(function*(objects: Objects.Objects, info: MapInfo) {
  const id = String(info.id)
  yield* fill(objects, info)
  const { maps: [map] } = yield* MapVerbs.show(objects, ["id", id])
  if (map === undefined) return assert.fail(`map ${id} has gone`)
  const answer = yield* Effect.result(MapVerbs.dump(objects, ["id", id]))
  if (Result.isFailure(answer)) {
    // What has no keys to go through is refused, as bpftool does after an empty list.
    assert.match(answer.failure.message, /keys of maps of this type cannot be listed/, info.name)
    for (const { name, tool } of judges) {
      const { status, stdout } = run(tool, ["-j", "map", "dump", "id", id])
      assert.isTrue(status !== 0 && stdout.trim() === "[]", `map ${info.name}, bpftool ${name}`)
    }
  }
  const dumped = Result.getOrElse(answer, () => undefined)
  const elements = written(dumped?.elements.map((element) => elementJson(dumped.shape, element)) ?? [])
  const first = dumped?.elements.find(({ value }) => value instanceof Uint8Array)
  for (const judge of judges) {
    const what = `map ${info.name}, bpftool ${judge.name}`
    const shown = ask(judge, "map", "show", "id", id)
    assert.deepStrictEqual(typed(written(mapJson(map)), info.type, shown), shown, what)
    const known = isKnown(judge)
    const theirs = ask(judge, "map", "dump", "id", id)
    if (theirs === undefined) continue
    assert.deepStrictEqual(signed(without(elements, known)), theirs, what)
    if (first === undefined || info.keySize === 0) continue
    const key = ["key", ...Array.from(first.key, String)]
    const found = yield* MapVerbs.lookup(objects, ["id", id, ...key])
    assert.isDefined(found.value)
    if (found.value === undefined) continue
    const element = written(elementJson(found.shape, { key: found.key, value: found.value }))
    const said = ask(judge, "map", "lookup", "id", id, ...key)
    assert.deepStrictEqual(signed(without(element, known)), said, what)
  }
  return dumped?.elements.length ?? 0
})

const compareProgram = Effect.fnUntraced(function*(objects: Objects.Objects, id: string) {
  const { progs: [prog] } = yield* ProgVerbs.show(objects, ["id", id])
  if (prog === undefined) return assert.fail(`program ${id} has gone`)
  const bootTime = Date.now() / 1000 - Os.uptime()
  for (const judge of judges) {
    const what = `program ${prog.name}, bpftool ${judge.name}`
    const ours = without(written(progJson(prog, bootTime)), isKnown(judge))
    sameProgram(ours, ask(judge, "prog", "show", "id", id), what)
    // The older one takes one of the words only.
    const options = judge.name === "7.1" ? [[], ["opcodes"]] : [["linum", "opcodes"]]
    for (const words of options) {
      const wanted = yield* Effect.fromResult(ProgVerbs.dumpOf(["xlated", "id", id, ...words]))
      const { listing } = yield* ProgVerbs.dump(objects, wanted, { named: false, symbols: SymbolNames.read })
      assert.isAbove(listing.length, 0)
      const theirs = ask(judge, "prog", "dump", "xlated", "id", id, ...words)
      const throws = listing.some(({ text }) => text.includes("call bpf_throw#"))
      assert.deepStrictEqual(
        sourced(written(xlatedJson(judge.name === "7.1" ? listing.map(older) : listing, wanted)), throws),
        sourced(theirs, throws),
        `${what} ${words.join(" ")}`
      )
    }
  }
})

/** Loads programs of an object, all that it loads by itself unless one is named. */
const load = Effect.fnUntraced(function*(name: string, pinRoot: string, only: string | undefined) {
  const opened = yield* Effect.fromResult(Open.fromBytes(fixture(name), { path: name, pinRoot }))
  const object = only === undefined ? opened : yield* Effect.fromResult(Select.only(opened, [only]))
  return yield* Execute.toLoaded(yield* Plan.plan.run(yield* Relocate.relocate.run(object)))
})

/** The most programs of one fixture that are compared: some have a hundred of a kind. */
const maximumPrograms = 12

/** The most maps: where an object is loaded program by program, its maps come again and again. */
const maximumMaps = 60

/** How much was compared. */
interface Compared {
  maps: number
  programs: number
  elements: number
}

/** Compares all that a load brought. */
const compare = Effect.fnUntraced(function*({ object, session }: Execute.LoadedObject, compared: Compared) {
  const objects = yield* Objects.open
  for (const index of object.maps.keys()) {
    const map = Ref.map(index)
    if (!session.exists(map) || compared.maps >= maximumMaps) continue
    const info = yield* session.call({ _tag: "MapGetInfo", map, file: true })
    compared.elements += yield* compareMap(objects, info)
    compared.maps++
  }
  for (const index of object.programs.keys()) {
    const prog = Ref.prog(index)
    if (!session.exists(prog) || compared.programs >= maximumPrograms) continue
    yield* compareProgram(objects, String((yield* session.call({ _tag: "ProgGetInfo", prog })).id))
    compared.programs++
  }
})

/** Compares the objects of a fixture: as a whole, or program by program where the kernel does not take all of them. */
const compareFixture = Effect.fnUntraced(function*(name: string) {
  const pinRoot = Path.join(bpffs(), "pins")
  const compared: Compared = { maps: 0, programs: 0, elements: 0 }
  const tidy = Effect.sync(() => Fs.rmSync(pinRoot, { recursive: true, force: true }))
  const attempt = (only: string | undefined) =>
    Effect.scoped(Effect.gen(function*() {
      const loaded = yield* Effect.option(load(name, pinRoot, only))
      if (Option.isNone(loaded)) return false
      yield* compare(loaded.value, compared)
      return true
    })).pipe(Effect.ensuring(tidy))
  if (!(yield* attempt(undefined))) {
    const programs = Result.match(Open.fromBytes(fixture(name), { path: name }), {
      onFailure: () => [],
      onSuccess: ({ programs }) => programs
    })
    for (const program of programs) {
      if (program.entry && compared.programs < maximumPrograms) yield* attempt(program.name)
    }
  }
  return compared
}, (effect) => Effect.provide(effect, KernelLive.layer))

/** One needs a map of another object, with which it is to be linked; the other makes nothing unless asked for. */
const notLoaded: ReadonlySet<string> = new Set(["link_main.bpf.o", "struct_ops_shapes.bpf.o"])

describeWith(
  { kind: "oracle", tools: ["bpftool"], files: [newBpftool] },
  "objects of the kernel, beside bpftool",
  () => {
    const total: Compared = { maps: 0, programs: 0, elements: 0 }
    for (const name of allFixtures().filter((each) => each.endsWith(".bpf.o"))) {
      it.live(name, () =>
        Effect.gen(function*() {
          const compared = yield* compareFixture(name)
          assert.strictEqual(compared.programs === 0, notLoaded.has(name))
          total.maps += compared.maps
          total.programs += compared.programs
          total.elements += compared.elements
        }), 600_000)
    }

    it.live("values of a type with parts of nearly every kind", () =>
      Effect.scoped(Effect.gen(function*() {
        const objects = yield* Objects.open
        const { session } = objects
        const { btf, key, size, type } = richType()
        const [blob, map] = [Ref.btf(objects.fresh()), Ref.map(objects.fresh())]
        yield* session.call({ _tag: "BtfLoad", as: blob, bytes: encode(btf) })
        const values = richValues(size)
        yield* session.call({
          ...mapCreate(map.index, { type: MapType.BPF_MAP_TYPE_ARRAY, valueSize: size, maxEntries: values.length }),
          types: { btf: blob, key, value: type }
        })
        for (const [at, bytes] of values.entries()) {
          const value = { bytes, refs: [] }
          yield* session.call({ _tag: "MapUpdate", map, key: u32(at), value, flags: 0n })
        }
        const { id } = yield* session.call({ _tag: "MapGetInfo", map })
        const { elements, shape } = yield* MapVerbs.dump(objects, ["id", String(id)])
        for (const judge of judges) {
          const ours = written(elements.map((element) => elementJson(shape, element)))
          assert.deepStrictEqual(ours, ask(judge, "map", "dump", "id", String(id)), judge.name)
        }
      })).pipe(Effect.provide(KernelLive.layer)))

    it("that is a good many", () => {
      assert.isAtLeast(total.maps, 60)
      assert.isAtLeast(total.programs, 40)
      assert.isAtLeast(total.elements, 60)
    })
  }
)
