/**
 * Payloads of perf buffers as values, and the records of a perf buffer as what a stream of them hands on.
 */
import * as Result from "effect/Result"
import { type Codec, CodecError } from "../../btf/Codec.ts"
import type { Decode, Readable } from "../ring/Decode.ts"

export type { Decode, Readable } from "../ring/Decode.ts"

/** What a program wrote, with the CPU that it ran on. */
export interface PerfSample<A> {
  readonly _tag: "Sample"
  readonly cpu: number
  readonly value: A
}

/** Records of a CPU that found no room, since the last such item of the CPU. */
export interface PerfLost {
  readonly _tag: "Lost"
  readonly cpu: number
  readonly count: bigint
}

/** A record of a type that programs do not write: `PERF_RECORD_*`. The bytes are a copy, with its header of 8 bytes. */
export interface PerfOther {
  readonly _tag: "Other"
  readonly cpu: number
  readonly type: number
  readonly bytes: Uint8Array
}

/** What a perf buffer hands on. */
export type PerfItem<A> = PerfSample<A> | PerfLost | PerfOther

/** Bytes of the payload of a value of `size` bytes, with those that the kernel fills up with. */
const paddedSize = (size: number): number => Math.ceil((size + 4) / 8) * 8 - 4

/** Payloads as they are, each a copy, with the up to 7 bytes that the kernel has filled up with. */
export const raw: Codec<Uint8Array> = {
  name: "payload",
  size: 0,
  flexible: true,
  read: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, view.byteLength - at).slice(),
  encode: (value) => Result.succeed(value.slice())
}

const flexibleRead = <A>(codec: Readable<A>) => (view: DataView, at: number, length: number): A =>
  codec.read(new DataView(view.buffer, view.byteOffset + at, length), 0)

/** How payloads are read: by the one type that they all have, or by the one of several that is of their size. */
export const decoder = <A>(codecs: Readable<A> | ReadonlyArray<Readable<A>>, map: string): Decode<A> => {
  const all = "read" in codecs ? [codecs] : codecs
  const bySize = new Map<number, Readable<A>["read"]>()
  for (const codec of all) {
    if (codec.flexible !== true && !bySize.has(paddedSize(codec.size))) bySize.set(paddedSize(codec.size), codec.read)
  }
  const flexible = all.find((codec) => codec.flexible === true)
  const readFlexible = flexible === undefined ? undefined : flexibleRead(flexible)
  const least = flexible?.size ?? 0
  const wrong = (length: number): CodecError =>
    new CodecError({
      reason: "Size",
      subject: `record of perf buffer ${map}`,
      detail: `${length} bytes are there, and ${
        all.map(({ flexible, name, size }) =>
          `${name} has ${flexible === true ? `at least ${size}` : paddedSize(size)}${
            flexible === true || paddedSize(size) === size ? "" : ` (${size} and those that the kernel fills up with)`
          }`
        ).join(", ")
      }`,
      hint: "the program writes another type than was said, or bytes of a packet behind it"
    })
  const [first] = all
  if (all.length === 1 && first !== undefined && first.flexible !== true) {
    const size = paddedSize(first.size)
    const { read } = first
    return (view, at, length) => length === size ? read(view, at) : wrong(length)
  }
  return (view, at, length) => {
    const read = bySize.get(length)
    if (read !== undefined) return read(view, at)
    return readFlexible === undefined || length < least ? wrong(length) : readFlexible(view, at, length)
  }
}
