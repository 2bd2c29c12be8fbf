/**
 * What the verbs of `struct_ops` do on a kernel: each needs the Kernel service, and prints nothing.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import { MapFlag, MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapInfo } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { type Functions, formatted } from "../json/FormattedValue.ts"
import type { Json } from "../json/Json.ts"
import { signature } from "../objects/Declaration.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import { UsageError } from "../Usage.ts"

/** A map that holds a struct of the kernel. */
export interface StructOpsMap {
  readonly ref: Ref.MapRef
  readonly info: MapInfo
  /** The kernel's name of the struct; `""` where its types cannot be had. */
  readonly struct: string
}

/** What the kernel calls the value that has the struct in it. */
const prefix = "bpf_struct_ops_"

/** The types that the value of a map is of: those of a module, or the kernel's own. */
const typesOf = Effect.fnUntraced(function*(objects: Objects.Objects, info: MapInfo) {
  return (yield* Objects.types(objects, info.vmlinuxBtfId ?? 0)) ?? (yield* Objects.vmlinux)
})

/** The name of the type of a map's value. */
const valueName = (btf: Btf.Btf | undefined, { vmlinuxValueTypeId = 0 }: MapInfo): string =>
  btf !== undefined && vmlinuxValueTypeId !== 0 && Btf.exists(btf, vmlinuxValueTypeId)
    ? Btf.nameOf(btf, vmlinuxValueTypeId)
    : ""

const described = Effect.fnUntraced(function*(objects: Objects.Objects, { info, ref }: Objects.OpenMap) {
  const name = valueName(yield* typesOf(objects, info), info)
  const struct = name.startsWith(prefix) ? name.slice(prefix.length) : name
  return { ref, info, struct } satisfies StructOpsMap
})

const isStructOps = ({ info }: Objects.OpenMap): boolean => info.type === MapType.BPF_MAP_TYPE_STRUCT_OPS

/** The maps that words name: `id N`, `name NAME`; all without words. They stay open where they are named. */
const find = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const [keyword] = words
  if (keyword === undefined) return (yield* Objects.maps(objects)).filter(isStructOps)
  if (keyword !== "id" && keyword !== "name") {
    return yield* new UsageError({
      argument: keyword,
      detail: "this begins no struct_ops map",
      hint: "it is id N or name NAME"
    })
  }
  const [reference, rest] = yield* Effect.fromResult(Words.reference("map", words))
  yield* Effect.fromResult(Words.nothingLeft(rest))
  const found = yield* Objects.findMaps(objects, reference)
  const structs = found.filter(isStructOps)
  if (structs.length > 0) return structs
  return yield* new UsageError({
    argument: Words.written(reference),
    detail: found.length > 0 ? "this map holds no struct of the kernel" : "no struct_ops map is called so",
    hint: "effect-bpf struct_ops list shows those that there are"
  })
})

/** `struct_ops show`: the maps of a reference, or all. */
export const show = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const found: Array<StructOpsMap> = []
  for (const map of yield* find(objects, words)) found.push(yield* described(objects, map))
  return found
})

/** What a map and its struct are, by the kernel's types. */
export interface Dumped extends StructOpsMap {
  /** The kernel's record of the map. */
  readonly record: Json
  /** The type of the map's value. */
  readonly type: string
  readonly value: Json
}

/** The programs that stand in a struct. */
const programsIn = (btf: Btf.Btf, type: number, bytes: Uint8Array): ReadonlySet<number> => {
  const ids = new Set<number>()
  formatted(btf, type, bytes, (_, __, prog) => {
    ids.add(prog)
    return ""
  })
  ids.delete(0)
  return ids
}

/** Names of programs; one that has gone meanwhile has none. */
const programNames = Effect.fnUntraced(function*(objects: Objects.Objects, ids: ReadonlySet<number>) {
  const names = new Map<number, string>()
  for (const id of ids) {
    const found = yield* Effect.orElseSucceed(Objects.findProgs(objects, { _tag: "Id", id }), () => [])
    for (const { name, ref } of found) {
      if (name !== "") names.set(id, name)
      yield* objects.session.call({ _tag: "Close", ref })
    }
  }
  return names
})

