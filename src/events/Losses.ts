/**
 * Records that programs could not hand over because a ring buffer was full.
 *
 * The kernel does not count them: `bpf_ringbuf_reserve` answers NULL and `bpf_ringbuf_output` an error, and that is all. So
 * the program counts, in a global variable that its author names for the map:
 *
 * ```c
 * __u64 events_lost;                                        // by name: MAP_lost, or lost_MAP
 * __u64 dropped __attribute__((btf_decl_tag("lost:events"))); // or by annotation, under any name
 *
 * struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
 * if (!event) {
 *   __sync_fetch_and_add(&events_lost, 1);
 *   return 0;
 * }
 * ```
 *
 * The variable is an integer of 4 or 8 bytes, or an array of such (one for each CPU, say), which are added up. With an atomic
 * addition, or a place for each CPU, the number is exact.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Btf from "../btf/Btf.ts"
import * as Kind from "../btf/BtfKind.ts"
import type { BtfValue } from "../btf/BtfValue.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import * as Globals from "../stages/load/Globals.ts"
import type { BpfObject } from "../stages/open/BpfObject.ts"

/** A count of lost records that a program keeps. */
export interface Losses {
  /** The variable's name. */
  readonly name: string
  /** Records that were lost since the object was loaded. */
  readonly read: Effect.Effect<bigint, Globals.AccessError>
}

/** What an annotation of a counter begins with. */
const prefix = "lost:"

/** The sum of all integers of a value; `undefined` where something else is among them. */
const total = (value: BtfValue): bigint | undefined => {
  if (typeof value === "bigint") return value
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : undefined
  if (!Array.isArray(value)) return undefined
  const elements: ReadonlyArray<BtfValue> = value
  let sum = 0n
  for (const each of elements) {
    const part = total(each)
    if (part === undefined) return undefined
    sum += part
  }
  return sum
}

/** Variables with an annotation for a map, by the names of both. */
const annotated = (btf: Btf.Btf): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  for (const id of Btf.idsOfKind(btf, Kind.BTF_KIND_DECL_TAG)) {
    const tag = Btf.typeOf(btf, id)
    if (tag._tag !== "DeclTag" || tag.componentIndex !== -1 || !tag.name.startsWith(prefix)) continue
    if (Btf.kindOf(btf, tag.type) !== Kind.BTF_KIND_VAR) continue
    found.set(tag.name.slice(prefix.length).trim(), Btf.nameOf(btf, tag.type))
  }
  return found
}

/** The name of the variable that counts what a map could not take; `undefined` where the object has none. */
export const variableOf = (object: BpfObject, map: string): string | undefined => {
  const { btf } = object
  if (btf === undefined) return undefined
  const named = annotated(btf).get(map)
  if (named !== undefined) return named
  return [`${map}_lost`, `lost_${map}`].find((name) => Btf.findOne(btf, name, Kind.BTF_KIND_VAR) !== undefined)
}

/** A counter in a variable of a loaded object. The variable is mapped until the scope closes. */
export const ofVariable = Effect.fnUntraced(function*(
  loaded: Globals.Loaded,
  name: string
): Effect.fn.Return<Losses, Globals.AccessError, Kernel | Scope.Scope> {
  const globals = yield* Globals.open(loaded)
  const variable = yield* Effect.fromResult(globals.variable(name))
  const read = Effect.flatMap(variable.get, (value) => {
    const sum = total(value)
    return sum === undefined
      ? Effect.fail(
        new Globals.GlobalsError({
          reason: "Value",
          name,
          detail: "a counter of lost records is an integer, or an array of integers"
        })
      )
      : Effect.succeed(sum)
  })
  yield* read
  return { name, read }
})

/** The counter that an object has for a map, by annotation or by name; `undefined` where it has none. */
export const ofMap = (
  loaded: Globals.Loaded,
  map: string
): Effect.Effect<Losses | undefined, Globals.AccessError, Kernel | Scope.Scope> => {
  const name = variableOf(loaded.object, map)
  return name === undefined ? Effect.succeed(undefined) : ofVariable(loaded, name)
}
