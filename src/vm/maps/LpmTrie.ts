/**
 * Longest-prefix-match tries: `LPM_TRIE`. A key is a prefix length in bits (32 bits, little-endian) and the data.
 *
 * A binary trie without chains: every node holds a prefix, and a node that holds none of the map's has two children.
 * Such a trie is determined by its prefixes, so walking it in post-order (longer prefixes before the shorter ones that
 * contain them, 0 before 1) gives the kernel's order of keys. Data bits behind the prefix are kept as they were given.
 *
 * Semantics: `kernel/bpf/lpm_trie.c`. Elements are numbered by node; an update replaces the node, as in the kernel.
 */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import { BPF_EXIST, BPF_NOEXIST, copyBytes, type MapShape, readU32, roundUp8 } from "./MapModel.ts"
import * as Slabs from "./Slabs.ts"

/** Bytes of a key before its data. */
const prefixBytes = 4

/** The elements of a trie. */
export interface TrieStore {
  readonly _tag: "Trie"
  readonly shape: MapShape
  readonly dataBytes: number
  readonly maxPrefix: number
  /** Elements that the map may have: its maximum, or what memory allows if that is less. */
  readonly places: number
  /** Per node: value; room for a prefix length and the data. */
  readonly values: Slabs.Slabs
  readonly keys: Slabs.Slabs
  root: number
  count: number
  /** Per node: children (-1: none), prefix length, whether it is an element. */
  zero: Int32Array
  one: Int32Array
  prefix: Uint16Array
  element: Uint8Array
  free: Array<number>
  used: number
}

const initialNodes = 16

/** An empty trie of this shape; it refuses elements beyond `places`. */
export const make = (shape: MapShape, places: number): TrieStore => {
  const { keySize, maxEntries } = shape.attr
  const dataBytes = keySize - prefixBytes
  // Fewer inner nodes than elements, and one more for an update.
  const nodes = Math.min(2 * Math.min(places, maxEntries) + 1, 2 ** 31 - 1)
  return {
    _tag: "Trie",
    shape,
    dataBytes,
    maxPrefix: dataBytes * 8,
    places,
    values: Slabs.make(shape.valueStride, nodes),
    keys: Slabs.make(roundUp8(keySize), nodes),
    root: -1,
    count: 0,
    zero: new Int32Array(initialNodes),
    one: new Int32Array(initialNodes),
    prefix: new Uint16Array(initialNodes),
    element: new Uint8Array(initialNodes),
    free: [],
    used: 0
  }
}

const bitOf = (data: Uint8Array, at: number, bit: number): number =>
  ((data[at + (bit >> 3)] ?? 0) >> (7 - (bit & 7))) & 1

const childOf = (trie: TrieStore, node: number, bit: number): number =>
  (bit === 0 ? trie.zero[node] : trie.one[node]) ?? -1

const setChild = (trie: TrieStore, node: number, bit: number, child: number): void => {
  if (bit === 0) trie.zero[node] = child
  else trie.one[node] = child
}

const dataOf = (trie: TrieStore, node: number): number => Slabs.offsetOf(trie.keys, node) + prefixBytes

/** How many leading bits a node's prefix and the data at `at` share, at most the length of either prefix. */
const sharedBits = (trie: TrieStore, node: number, key: Uint8Array, at: number, prefix: number): number => {
  const limit = Math.min(trie.prefix[node] ?? 0, prefix)
  const slab = Slabs.slabOf(trie.keys, node)
  const from = dataOf(trie, node)
  for (let bit = 0; bit < limit; bit += 8) {
    const difference = (slab[from + (bit >> 3)] ?? 0) ^ (key[at + (bit >> 3)] ?? 0)
    if (difference !== 0) return Math.min(limit, bit + Math.clz32(difference) - 24)
  }
  return limit
}

/** The element with the longest prefix that the key at `at` has, or -1. */
export const find = (trie: TrieStore, key: Uint8Array, at: number): number => {
  const prefix = readU32(key, at)
  if (prefix > trie.maxPrefix) return -1
  const data = at + prefixBytes
  let found = -1
  for (let node = trie.root; node >= 0;) {
    const length = trie.prefix[node] ?? 0
    if (sharedBits(trie, node, key, data, prefix) < length) break
    if (trie.element[node] === 1) found = node
    if (length === trie.maxPrefix) break
    node = childOf(trie, node, bitOf(key, data, length))
  }
  return found
}

