/**
 * Maps whose elements are programs or maps: they are set by what a session names, and read as identifiers.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { BtfValue } from "../btf/BtfValue.ts"
import type { Codec } from "../btf/Codec.ts"
import { hostIsLittle } from "../services/Kernel/abi/Arena.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { MapRef, ProgRef } from "../services/Kernel/Ref.ts"
import * as Element from "./Element.ts"
import { type MapError, mistake } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { table } from "./TypedMap.ts"

/** What maps of programs and of maps have. */
interface Slots<K, R> {
  readonly name: string
  readonly ref: MapRef
  readonly info: MapInfo
  /** The identifier of what is there; `undefined` for an empty slot. */
  readonly idOf: (key: K) => Effect.Effect<number | undefined, MapError>
  /** Whether something is there. */
  readonly has: (key: K) => Effect.Effect<boolean, MapError>
  /** Puts something of the same session there. */
  readonly set: (key: K, to: R, options?: Pick<Element.SetOptions, "when">) => Effect.Effect<void, MapError>
  /** Empties a slot; answers whether something was there. */
  readonly clear: (key: K) => Effect.Effect<boolean, MapError>
  /** What there is, by identifier; empty slots are left out. */
  readonly entries: Stream.Stream<readonly [key: K, id: number], MapError>
}

/** Programs by index, for tail calls. */
export interface ProgArray extends Slots<number, ProgRef> {
  readonly length: number
  /** Opens the program that is there, for as long as the scope. `undefined` for an empty slot. Needs `CAP_SYS_ADMIN`. */
  readonly open: (index: number) => Effect.Effect<ProgRef | undefined, MapError, Scope.Scope>
}

/** Maps by key or index. */
export interface MapOfMaps<K> extends Slots<K, MapRef> {
  /**
   * Opens the map that is there, for as long as the scope: open it with what is for its kind. `undefined` for an empty slot. Needs
   * `CAP_SYS_ADMIN`.
   */
  readonly open: (key: K) => Effect.Effect<MapRef | undefined, MapError, Scope.Scope>
}

/** Identifiers, 4 bytes whatever the map says of its values. */
const ids: Codec<number> = {
  name: "identifier",
  size: 4,
  read: (view, at) => view.getUint32(at, hostIsLittle),
  encode: (id) => Result.succeed(new Uint8Array(Uint32Array.of(id).buffer))
}

/** What is opened by an identifier, until the scope closes. */
const opened = <R extends MapRef | ProgRef>(session: Session, as: R, id: number) =>
  Effect.acquireRelease(
    Effect.as(session.call({ _tag: "GetById", as, id }), as),
    () => Effect.ignore(session.call({ _tag: "Close", ref: as }))
  )

const slots = <K, R extends MapRef | ProgRef>(
  source: Element.Source<K, number>,
  fresh: () => R
): Slots<K, R> & { readonly open: (key: K) => Effect.Effect<R | undefined, MapError, Scope.Scope> } => {
  const { info, key, map, name, session } = source
  const { delete: remove, entries, get, has } = table(source)
  return {
    name,
    ref: map,
    info,
    idOf: (of) => get(of),
    has,
    clear: remove,
    entries,
    set: (of, to, options) =>
      Effect.suspend((): Effect.Effect<void, MapError> => {
        const bytes = key.encode(of)
        if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
        if (!session.exists(to)) {
          const detail = `${to._tag === "Map" ? "the map" : "the program"} that is to be put there does not exist`
          return Effect.fail(mistake("NoSuchMap", name, detail))
        }
        return session.call({
          _tag: "MapUpdate",
          map,
          key: bytes.success,
          value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to }] },
          flags: Element.setFlags(options)
        })
      }),
    open: (of) =>
      Effect.flatMap(
        get(of),
        (id): Effect.Effect<R | undefined, MapError, Scope.Scope> =>
          id === undefined ? Effect.succeed(undefined) : Effect.catch(
            opened(session, fresh(), id),
            // It was taken out and freed meanwhile.
            (error) => Element.isErrno(error, "ENOENT") ? Effect.succeed(undefined) : Effect.fail(error)
          )
      )
  }
}

