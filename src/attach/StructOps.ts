/**
 * Registers structs of functions with the kernel, which then calls the programs in them: a congestion control for TCP, say.
 *
 * A load makes the map of such a struct and its programs, and tells the kernel nothing of what is in it. Setting the map's only
 * element registers a struct of `SEC(".struct_ops")`, deleting it takes it away. Those of `SEC(".struct_ops.link")` are attached
 * by links, which can be given another struct in its place.
 *
 * Source: reference page `attach`, section 16.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { MapUpdate } from "../services/Kernel/KernelCall.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import * as Ref from "../services/Kernel/Ref.ts"
import type { PreparedObject } from "../stages/load/Execute.ts"
import { type AttachError, type AttachFailure, refuse as refuseAttach, type What } from "./AttachError.ts"
import * as Link from "./Link.ts"

/** A struct that cannot be registered, before the kernel is asked. */
export class StructOpsError extends Schema.TaggedError<StructOpsError>()("StructOpsError", {
  reason: Schema.Literals([
    /** The object has no struct_ops variable of this name, or the load did not make its map. */
    "NoSuchVariable",
    /** A link attaches it. */
    "NeedsLink",
    /** A program that stands in it is not loaded. */
    "NotLoaded"
  ]),
  /** The variable. */
  name: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: ${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** What is needed of a loaded object. */
export type Loaded = Pick<PreparedObject, "object" | "session" | "structOps">

const firstKey = new Uint8Array(4)

/**
 * The call that gives the kernel a struct: it sets the only element of the struct's map to the image in the kernel's layout, in
 * which the programs stand. A struct that a link attaches is only made ready by it.
 */
export const update = (loaded: Loaded, name: string): Effect.Effect<MapUpdate, StructOpsError> =>
  Effect.suspend(() => {
    const refuse = (reason: StructOpsError["reason"], detail: string, hint?: string) =>
      Effect.fail(new StructOpsError({ reason, name, detail, ...(hint === undefined ? {} : { hint }) }))
    const { object, session, structOps } = loaded
    const position = object.maps.findIndex((map) => map.structOps !== undefined && map.name === name)
    const variable = structOps?.get(position)
    const map = session.stamp(Ref.map(position))
    if (variable === undefined || !session.exists(map)) {
      const names = object.maps.flatMap((each) => each.structOps === undefined ? [] : [each.name])
      const hint = names.length === 0 ? "the object has none" : `the object has ${names.join(", ")}`
      return refuse("NoSuchVariable", "the load made no struct_ops map of this name", hint)
    }
    for (const { to } of variable.value.refs) {
      if (to._tag === "Prog" && !session.exists(to)) {
        const program = object.programs[to.index]?.name ?? Ref.key(to)
        return refuse("NotLoaded", `its program ${program} is not loaded`, "load the program first")
      }
    }
    return Effect.succeed({ _tag: "MapUpdate", map, key: firstKey, value: variable.value, flags: 0n })
  })

/**
 * Registers a struct of `SEC(".struct_ops")` until the scope closes. The kernel refuses one that lacks functions which it needs
 * (`EINVAL`), or whose name it knows already (`EEXIST`).
 *
 * What is registered holds its map and its programs by itself: without the scope's end, such as when the process is killed, it
 * stays.
 */
export const register = Effect.fnUntraced(function*(
  loaded: Loaded,
  name: string
): Effect.fn.Return<void, StructOpsError | CallError, Scope.Scope> {
  const call = yield* update(loaded, name)
  if (loaded.structOps?.get(call.map.index)?.linked === true) {
    return yield* new StructOpsError({
      reason: "NeedsLink",
      name,
      detail: "it is a variable of SEC(\".struct_ops.link\"), which a link attaches",
      hint: "put it into SEC(\".struct_ops\") to register it for as long as it is wanted"
    })
  }
  yield* Effect.acquireRelease(loaded.session.call(call), () => Effect.ignore(unregister(loaded, name)))
})

/** Takes a registered struct away; one that is not registered is `ENOENT`. Sockets that use it keep it until they are closed. */
export const unregister = (loaded: Loaded, name: string): Effect.Effect<void, StructOpsError | CallError> =>
  Effect.flatMap(
    update(loaded, name),
    ({ map }) => loaded.session.call({ _tag: "MapDelete", map, key: firstKey })
  )

const explain = (what: What) => <E>(error: E): Exclude<E, StructOpsError> | AttachError =>
  error instanceof StructOpsError
    ? refuseAttach(what, error.reason === "NotLoaded" ? "NotLoaded" : "NoSuchProgram", error.detail, error.hint)
    : error as Exclude<E, StructOpsError>

/** Gives a struct that a link attaches its contents; they are set once and then stay as they are. */
const fill = (loaded: Loaded, call: MapUpdate): Effect.Effect<void, CallError> =>
  Effect.catch(
    loaded.session.call(call),
    (error) => error._tag === "KernelError" && error.errno === "EBUSY" ? Effect.void : Effect.fail(error)
  )

/** Whether a link attaches the struct of a map. */
const isLinked = (loaded: Loaded, { map }: MapUpdate): boolean => loaded.structOps?.get(map.index)?.linked === true

/**
 * Attaches a struct until the scope closes: by a link where it is a variable of `SEC(".struct_ops.link")`, else by its map, as
 * `register` does.
 */
export const attach = (
  loaded: Loaded,
  name: string
): Effect.Effect<Link.Link, AttachFailure, Scope.Scope> => {
  const what: What = { kind: "struct_ops", target: typeOf(loaded, name), program: name }
  return Link.attach(loaded.session, what, (build) =>
    Effect.gen(function*() {
      const call = yield* Effect.mapError(update(loaded, name), explain(what))
      if (!isLinked(loaded, call)) {
        yield* Effect.uninterruptible(Effect.andThen(
          loaded.session.call(call),
          build.before(loaded.session.call({ _tag: "MapDelete", map: call.map, key: firstKey }))
        ))
        return { means: "its map" }
      }
      yield* fill(loaded, call)
      const ref = loaded.session.fresh("Link")
      yield* build.acquire({
        _tag: "LinkCreate",
        as: ref,
        of: call.map,
        target: { _tag: "None" },
        attachType: AttachType.BPF_STRUCT_OPS,
        flags: 0
      })
      return { means: "a link", ref }
    }))
}

/** The struct of the kernel that a variable implements. */
const typeOf = ({ object }: Loaded, name: string): string =>
  object.maps.find((map) => map.structOps !== undefined && map.name === name)?.structOps?.typeName ?? ""

/**
 * Puts another struct in the place of the one that a link attaches, at once: of the same type, of the same session, and a
 * variable of `SEC(".struct_ops.link")` as well. Where `old` is given, only if that is what is attached.
 */
export const updateLink = Effect.fnUntraced(function*(
  link: Link.Link,
  loaded: Loaded,
  name: string,
  old?: string
): Effect.fn.Return<void, AttachFailure> {
  const what: What = { kind: "struct_ops", target: link.target, program: name }
  const call = yield* Effect.mapError(update(loaded, name), explain(what))
  if (!isLinked(loaded, call)) {
    return yield* refuseAttach(what, "WrongType", "no link can attach it", "put it into SEC(\".struct_ops.link\")")
  }
  const before = old === undefined ? undefined : (yield* Effect.mapError(update(loaded, old), explain(what))).map
  yield* fill(loaded, call)
  yield* link.update(call.map, before)
})