/** The value of the longest prefix that a key has, in memory of its own; or `-ENOENT`. */
export const lookup = (trie: TrieStore, key: Uint8Array): Uint8Array | number => {
  const node = find(trie, key, 0)
  if (node < 0) return -numbers.ENOENT
  const start = Slabs.offsetOf(trie.values, node)
  return Slabs.slabOf(trie.values, node).slice(start, start + trie.shape.attr.valueSize)
}

const newNode = (trie: TrieStore): number => {
  const freed = trie.free.pop()
  if (freed !== undefined) return freed
  if (trie.used === trie.zero.length) {
    const size = trie.used * 2
    const longer = <A extends Int32Array | Uint8Array | Uint16Array>(to: A, from: A): A => (to.set(from), to)
    trie.zero = longer(new Int32Array(size), trie.zero)
    trie.one = longer(new Int32Array(size), trie.one)
    trie.prefix = longer(new Uint16Array(size), trie.prefix)
    trie.element = longer(new Uint8Array(size), trie.element)
  }
  return trie.used++
}

/** Makes a node of a prefix of the key at `at`, without children. */
const makeNode = (trie: TrieStore, key: Uint8Array, at: number, prefix: number, isElement: boolean): number => {
  const node = newNode(trie)
  const slab = Slabs.slabOf(trie.keys, node)
  copyBytes(key, at + prefixBytes, slab, dataOf(trie, node), trie.dataBytes)
  trie.zero[node] = -1
  trie.one[node] = -1
  trie.prefix[node] = prefix
  trie.element[node] = isElement ? 1 : 0
  return node
}

/** The path from the root to where a key belongs: the last node shares `shared` bits with it. */
interface Place {
  parent: number
  grandparent: number
  node: number
  shared: number
}

const descend = (trie: TrieStore, key: Uint8Array, at: number, prefix: number): Place => {
  const place: Place = { grandparent: -1, parent: -1, node: trie.root, shared: 0 }
  while (place.node >= 0) {
    const length = trie.prefix[place.node] ?? 0
    place.shared = sharedBits(trie, place.node, key, at + prefixBytes, prefix)
    if (place.shared !== length || length === prefix) break
    place.grandparent = place.parent
    place.parent = place.node
    place.node = childOf(trie, place.node, bitOf(key, at + prefixBytes, length))
  }
  return place
}

/** Lets `node` stand where `old` stands below `parent`. */
const replaceChild = (trie: TrieStore, parent: number, old: number, node: number): void => {
  if (parent < 0) trie.root = node
  else setChild(trie, parent, trie.zero[parent] === old ? 0 : 1, node)
}

/** Sets the value of a prefix. Answers 0 or a negative error number. */
export const update = (
  trie: TrieStore,
  key: Uint8Array,
  keyAt: number,
  value: Uint8Array,
  valueAt: number,
  flags: number
): number => {
  if (flags > BPF_EXIST) return -numbers.EINVAL
  const prefix = readU32(key, keyAt)
  if (prefix > trie.maxPrefix) return -numbers.EINVAL
  const { node, parent, shared } = descend(trie, key, keyAt, prefix)
  const isThere = node >= 0 && trie.prefix[node] === shared && shared === prefix
  if (isThere && trie.element[node] === 1) {
    if (flags === BPF_NOEXIST) return -numbers.EEXIST
  } else {
    if (flags === BPF_EXIST) return -numbers.ENOENT
    if (trie.count === trie.shape.attr.maxEntries) return -numbers.ENOSPC
    if (trie.count >= trie.places) return -numbers.ENOMEM
    trie.count++
  }
  const added = makeNode(trie, key, keyAt, prefix, true)
  copyBytes(
    value,
    valueAt,
    Slabs.slabOf(trie.values, added),
    Slabs.offsetOf(trie.values, added),
    trie.shape.attr.valueSize
  )
  const data = keyAt + prefixBytes
  if (node < 0) {
    if (parent < 0) trie.root = added
    else setChild(trie, parent, bitOf(key, data, trie.prefix[parent] ?? 0), added)
  } else if (isThere) {
    trie.zero[added] = trie.zero[node] ?? -1
    trie.one[added] = trie.one[node] ?? -1
    replaceChild(trie, parent, node, added)
    trie.free.push(node)
  } else {
    const slab = Slabs.slabOf(trie.keys, node)
    const bit = bitOf(slab, dataOf(trie, node), shared)
    if (shared === prefix) {
      setChild(trie, added, bit, node)
      replaceChild(trie, parent, node, added)
    } else {
      const fork = makeNode(trie, key, keyAt, shared, false)
      setChild(trie, fork, bit, node)
      setChild(trie, fork, 1 - bit, added)
      replaceChild(trie, parent, node, fork)
    }
  }
  return 0
}

