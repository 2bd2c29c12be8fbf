/**
 * Tries of prefixes: the longest prefix that an address begins with decides.
 *
 * ```ts
 * const routes = yield* LpmTrie.make(session, map, { key: LpmTrie.ipv4, value: hop })
 * yield* routes.set("10.0.0.0/8", 1)
 * yield* routes.match("10.1.2.3") // 1
 * ```
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { BtfValue } from "../btf/BtfValue.ts"
import { type Codec, CodecError } from "../btf/Codec.ts"
import { hostIsLittle } from "../services/Kernel/abi/Arena.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import * as Element from "./Element.ts"
import type { MapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"
import { type Codecs, table, type TypedMap } from "./TypedMap.ts"

/**
 * A trie of prefixes. There is no look-up of one prefix by itself: the kernel answers with the longest one that covers a key. An
 * element that is removed while `entries` is read may appear with the value of a shorter prefix that covers it.
 */
export interface LpmTrie<P, V> extends Omit<TypedMap<P, V>, "get" | "has" | "take" | "takeAll"> {
  /**
   * The value of the longest prefix in the trie that covers this one (of an address: a prefix of full length); `undefined` where
   * none does.
   */
  readonly match: (prefix: P) => Effect.Effect<V | undefined, MapError>
}

/** The first `bits` bits of some bytes. */
export interface Prefix {
  readonly bits: number
  readonly bytes: Uint8Array
}

/** Bytes of the number of bits, before the bytes themselves. */
const header = 4

/** The codec of prefixes of up to `length` bytes: keys are `struct { __u32 prefixlen; __u8 data[length]; }`. */
export const prefix = (length: number, name: string = `prefix of ${length} bytes`): Codec<Prefix> => ({
  name,
  size: header + length,
  read: (view, at) => ({
    bits: view.getUint32(at, hostIsLittle),
    bytes: new Uint8Array(view.buffer, view.byteOffset + at + header, length).slice()
  }),
  encode: ({ bits, bytes }) => {
    if (bytes.length !== length || !Number.isInteger(bits) || bits < 0 || bits > 8 * length) {
      const detail = `${bits} bits of ${bytes.length} bytes are no prefix of ${length} bytes`
      return Result.fail(new CodecError({ reason: "Value", subject: name, detail }))
    }
    const key = new Uint8Array(header + length)
    new DataView(key.buffer).setUint32(0, bits, hostIsLittle)
    key.set(bytes, header)
    return Result.succeed(key)
  }
})

/** A codec of prefixes as text, `address/bits`; without `/bits` all bits count. */
const ofText = (
  length: number,
  name: string,
  parse: (text: string) => Uint8Array | undefined,
  print: (bytes: Uint8Array) => string
): Codec<string> => {
  const plain = prefix(length, name)
  return {
    name,
    size: plain.size,
    read: (view, at) => {
      const { bits, bytes } = plain.read(view, at)
      return `${print(bytes)}/${bits}`
    },
    encode: (text) => {
      const [address = "", bits, more] = text.split("/")
      const bytes = parse(address)
      if (bytes === undefined || more !== undefined || (bits !== undefined && !/^\d{1,3}$/.test(bits))) {
        return Result.fail(new CodecError({ reason: "Value", subject: name, detail: `${text} is no ${name}` }))
      }
      return plain.encode({ bits: bits === undefined ? 8 * length : Number(bits), bytes })
    }
  }
}

const octets = (text: string): Uint8Array | undefined => {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    return undefined
  }
  return Uint8Array.from(parts, Number)
}

/** Prefixes of IPv4 addresses, in network order: `10.0.0.0/8`, `192.0.2.1`. */
export const ipv4: Codec<string> = ofText(4, "IPv4 prefix", octets, (bytes) => bytes.join("."))

