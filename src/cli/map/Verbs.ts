/**
 * What the verbs of `map` do on a kernel, once their words are read: each needs the Kernel service, and prints nothing.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { ElementFlag, mapTypeByName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes, Value } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as MapRefusal from "../../stages/load/MapRefusal.ts"
import { parseValue } from "../Edits.ts"
import * as NewPin from "../objects/NewPin.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { suggest, UsageError } from "../Usage.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import * as Elements from "./Elements.ts"

/** Keys and values as flags give them. */
export interface GivenJson {
  readonly key: Option.Option<string>
  readonly value: Option.Option<string>
  /** One for each CPU of a per-CPU map. */
  readonly values: Option.Option<string>
}

/** No flags. */
export const noJson: GivenJson = { key: Option.none(), value: Option.none(), values: Option.none() }

/** A map with what its elements are, and the words behind its reference. */
export interface Target {
  readonly map: Objects.OpenMap
  readonly rest: Words.Words
  readonly shape: Elements.Shape
}

/** The map at the front of the words. */
export const target = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const [reference, rest] = yield* Effect.fromResult(Words.reference("map", words))
  const map = yield* Objects.oneMap(objects, reference)
  return { map, rest, shape: yield* Elements.shapeOf(objects, map) } satisfies Target
})

/** The key among the words, or of the flag. */
const keyOf = (shape: Elements.Shape, words: Words.Words, json: GivenJson): Words.Read<Uint8Array> => {
  if (Option.isSome(json.key)) {
    return Result.map(
      Elements.encoded(shape, "key", "--key", parseValue(json.key.value)),
      (key) => [key, words]
    )
  }
  const { keySize } = shape.info
  if (words[0] === "key") return Words.bytes("key", words.slice(1), keySize)
  // Queues have no keys.
  return keySize === 0
    ? Result.succeed([new Uint8Array(), words])
    : Words.wrong("key", `none is given; it has ${keySize} bytes`, "as in key 0x01 0x00 0x00 0x00, or --key JSON")
}

/** `map show`: the maps of a reference, or all. */
export const show = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  if (words.length === 0) return { maps: yield* Objects.maps(objects), all: true }
  const [reference, rest] = yield* Effect.fromResult(Words.reference("map", words))
  yield* Effect.fromResult(Words.nothingLeft(rest))
  const maps = yield* Objects.findMaps(objects, reference)
  // Says that there is none.
  if (maps.length === 0) yield* Objects.oneMap(objects, reference)
  return { maps, all: false }
})

/** `map dump`: all elements. */
export const dump = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const { map, rest, shape } = yield* target(objects, words)
  yield* Effect.fromResult(Words.nothingLeft(rest))
  return { shape, ...(yield* Elements.readAll(objects, map, shape)) }
})

/** `map lookup`: the value of a key; `undefined` where the map has no such key. */
export const lookup = Effect.fnUntraced(
  function*(objects: Objects.Objects, words: Words.Words, json: GivenJson = noJson) {
    const { map, rest, shape } = yield* target(objects, words)
    const [key, left] = yield* Effect.fromResult(keyOf(shape, rest, json))
    yield* Effect.fromResult(Words.nothingLeft(left))
    const value = yield* Elements.read(objects, map, shape, key)
    if (value !== undefined && !(value instanceof Uint8Array)) return yield* value
    return { shape, key, value }
  }
)

/** `map getnext`: the key behind a key, or the first. */
export const getNext = Effect.fnUntraced(
  function*(objects: Objects.Objects, words: Words.Words, json: GivenJson = noJson) {
    const { map, rest, shape } = yield* target(objects, words)
    const wanted = rest.length > 0 || Option.isSome(json.key)
    const [key, left] = wanted
      ? yield* Effect.fromResult(keyOf(shape, rest, json))
      : [undefined, rest] as const
    yield* Effect.fromResult(Words.nothingLeft(left))
    const next = yield* objects.session.call({
      _tag: "MapNextKey",
      map: map.ref,
      keySize: shape.info.keySize,
      ...(key === undefined ? {} : { key })
    })
    return { shape, key, next }
  }
)

/** `map delete`: removes one element. */
export const remove = Effect.fnUntraced(
  function*(objects: Objects.Objects, words: Words.Words, json: GivenJson = noJson) {
    const { map, rest, shape } = yield* target(objects, words)
    const [key, left] = yield* Effect.fromResult(keyOf(shape, rest, json))
    yield* Effect.fromResult(Words.nothingLeft(left))
    yield* objects.session.call({ _tag: "MapDelete", map: map.ref, key })
  }
)