const programs: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_PROG_ARRAY])
const mapArrays: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS])
const mapHashes: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_HASH_OF_MAPS])

const otherwise = ({ type }: MapInfo): string =>
  mapArrays.has(type)
    ? "arrays of maps are opened with SlotMap.arrayOfMaps"
    : mapHashes.has(type)
    ? "tables of maps are opened with SlotMap.hashOfMaps"
    : programs.has(type)
    ? "arrays of programs are opened with SlotMap.progArray"
    : "it holds no programs and no maps: see the page on maps for what opens it"

const sourceOf = <K>(
  session: Session,
  map: MapRef,
  name: string,
  info: MapInfo,
  key: Element.Half<K>
): Element.Source<K, number> => ({ session, map, name, info, key, value: { ...ids, name: `slot of ${name}` } })

/** An array of programs of a session. */
export const progArray: (
  session: Session,
  map: MapRef,
  options?: { readonly name?: string }
) => Effect.Effect<ProgArray, MapError> = Effect.fnUntraced(function*(
  session: Session,
  map: MapRef,
  options: { readonly name?: string } = {}
): Effect.fn.Return<ProgArray, MapError> {
  const info = yield* Element.infoOf(session, map, options.name, programs, otherwise)
  const name = options.name ?? info.name
  const source = sourceOf(session, map, name, info, Element.index(name, info.maxEntries))
  return { ...slots(source, () => session.fresh("Prog")), length: info.maxEntries }
})

/** An array of maps of a session. */
export const arrayOfMaps: (
  session: Session,
  map: MapRef,
  options?: { readonly name?: string }
) => Effect.Effect<MapOfMaps<number>, MapError> = Effect.fnUntraced(function*(
  session: Session,
  map: MapRef,
  options: { readonly name?: string } = {}
): Effect.fn.Return<MapOfMaps<number>, MapError> {
  const info = yield* Element.infoOf(session, map, options.name, mapArrays, otherwise)
  const name = options.name ?? info.name
  return slots(
    sourceOf(session, map, name, info, Element.index(name, info.maxEntries)),
    () => session.fresh("Map")
  )
})

/** A table of maps of a session, with the codec of its keys. */
export const hashOfMaps: <K>(
  session: Session,
  map: MapRef,
  codecs: { readonly key: Element.ElementCodec<K>; readonly name?: string }
) => Effect.Effect<MapOfMaps<K>, MapError> = Effect.fnUntraced(function*<K>(
  session: Session,
  map: MapRef,
  codecs: { readonly key: Element.ElementCodec<K>; readonly name?: string }
): Effect.fn.Return<MapOfMaps<K>, MapError> {
  const info = yield* Element.infoOf(session, map, codecs.name, mapHashes, otherwise)
  const name = codecs.name ?? info.name
  const key = yield* Effect.fromResult(Element.half(codecs.key, "keys", name, info.keySize))
  return slots(sourceOf(session, map, name, info, key), () => session.fresh("Map"))
})

/** An array of programs of a loaded object by its name. */
export const progArrayOf = (loaded: OfObject.Loaded, name: string): Effect.Effect<ProgArray, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), ({ map, session }) => progArray(session, map, { name }))

/** An array of maps of a loaded object by its name. */
export const arrayOfMapsOf = (loaded: OfObject.Loaded, name: string): Effect.Effect<MapOfMaps<number>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), ({ map, session }) => arrayOfMaps(session, map, { name }))

/** A table of maps of a loaded object by its name: keys are what their type in the object says. */
export const hashOfMapsOf = (
  loaded: OfObject.Loaded,
  name: string
): Effect.Effect<MapOfMaps<BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), ({ key, map, session }) => hashOfMaps(session, map, { key, name }))
