/**
 * Maps of loaded objects for callers of promises.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { BtfValue } from "../../btf/BtfValue.ts"
import type { SetOptions as MapSetOptions } from "../../maps/Element.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type { MapDefinition } from "../../stages/open/BpfObject.ts"
import type { Loaded } from "../Loaded.ts"
import type { LoadedMap, MapOptions, SetOptions } from "../Maps.ts"
import type { RequestOptions } from "../Resource.ts"
import { chunks, elements, iterable } from "./Iteration.ts"
import type { Lifetime } from "./Lifetime.ts"
import * as MapKinds from "./MapKinds.ts"

/** A map that a load has created. */
export interface Created {
  readonly definition: MapDefinition
  readonly ref: MapRef
  readonly type: string
}

const setOptions = ({ lock, only }: SetOptions): MapSetOptions => ({
  ...(only === undefined ? {} : { when: only === "new" ? "NoExist" : "Exist" }),
  ...(lock === undefined ? {} : { lock })
})

/** How the maps of an object are read and written. */
export const map = (
  own: Lifetime,
  loaded: LoadedObject,
  created: (name: string) => Created
): Loaded["map"] => {
  /** What is opened of them, once: a user ring buffer has one writer. */
  const maps = new Map<string, Promise<MapKinds.Abilities>>()
  return <K, V>(name: string, options: MapOptions<K, V> = {}): LoadedMap<K, V> => {
    const { definition, type } = created(name)
    // Without a conversion K and V are the types of the values themselves, by their defaults.
    const toKey = options.key ?? ((value: BtfValue) => value as K)
    const toValue = options.value ?? ((value: BtfValue) => value as V)
    // Keys and values are encoded, and so checked, whatever their types say.
    const plain = (value: K | V): BtfValue => value as BtfValue
    const opened = (): Promise<MapKinds.Abilities> => {
      const known = maps.get(name)
      if (known !== undefined) return known
      const opening = own.run(MapKinds.open(loaded, definition))
      maps.set(name, opening)
      opening.catch(() => maps.delete(name))
      return opening
    }
    const request = async <A, E>(
      body: (map: MapKinds.Abilities) => Effect.Effect<A, E>,
      signal: AbortSignal | undefined
    ): Promise<A> => {
      signal?.throwIfAborted()
      return own.run(body(await opened()), signal)
    }
    const converted = async (value: Promise<BtfValue | undefined>): Promise<V | undefined> => {
      const found = await value
      return found === undefined ? undefined : toValue(found)
    }
    const all: Stream.Stream<readonly [BtfValue, BtfValue], unknown> = Stream.unwrap(
      Effect.map(
        // What the promise is rejected with is the failure, as it is.
        Effect.callback<MapKinds.Abilities, unknown>((resume) => {
          opened().then((map) => resume(Effect.succeed(map)), (error: unknown) => resume(Effect.fail(error)))
        }),
        ({ entries }) => entries
      )
    )
    const looping = <A>(convert: (element: readonly [BtfValue, BtfValue]) => A) => ({ signal }: RequestOptions = {}) =>
      iterable(() => elements(chunks(own, `a loop over the map ${name}`, all, signal), convert))
    const entries = looping(([key, value]) => [toKey(key), toValue(value)] as const)
    return {
      name,
      type,
      get: (key, { signal } = {}) => converted(request(({ get }) => get(plain(key)), signal)),
      has: (key, { signal } = {}) => request(({ has }) => has(plain(key)), signal),
      set: (key, value, { signal, ...how } = {}) =>
        request(({ set }) => set(plain(key), plain(value), setOptions(how)), signal),
      delete: (key, { signal } = {}) => request((map) => map.delete(plain(key)), signal),
      take: (key, { signal } = {}) => converted(request(({ take }) => take(plain(key)), signal)),
      clear: ({ signal } = {}) => request(({ clear }) => clear, signal),
      entries,
      keys: looping(([key]) => toKey(key)),
      values: looping(([, value]) => toValue(value)),
      [Symbol.asyncIterator]: () => entries()[Symbol.asyncIterator](),
      push: (value, { signal } = {}) => request(({ push }) => push(plain(value)), signal),
      pop: ({ signal } = {}) => converted(request(({ pop }) => pop, signal)),
      peek: ({ signal } = {}) => converted(request(({ peek }) => peek, signal))
    }
  }
}