const flagOf: Readonly<Record<string, bigint>> = {
  any: ElementFlag.BPF_ANY,
  noexist: ElementFlag.BPF_NOEXIST,
  exist: ElementFlag.BPF_EXIST
}

/** One value for each CPU. */
const forCpus = (shape: Elements.Shape, values: ReadonlyArray<Uint8Array>): Uint8Array => {
  const bytes = new Uint8Array(Elements.valueLength(shape))
  const stride = bytes.length / shape.cpus
  for (let cpu = 0; cpu < shape.cpus; cpu++) bytes.set(values[cpu % values.length] ?? new Uint8Array(), cpu * stride)
  return bytes
}

/** A value of plain bytes: in a per-CPU map the same for each CPU. */
const plain = (shape: Elements.Shape, value: Uint8Array): Value => ({
  bytes: Elements.isPerCpu(shape.info) ? forCpus(shape, [value]) : value,
  refs: []
})

const jsonValues = (shape: Elements.Shape, text: string): Result.Result<Value, UsageError> => {
  const given = parseValue(text)
  if (!Elements.isPerCpu(shape.info)) {
    return Words.wrong("--values", "the map has one value for all CPUs", "give it with --value")
  }
  if (!Array.isArray(given) || given.length !== shape.cpus) {
    return Words.wrong("--values", `a list of ${shape.cpus} values is expected, one for each possible CPU`)
  }
  return Result.map(
    Result.all(given.map((value: unknown, cpu) => Elements.encoded(shape, "value", `--values: CPU ${cpu}`, value))),
    (values): Value => ({ bytes: forCpus(shape, values), refs: [] })
  )
}

/** The value among the words, or of the flags: bytes, or the map or program that is to be put in. */
const valueOf = Effect.fnUntraced(function*(
  objects: Objects.Objects,
  shape: Elements.Shape,
  words: Words.Words,
  json: GivenJson
) {
  if (Option.isSome(json.values)) {
    return [yield* Effect.fromResult(jsonValues(shape, json.values.value)), words] as const
  }
  if (Option.isSome(json.value)) {
    const encoded = Elements.encoded(shape, "value", "--value", parseValue(json.value.value))
    return [plain(shape, yield* Effect.fromResult(encoded)), words] as const
  }
  if (words[0] !== "value") {
    return yield* new UsageError({
      argument: "value",
      detail: "none is given",
      hint: "as in value 0x01 0x00 0x00 0x00, or --value JSON"
    })
  }
  const given = words.slice(1)
  const holds = Elements.holdsMaps(shape.info) ? "map" : Elements.holdsProgs(shape.info) ? "prog" : undefined
  if (holds === undefined) {
    const [bytes, rest] = yield* Effect.fromResult(Words.bytes("value", given, shape.info.valueSize))
    return [plain(shape, bytes), rest] as const
  }
  const [reference, rest] = yield* Effect.fromResult(Words.reference(holds, given))
  const to = holds === "map"
    ? (yield* Objects.oneMap(objects, reference)).ref
    : (yield* Objects.oneProg(objects, reference)).ref
  return [{ bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to }] } satisfies Value, rest] as const
})

/** Sets the element that the words behind a map say. */
export const setElement = Effect.fnUntraced(
  function*(objects: Objects.Objects, { map, rest, shape }: Target, json: GivenJson) {
    const [key, afterKey] = yield* Effect.fromResult(keyOf(shape, rest, json))
    const [value, afterValue] = yield* valueOf(objects, shape, afterKey, json)
    const [word, ...left] = afterValue
    const flags = word === undefined ? ElementFlag.BPF_ANY : flagOf[word]
    if (flags === undefined) {
      return yield* new UsageError({
        argument: word ?? "",
        detail: "nothing of this name ends an update",
        hint: "any (the default), noexist or exist"
      })
    }
    yield* Effect.fromResult(Words.nothingLeft(left))
    yield* objects.session.call({ _tag: "MapUpdate", map: map.ref, key, value, flags })
  }
)

/** `map update`: sets one element. */
export const update = Effect.fnUntraced(
  function*(objects: Objects.Objects, words: Words.Words, json: GivenJson = noJson) {
    yield* setElement(objects, yield* target(objects, words), json)
  }
)

