/**
 * Maps of loaded objects for callers of promises.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { BtfValue } from "../../btf/BtfValue.ts"
import type { MapRef } from "../../services/Kernel/Ref.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import type { MapDefinition } from "../../stages/open/BpfObject.ts"
import * as TestMap from "../../testing/TestMap.ts"
import type { Loaded } from "../Loaded.ts"
import type { LoadedMap, MapOptions } from "../Maps.ts"
import type { RequestOptions } from "../Resource.ts"
import { chunks, elements, iterable } from "./Iteration.ts"
import type { Lifetime } from "./Lifetime.ts"

/** A map that a load has created. */
export interface Created {
  readonly definition: MapDefinition
  readonly ref: MapRef
  readonly type: string
}

const same = <A>(value: BtfValue): A => value as A

export const map = (
  own: Lifetime,
  loaded: LoadedObject,
  created: (name: string) => Created
): Loaded["map"] =>
<K, V>(name: string, options: MapOptions<K, V> = {}): LoadedMap<K, V> => {
  const { definition, ref, type } = created(name)
  const toKey = options.key ?? same<K>
  const toValue = options.value ?? same<V>
  const test = TestMap.make(loaded.session, loaded.object, definition, ref, 1)
  const entries = Stream.unwrap(Effect.map(test.entries, (all) => Stream.fromIterable(all)))
  const looping = <A>(stream: Stream.Stream<A, TestMap.MapError>) => ({ signal }: RequestOptions = {}) =>
    iterable(() => elements(chunks(own, `a loop over the map ${name}`, stream, signal)))
  const loops = {
    entries: looping(Stream.map(entries, ({ key, value }) => [toKey(key), toValue(value)] as const)),
    keys: looping(Stream.map(entries, ({ key }) => toKey(key))),
    values: looping(Stream.map(entries, ({ value }) => toValue(value)))
  }
  const get = async (key: K, { signal }: RequestOptions = {}) => {
    const value = await own.run(test.get(key), signal)
    return value === undefined ? undefined : toValue(value)
  }
  const remove = (key: K): Effect.Effect<boolean, TestMap.MapError> =>
    Effect.catchTag(
      Effect.as(test.delete(key), true),
      "KernelError",
      (error) => error.errno === "ENOENT" ? Effect.succeed(false) : Effect.fail(error)
    )
  return {
    name,
    type,
    get,
    set: (key, value, { signal } = {}) => own.run(test.set(key, value), signal),
    delete: (key, { signal } = {}) => own.run(remove(key), signal),
    has: async (key, options) => await get(key, options) !== undefined,
    ...loops,
    [Symbol.asyncIterator]: () => loops.entries()[Symbol.asyncIterator](),
    push: (value, { signal } = {}) => own.run(test.set(undefined, value), signal),
    pop: async () => undefined
  }
}
