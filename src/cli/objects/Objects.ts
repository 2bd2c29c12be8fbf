/**
 * The objects of a kernel: finding those that a reference names, and all of a kind.
 *
 * What is listed may have gone when it is opened, and its network device when it is looked at: it is left out then, as though
 * it had never been listed.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import { BTF_KIND_FUNC } from "../../btf/BtfKind.ts"
import { mapTypeName, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { LinkInfo } from "../../services/Kernel/calls/LinkCalls.ts"
import { Kernel, type Session } from "../../services/Kernel/Kernel.ts"
import type { BtfInfo, MapInfo, ProgInfo } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { UsageError } from "../Usage.ts"
import { type Reference, written } from "./Words.ts"

/** A map that is open. */
export interface OpenMap {
  readonly ref: Ref.MapRef
  readonly info: MapInfo
}

/** A program that is open. */
export interface OpenProg {
  readonly ref: Ref.ProgRef
  readonly info: ProgInfo
  /** The whole name, which the kernel keeps 15 bytes of. */
  readonly name: string
}

/** A session, with what has been read in it. */
export interface Objects {
  readonly session: Session
  /** A number that no ref of the session has. */
  readonly fresh: () => number
  /** Types by the identifier of their object; `undefined` where they cannot be had. */
  readonly types: Map<number, Btf.Btf | undefined>
}

/** Opens a session on the kernel. */
export const open = Effect.gen(function*() {
  const session = yield* (yield* Kernel).session()
  let next = 0
  return { session, fresh: () => next++, types: new Map() } satisfies Objects
})

/** Refs of other kinds, or of the session's own load, begin far below. */
const firstBeside = 1 << 24

/** The objects of a session that is open already, and has refs of its own. */
export const inSession = (session: Session): Objects => {
  let next = firstBeside
  return { session, fresh: () => next++, types: new Map() }
}

/** Whether a failure says that an object has gone, or the network device that it was for: then nothing is told of it. */
const hasGone = (error: CallError): boolean =>
  error._tag === "KernelError" && (error.errno === "ENOENT" || error.errno === "ENODEV")

/** What there is of an object that may go at any time. */
const unlessGone = <A, R>(effect: Effect.Effect<A, CallError, R>): Effect.Effect<A | undefined, CallError, R> =>
  Effect.catch(effect, (error) => hasGone(error) ? Effect.succeed(undefined) : Effect.fail(error))

const refOf = { Map: Ref.map, Prog: Ref.prog, Btf: Ref.btf, Link: Ref.link } as const

/** Looks at each object of a kind in turn, and closes those of which nothing is kept. */
const each = <K extends keyof typeof refOf, A extends object>(
  objects: Objects,
  kind: K,
  look: (ref: ReturnType<(typeof refOf)[K]>) => Effect.Effect<A | undefined, CallError>,
  keep: boolean
): Effect.Effect<ReadonlyArray<A>, CallError> =>
  Effect.gen(function*() {
    const { session } = objects
    const found: Array<A> = []
    for (let id = yield* session.call({ _tag: "IdNext", kind, after: 0 }); id !== undefined;) {
      const ref = refOf[kind](objects.fresh()) as ReturnType<(typeof refOf)[K]>
      const opened = yield* unlessGone(Effect.as(session.call({ _tag: "GetById", as: ref, id }), true))
      if (opened === true) {
        const seen = yield* unlessGone(look(ref))
        if (seen !== undefined) found.push(seen)
        if (seen === undefined || !keep) yield* session.call({ _tag: "Close", ref })
      }
      id = yield* session.call({ _tag: "IdNext", kind, after: id })
    }
    return found
  })

/** What the kernel says of a map that is open. */
const openedMap = (objects: Objects, ref: Ref.MapRef): Effect.Effect<OpenMap, CallError> =>
  Effect.map(objects.session.call({ _tag: "MapGetInfo", map: ref, file: true }), (info) => ({ ref, info }))

/** The most bytes of a name that the kernel keeps. */
const keptName = 15

/** The name of a program's first function, of which the program's own is the beginning. */
export const functionName = (info: ProgInfo, btf: Btf.Btf | undefined): string | undefined => {
  const { recordSize, records } = info.funcInfo
  if (btf === undefined || records.length < 8 || recordSize < 8) return undefined
  const type = new DataView(records.buffer, records.byteOffset, records.byteLength).getUint32(4, true)
  return Btf.exists(btf, type) && Btf.kindOf(btf, type) === BTF_KIND_FUNC ? Btf.nameOf(btf, type) : undefined
}

