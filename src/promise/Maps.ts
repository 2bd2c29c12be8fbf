/**
 * Maps of loaded objects, by values.
 */
import type { BtfValue } from "../btf/BtfValue.ts"
import type { RequestOptions } from "./Resource.ts"

/**
 * What a map's keys and values are to you. Without it they are what their types in the object say. A function gets such a value
 * and answers yours: the `parse` of a schema, or one of your own. What it throws, a request rejects with.
 */
export interface MapOptions<K, V> {
  readonly key?: (value: BtfValue) => K
  readonly value?: (value: BtfValue) => V
}

/** How an element is set. */
export interface SetOptions extends RequestOptions {
  /** Only if the key is new (`new`, else `EEXIST`), only if it is there already (`existing`, else `ENOENT`), or anyway. */
  readonly only?: "new" | "existing"
}

/**
 * A map. Values of per-CPU maps are arrays of one for each CPU. A kind of map that cannot do something (a queue has no keys, an
 * array loses none) rejects it with the kernel's answer.
 */
export interface LoadedMap<K = BtfValue, V = BtfValue> {
  readonly name: string
  /** As bpftool names it: `hash`, `ringbuf`. */
  readonly type: string
  /** The value of a key; `undefined` where the map has none. */
  readonly get: (key: K, options?: RequestOptions) => Promise<V | undefined>
  readonly set: (key: K, value: V, options?: SetOptions) => Promise<void>
  /** Removes a key; answers whether it was there. */
  readonly delete: (key: K, options?: RequestOptions) => Promise<boolean>
  readonly has: (key: K, options?: RequestOptions) => Promise<boolean>
  /** Every element, while programs go on changing the map. Each loop begins anew. */
  readonly entries: (options?: RequestOptions) => AsyncIterable<readonly [key: K, value: V]>
  readonly keys: (options?: RequestOptions) => AsyncIterable<K>
  readonly values: (options?: RequestOptions) => AsyncIterable<V>
  /** The same as `entries()`. */
  readonly [Symbol.asyncIterator]: () => AsyncIterator<readonly [key: K, value: V]>
  /** Of queues and stacks: adds a value. */
  readonly push: (value: V, options?: RequestOptions) => Promise<void>
  /** Of queues and stacks: takes the next value out; `undefined` where there is none. */
  readonly pop: (options?: RequestOptions) => Promise<V | undefined>
}