/** The groups of one side of a `::`; the last may be four octets. */
const groups = (text: string): ReadonlyArray<number> | undefined => {
  if (text === "") return []
  const parts = text.split(":")
  const last = parts.at(-1) ?? ""
  const four = last.includes(".") ? octets(last) : undefined
  if (last.includes(".") && four === undefined) return undefined
  const hex = four === undefined ? parts : parts.slice(0, -1)
  if (!hex.every((part) => /^[0-9a-fA-F]{1,4}$/.test(part))) return undefined
  const numbers = hex.map((part) => Number.parseInt(part, 16))
  if (four === undefined) return numbers
  const [a = 0, b = 0, c = 0, d = 0] = four
  return [...numbers, a << 8 | b, c << 8 | d]
}

const parseIpv6 = (text: string): Uint8Array | undefined => {
  const sides = text.split("::")
  if (sides.length > 2) return undefined
  const [head, tail] = [groups(sides[0] ?? ""), groups(sides[1] ?? "")]
  if (head === undefined || tail === undefined) return undefined
  const missing = 8 - head.length - tail.length
  if (sides.length === 1 ? missing !== 0 : missing < 1) return undefined
  const all = [...head, ...new Array<number>(missing).fill(0), ...tail]
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

/** The longest run of zeros is left out, as RFC 5952 has it. */
const printIpv6 = (bytes: Uint8Array): string => {
  const all = Array.from({ length: 8 }, (_, index) => (bytes[2 * index] ?? 0) << 8 | (bytes[2 * index + 1] ?? 0))
  let [from, length] = [-1, 1]
  for (let start = 0; start < 8; start++) {
    let end = start
    while (end < 8 && all[end] === 0) end++
    if (end - start > length) [from, length] = [start, end - start]
  }
  const text = (numbers: ReadonlyArray<number>): string => numbers.map((group) => group.toString(16)).join(":")
  return from < 0 ? text(all) : `${text(all.slice(0, from))}::${text(all.slice(from + length))}`
}

/** Prefixes of IPv6 addresses: `2001:db8::/32`, `::1`. */
export const ipv6: Codec<string> = ofText(16, "IPv6 prefix", parseIpv6, printIpv6)

const types: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_LPM_TRIE])

/** A trie of a session, with codecs of prefixes and values. */
export const make: <P, V>(
  session: Session,
  map: MapRef,
  codecs: Codecs<P, V>
) => Effect.Effect<LpmTrie<P, V>, MapError> = Effect.fnUntraced(function*<P, V>(
  session: Session,
  map: MapRef,
  codecs: Codecs<P, V>
): Effect.fn.Return<LpmTrie<P, V>, MapError> {
  const info = yield* Element.infoOf(
    session,
    map,
    codecs.name,
    types,
    () => "it is no trie of prefixes: see the page on maps for what opens it"
  )
  const name = codecs.name ?? info.name
  const key = yield* Effect.fromResult(Element.half(codecs.key, "keys", name, info.keySize))
  const value = yield* Effect.fromResult(Element.half(codecs.value, "values", name, info.valueSize))
  const { get, has: _has, take: _take, takeAll: _takeAll, ...rest } = table({ session, map, name, info, key, value })
  return { ...rest, match: get }
})

/** A trie of a loaded object by its name: prefixes are the structs that its keys are. */
export const of = (loaded: OfObject.Loaded, name: string): Effect.Effect<LpmTrie<BtfValue, BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => make(opened.session, opened.map, opened))

/** A trie of a loaded object, whose prefixes are what `key` says: `ipv4`, `ipv6`, `prefix(n)`. */
export const withPrefix = <P>(
  loaded: OfObject.Loaded,
  name: string,
  key: Codec<P>
): Effect.Effect<LpmTrie<P, BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), ({ map, session, value }) => make(session, map, { key, value, name }))

/** A trie of a loaded object, with prefixes by `key` and values refined by a schema over what `of` has. */
export const withSchema = <P, V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  key: Codec<P>,
  schema: Schema.Codec<V, VI>
): Effect.Effect<LpmTrie<P, V>, MapError> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ map, session, value }) => make(session, map, { key, value: refine(value, schema), name })
  )