/** What is asked of a program beyond what is always told. */
export interface Asked {
  /** Its instructions behind the verifier. */
  readonly instructions?: boolean
  /** What it was compiled to. */
  readonly machineCode?: boolean
}

/** What the kernel says of a program that is open. */
const openedProg = Effect.fnUntraced(function*(objects: Objects, ref: Ref.ProgRef, asked: Asked = {}) {
  const info = yield* objects.session.call({ _tag: "ProgGetInfo", prog: ref, file: true, ...asked })
  const name = info.name.length < keptName
    ? info.name
    : functionName(info, yield* types(objects, info.btfId)) ?? info.name
  return { ref, info, name } satisfies OpenProg
})

/** The blob of a BTF object and what it is; `undefined` where it has gone or may not be read. */
const blob = Effect.fnUntraced(function*({ fresh, session }: Objects, id: number) {
  const btf = Ref.btf(fresh())
  yield* session.call({ _tag: "GetById", as: btf, id })
  const info: BtfInfo = yield* session.call({ _tag: "BtfGetInfo", btf, bytes: true })
  yield* session.call({ _tag: "Close", ref: btf })
  return info
})

/** The types of the kernel itself, where they are known. */
export const vmlinux = Effect.gen(function*() {
  const kernel = yield* Kernel
  const answers = yield* Effect.orElseSucceed(
    kernel.ask([{ _tag: "VmlinuxTypes" }]),
    (): { readonly vmlinuxTypes?: undefined } => ({})
  )
  return answers.vmlinuxTypes?._tag === "Known" ? answers.vmlinuxTypes.value : undefined
})

/** Types by the identifier of their object; `undefined` where there are none, or they may not be read. */
export const types = Effect.fnUntraced(function*(objects: Objects, id: number) {
  if (id === 0) return undefined
  if (objects.types.has(id)) return objects.types.get(id)
  const info = yield* Effect.orElseSucceed(blob(objects, id), () => undefined)
  // What is not the kernel's own stands by itself; a module's types are split over those of vmlinux.
  const base = info?.isKernels === true && info.name !== "vmlinux" ? yield* vmlinux : undefined
  const parsed = info?.bytes === undefined
    ? undefined
    : Result.getOrUndefined(Btf.parse(info.bytes, base === undefined ? {} : { base }))
  objects.types.set(id, parsed)
  return parsed
})

/** All maps, closed again. */
export const maps = (objects: Objects): Effect.Effect<ReadonlyArray<OpenMap>, CallError> =>
  each(objects, "Map", (ref) => openedMap(objects, ref), false)

/** All programs, closed again. */
export const progs = Effect.fnUntraced(function*(objects: Objects) {
  const context = yield* Effect.context<Kernel>()
  return yield* each(objects, "Prog", (ref) => Effect.provideContext(openedProg(objects, ref), context), false)
})

/** Everything in the kernel that is types, closed again. */
export const btfs = (objects: Objects): Effect.Effect<ReadonlyArray<BtfInfo>, CallError> =>
  each(objects, "Btf", (btf) => objects.session.call({ _tag: "BtfGetInfo", btf }), false)

/** What the kernel says of all links, closed again. */
export const links = (objects: Objects): Effect.Effect<ReadonlyArray<LinkInfo>, CallError> =>
  each(objects, "Link", (link) => objects.session.call({ _tag: "LinkGetInfo", link }), false)

/** Whose types an object of BTF has. */
export interface TypeUsers {
  readonly progs: ReadonlyArray<number>
  readonly maps: ReadonlyArray<number>
}

/** Programs and maps by the identifier of the object that their types are of, in rising order. */
export const typeUsers = Effect.fnUntraced(function*(objects: Objects) {
  const { session } = objects
  const users = new Map<number, { readonly progs: Array<number>; readonly maps: Array<number> }>()
  const add = (kind: keyof TypeUsers, { btfId, id }: { readonly id: number; readonly btfId: number }): void => {
    if (btfId === 0) return
    const of = users.get(btfId) ?? { progs: [], maps: [] }
    of[kind].push(id)
    users.set(btfId, of)
  }
  const progs = yield* each(objects, "Prog", (prog) => session.call({ _tag: "ProgGetInfo", prog }), false)
  const maps = yield* each(objects, "Map", (map) => session.call({ _tag: "MapGetInfo", map }), false)
  for (const prog of progs) add("progs", prog)
  for (const map of maps) add("maps", map)
  const found: ReadonlyMap<number, TypeUsers> = users
  return found
})

const nouns = { Map: "map", Prog: "program", Link: "link" } as const

