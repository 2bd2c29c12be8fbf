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
  /** Under the lock (`struct bpf_spin_lock`) that the value has. */
  readonly lock?: boolean
}

/**
 * A map. Keys of arrays are numbers; values of per-CPU maps are arrays of one for each CPU; maps of programs and of maps are set
 * by names in the object, and got as identifiers. What a kind of map cannot do (a queue has no keys, an array loses none) rejects
 * with a `TypedMapError`.
 */
export interface LoadedMap<K = BtfValue, V = BtfValue> {
  readonly name: string
  /** As bpftool names it: `hash`, `ringbuf`. */
  readonly type: string
  /** The value of a key; `undefined` where the map has none. Of a trie: that of the longest prefix which covers the key. */
  readonly get: (key: K, options?: RequestOptions) => Promise<V | undefined>
  /** Whether there is one. A bloom filter may say so of what was never added. */
  readonly has: (key: K, options?: RequestOptions) => Promise<boolean>
  readonly set: (key: K, value: V, options?: SetOptions) => Promise<void>
  /** Removes a key; answers whether it was there. */
  readonly delete: (key: K, options?: RequestOptions) => Promise<boolean>
  /** Removes a key and answers its value; `undefined` where the map has none. */
  readonly take: (key: K, options?: RequestOptions) => Promise<V | undefined>
  /** Removes all elements that there are. */
  readonly clear: (options?: RequestOptions) => Promise<void>
  /**
   * All elements, while programs go on changing the map: those that are there all the time come exactly once. Each loop begins
   * anew.
   */
  readonly entries: (options?: RequestOptions) => AsyncIterable<readonly [key: K, value: V]>
  readonly keys: (options?: RequestOptions) => AsyncIterable<K>
  readonly values: (options?: RequestOptions) => AsyncIterable<V>
  /** The same as `entries()`. */
  readonly [Symbol.asyncIterator]: () => AsyncIterator<readonly [key: K, value: V]>
  /** Adds a value to a queue, a stack or a bloom filter; hands a record to programs by a user ring buffer, when it has room. */
  readonly push: (value: V, options?: RequestOptions) => Promise<void>
  /** Takes the next value of a queue or stack; `undefined` where there is none. */
  readonly pop: (options?: RequestOptions) => Promise<V | undefined>
  /** The next value, which stays. */
  readonly peek: (options?: RequestOptions) => Promise<V | undefined>
}