/** A function of a struct: its type, and the program in its place. */
const functionText = (names: ReadonlyMap<number, string>): Functions => (btf, proto, prog) => {
  const type = signature(btf, proto)
  if (type === undefined) return undefined
  return prog === 0 ? `${type} 0` : `${type} ${names.get(prog) ?? "<unknown_prog_name>"}/prog_id:${prog}`
}

const noTypes = (info: MapInfo): UsageError =>
  new UsageError({
    argument: `id ${info.id}`,
    detail: "the kernel's types are not known, by which structs are shown",
    hint: "the kernel shows them in /sys/kernel/btf where it was built with CONFIG_DEBUG_INFO_BTF"
  })

/** What has gone is left out of a list, and told where it was named. */
const unlessGone = <A, E extends object>(isNamed: boolean) => <R>(effect: Effect.Effect<A, E | CallError, R>) =>
  Effect.catch(
    effect,
    (error): Effect.Effect<A | undefined, E | CallError> =>
      !isNamed && Reflect.get(error, "_tag") === "KernelError" && Reflect.get(error, "errno") === "ENOENT"
        ? Effect.succeed(undefined)
        : Effect.fail(error)
  )

const dumpOne = Effect.fnUntraced(function*(objects: Objects.Objects, map: StructOpsMap, isNamed: boolean) {
  const { session } = objects
  const { info } = map
  const kernels = yield* Objects.vmlinux
  const btf = yield* typesOf(objects, info)
  if (kernels === undefined || btf === undefined) return yield* noTypes(info)
  const recordType = Btf.findOne(kernels, "bpf_map_info", Btf.BTF_KIND_STRUCT)
  const size = recordType === undefined ? 0 : Result.getOrElse(Btf.resolveSize(kernels, recordType), () => 0)
  if (recordType === undefined) return yield* noTypes(info)
  // What is listed was closed again.
  const ref = isNamed ? map.ref : Ref.map(objects.fresh())
  if (!isNamed) yield* session.call({ _tag: "GetById", as: ref, id: info.id })
  const { record } = yield* session.call({ _tag: "MapGetInfo", map: ref, record: size })
  const bytes = yield* session.call({
    _tag: "MapLookup",
    map: ref,
    key: new Uint8Array(info.keySize),
    valueSize: info.valueSize,
    flags: 0n
  })
  yield* session.call({ _tag: "Close", ref })
  const type = info.vmlinuxValueTypeId ?? 0
  const value = bytes ?? new Uint8Array(info.valueSize)
  const names = yield* programNames(objects, programsIn(btf, type, value))
  return {
    ...map,
    record: formatted(kernels, recordType, record ?? new Uint8Array(size)) ?? null,
    type: valueName(btf, info),
    value: formatted(btf, type, value, functionText(names)) ?? null
  } satisfies Dumped
})

/** `struct_ops dump`: the maps of a reference, or all, with what is in them. */
export const dump = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const isNamed = words.length > 0
  const found: Array<Dumped> = []
  for (const map of yield* show(objects, words)) {
    const dumped = yield* unlessGone<Dumped, UsageError>(isNamed)(dumpOne(objects, map, isNamed))
    if (dumped !== undefined) found.push(dumped)
  }
  return found
})

/** `struct_ops unregister`: takes structs away from the kernel that their maps have registered. */
export const unregister = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  if (words.length === 0) {
    return yield* new UsageError({
      argument: "struct_ops unregister",
      detail: "no struct_ops map is named",
      hint: "it is id N or name NAME"
    })
  }
  const maps = yield* show(objects, words)
  for (const { info, ref } of maps) {
    if ((info.flags & MapFlag.BPF_F_LINK) !== 0) {
      return yield* new UsageError({
        argument: Words.written({ _tag: "Id", id: info.id }),
        detail: `a link registers ${info.name}, not its map`,
        hint: "effect-bpf link show tells which; effect-bpf link detach id N takes it away"
      })
    }
    yield* objects.session.call({ _tag: "MapDelete", map: ref, key: new Uint8Array(info.keySize) })
  }
  return maps
})