/** Opens what is pinned at a path; wrong usage where that is something else. */
export const openPin = (
  { session }: Pick<Objects, "session">,
  as: Ref.MapRef | Ref.ProgRef | Ref.LinkRef,
  path: string
): Effect.Effect<void, CallError | UsageError> =>
  Effect.catchIf(
    Effect.asVoid(session.call({ _tag: "ObjGet", as, path })),
    (error) => error._tag === "RefError" && error.reason === "WrongKind",
    () =>
      Effect.fail(new UsageError({ argument: `pinned ${path}`, detail: `what is pinned here is no ${nouns[as._tag]}` }))
  )

/** The maps that a reference names: none, one or several; they stay open. */
export const findMaps = (
  objects: Objects,
  reference: Reference
): Effect.Effect<ReadonlyArray<OpenMap>, CallError | UsageError> =>
  Effect.gen(function*() {
    const { fresh, session } = objects
    switch (reference._tag) {
      case "Id": {
        const ref = Ref.map(fresh())
        yield* session.call({ _tag: "GetById", as: ref, id: reference.id })
        return [yield* openedMap(objects, ref)]
      }
      case "Pinned": {
        const ref = Ref.map(fresh())
        yield* openPin(objects, ref, reference.path)
        return [yield* openedMap(objects, ref)]
      }
      case "Name": {
        const kept = reference.name.slice(0, keptName)
        return yield* each(
          objects,
          "Map",
          (ref) => Effect.map(openedMap(objects, ref), (map) => map.info.name === kept ? map : undefined),
          true
        )
      }
      case "Tag":
        return []
    }
  })

/** The programs that a reference names: none, one or several; they stay open. */
export const findProgs = Effect.fnUntraced(
  function*(objects: Objects, reference: Reference, asked: Asked = {}) {
    const { fresh, session } = objects
    const context = yield* Effect.context<Kernel>()
    const described = (ref: Ref.ProgRef) => Effect.provideContext(openedProg(objects, ref, asked), context)
    const one = Effect.fnUntraced(function*(how: "Id" | "Pinned") {
      const ref = Ref.prog(fresh())
      if (how === "Id" && reference._tag === "Id") {
        yield* session.call({ _tag: "GetById", as: ref, id: reference.id })
      } else if (reference._tag === "Pinned") {
        yield* openPin(objects, ref, reference.path)
      }
      return [yield* described(ref)]
    })
    if (reference._tag === "Id" || reference._tag === "Pinned") return yield* one(reference._tag)
    const wanted = (prog: OpenProg): boolean =>
      reference._tag === "Tag"
        ? prog.info.tag === reference.tag
        : prog.name === reference.name || prog.info.name === reference.name
    return yield* each(
      objects,
      "Prog",
      (ref) => Effect.map(described(ref), (prog) => wanted(prog) ? prog : undefined),
      true
    )
  }
)

/** The most candidates that are listed. */
const listed = 8

/** The only one of these, or wrong usage that lists the candidates. */
const only = <A>(
  kind: "map" | "program",
  reference: Reference,
  found: ReadonlyArray<A>,
  describe: (each: A) => string
): Effect.Effect<A, UsageError> => {
  const [first] = found
  if (first !== undefined && found.length === 1) return Effect.succeed(first)
  const argument = written(reference)
  if (first === undefined) {
    const noun = kind === "map" ? "map" : "prog"
    return Effect.fail(
      new UsageError({
        argument,
        detail: `no ${kind} is called so`,
        hint: `effect-bpf ${noun} show lists those that there are`
      })
    )
  }
  const more = found.length > listed ? `, … (${found.length} in all)` : ""
  return Effect.fail(
    new UsageError({
      argument,
      detail: `${found.length} ${kind}s are called so`,
      hint: `choose one: ${found.slice(0, listed).map(describe).join(", ")}${more}`
    })
  )
}

/** The only map of a reference. */
export const oneMap = Effect.fnUntraced(function*(objects: Objects, reference: Reference) {
  const found = yield* findMaps(objects, reference)
  return yield* only("map", reference, found, ({ info }) => `id ${info.id} (${mapTypeName(info.type)} ${info.name})`)
})

/** The only program of a reference. */
export const oneProg = Effect.fnUntraced(
  function*(objects: Objects, reference: Reference, asked: Asked = {}) {
    const found = yield* findProgs(objects, reference, asked)
    return yield* only(
      "program",
      reference,
      found,
      ({ info, name }) => `id ${info.id} (${progTypeName(info.type)} ${name}, tag ${info.tag})`
    )
  }
)