/** Deletes exactly this prefix. Answers 0, `-ENOENT`, or `-EINVAL` for a length that no key of this trie can have. */
export const remove = (trie: TrieStore, key: Uint8Array, at: number): number => {
  const prefix = readU32(key, at)
  if (prefix > trie.maxPrefix) return -numbers.EINVAL
  const { grandparent, node, parent, shared } = descend(trie, key, at, prefix)
  if (node < 0 || trie.prefix[node] !== shared || shared !== prefix || trie.element[node] !== 1) return -numbers.ENOENT
  trie.count--
  const zero = trie.zero[node] ?? -1
  const one = trie.one[node] ?? -1
  if (zero >= 0 && one >= 0) {
    trie.element[node] = 0
    return 0
  }
  if (zero < 0 && one < 0 && parent >= 0 && trie.element[parent] === 0) {
    // A fork with one child is none: the other child takes its place.
    const sibling = (trie.zero[parent] === node ? trie.one[parent] : trie.zero[parent]) ?? -1
    replaceChild(trie, grandparent, parent, sibling)
    trie.free.push(parent)
  } else replaceChild(trie, parent, node, zero >= 0 ? zero : one)
  trie.free.push(node)
  return 0
}

/** The key of an element, in memory of its own. */
export const keyOf = (trie: TrieStore, node: number): Uint8Array => {
  const key = new Uint8Array(trie.shape.attr.keySize)
  const prefix = trie.prefix[node] ?? 0
  key[0] = prefix
  key[1] = prefix >> 8
  copyBytes(Slabs.slabOf(trie.keys, node), dataOf(trie, node), key, prefixBytes, trie.dataBytes)
  return key
}

/** The first element below a node, in post-order. */
const leftmost = (trie: TrieStore, top: number): number => {
  let found = top
  for (let node = top; node >= 0;) {
    found = node
    const zero = trie.zero[node] ?? -1
    node = zero >= 0 ? zero : trie.one[node] ?? -1
  }
  return found
}

/** The key after this one in post-order, the first one if there is no such key; `-ENOENT` after the last. */
export const nextKey = (trie: TrieStore, key: Uint8Array | undefined): Uint8Array | number => {
  if (trie.root < 0) return -numbers.ENOENT
  const first = () => keyOf(trie, leftmost(trie, trie.root))
  const prefix = key === undefined ? 0 : readU32(key, 0)
  if (key === undefined || prefix > trie.maxPrefix) return first()
  const path: Array<number> = []
  let node = trie.root
  for (; node >= 0; node = childOf(trie, node, bitOf(key, prefixBytes, trie.prefix[node] ?? 0))) {
    path.push(node)
    if (sharedBits(trie, node, key, prefixBytes, prefix) !== trie.prefix[node]) return first()
    if (trie.prefix[node] === prefix) break
  }
  if (node < 0 || trie.element[node] !== 1) return first()
  path.pop()
  for (let below = node, parent = path.pop(); parent !== undefined; below = parent, parent = path.pop()) {
    const other = trie.one[parent] ?? -1
    if (trie.zero[parent] === below && other >= 0) return keyOf(trie, leftmost(trie, other))
    if (trie.element[parent] === 1) return keyOf(trie, parent)
  }
  return -numbers.ENOENT
}