/** `map pin`: gives the map a name. */
export const pin = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const [reference, rest] = yield* Effect.fromResult(Words.reference("map", words))
  yield* NewPin.pin(objects, "map", (yield* Objects.oneMap(objects, reference)).ref, rest)
})

/** `map freeze`: makes the map read-only for user space, for good. */
export const freeze = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const [reference, rest] = yield* Effect.fromResult(Words.reference("map", words))
  yield* Effect.fromResult(Words.nothingLeft(rest))
  yield* objects.session.call({ _tag: "MapFreeze", map: (yield* Objects.oneMap(objects, reference)).ref })
})

/** A map that is to be made, as the words describe it. */
export interface Wanted {
  readonly path: string
  readonly attr: MapAttributes
  readonly inner: Words.Reference | undefined
  readonly device: string | undefined
}

const typeOf = (name: string): Result.Result<number, UsageError> => {
  const type = mapTypeByName(name)
  const all = Object.keys(MapType).map((symbol) => symbol.slice("BPF_MAP_TYPE_".length).toLowerCase())
  return type === undefined
    ? Words.wrong(
      `type ${name}`,
      "there is no map type of this name",
      suggest(name, all, "map types").replace(" of the object", "")
    )
    : Result.succeed(type)
}

/** Reads the words of `map create`. */
export const wantedMap = (words: Words.Words): Result.Result<Wanted, UsageError> =>
  Result.gen(function*() {
    const [path, ...given] = words
    if (path === undefined) return yield* Words.wrong("path", "none is given: where the map is to be pinned")
    const numbers = new Map<string, number>()
    const texts = new Map<string, string>()
    let inner: Words.Reference | undefined
    let rest: Words.Words = given
    for (let keyword = rest[0]; keyword !== undefined; keyword = rest[0]) {
      const behind = rest.slice(1)
      if (numbers.has(keyword) || texts.has(keyword) || (keyword === "inner_map" && inner !== undefined)) {
        return yield* Words.wrong(keyword, "it is given twice")
      }
      switch (keyword) {
        case "key":
        case "value":
        case "entries":
        case "flags": {
          const [value, left] = yield* Words.numeric(keyword, behind)
          numbers.set(keyword, value)
          rest = left
          break
        }
        case "type":
        case "name":
        case "dev": {
          const [value, left] = yield* Words.operand(keyword, behind, keyword === "dev" ? "a device" : `a ${keyword}`)
          texts.set(keyword, value)
          rest = left
          break
        }
        case "inner_map": {
          const [value, left] = yield* Words.reference("map", behind)
          inner = value
          rest = left
          break
        }
        default:
          return yield* Words.wrong(
            keyword,
            "nothing of this name describes a map",
            "type TYPE key SIZE value SIZE entries N name NAME [flags N] [inner_map MAP] [dev NAME]"
          )
      }
    }
    const type = texts.get("type")
    if (type === undefined) return yield* Words.wrong("type", "none is given", "as in type hash")
    const name = texts.get("name")
    if (name === undefined) return yield* Words.wrong("name", "none is given", "as in name stats")
    return {
      path,
      attr: {
        name,
        type: yield* typeOf(type),
        keySize: numbers.get("key") ?? 0,
        valueSize: numbers.get("value") ?? 0,
        maxEntries: numbers.get("entries") ?? 0,
        flags: numbers.get("flags") ?? 0,
        numaNode: 0,
        ifindex: 0,
        extra: 0n
      },
      inner,
      device: texts.get("dev")
    }
  })

/** `map create`: makes a map and pins it. `deviceOf` is the number of a network device. */
export const create = Effect.fnUntraced(function*(
  objects: Objects.Objects,
  words: Words.Words,
  deviceOf: (name: string) => number | undefined
) {
  const wanted = yield* Effect.fromResult(wantedMap(words))
  const ifindex = wanted.device === undefined ? 0 : deviceOf(wanted.device)
  if (ifindex === undefined) {
    return yield* new UsageError({
      argument: `dev ${wanted.device}`,
      detail: "there is no network device of this name"
    })
  }
  const inner = wanted.inner === undefined ? undefined : yield* Objects.oneMap(objects, wanted.inner)
  const as = Ref.map(objects.fresh())
  const { session } = objects
  yield* MapRefusal.create(session, {
    _tag: "MapCreate",
    as,
    attr: { ...wanted.attr, ifindex },
    ...(inner === undefined ? {} : { inner: inner.ref })
  })
  yield* session.call({ _tag: "ObjPin", object: as, path: wanted.path })
  yield* session.commit
  return wanted
})
