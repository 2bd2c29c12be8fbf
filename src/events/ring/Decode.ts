/**
 * Records of a ring buffer as values. A record has exactly the bytes that its program wrote.
 */
import { type Codec, CodecError } from "../../btf/Codec.ts"

/** What reading takes of a codec. */
export type Readable<A> = Pick<Codec<A>, "name" | "size" | "flexible" | "read">

/**
 * The value of the record of `length` bytes at a place of a view, or the error that it is none. The view is the buffer itself,
 * so what is kept has to be copied.
 */
export type Decode<A> = (view: DataView, at: number, length: number) => A | CodecError

/** A copy of the bytes. */
export const copy: Decode<Uint8Array> = (view, at, length) =>
  new Uint8Array(view.buffer, view.byteOffset + at, length).slice()

const wrong = (types: ReadonlyArray<Readable<unknown>>, length: number): CodecError =>
  new CodecError({
    reason: "Size",
    subject: types.length === 1 ? `record of ${types[0]?.name}` : "record",
    detail: `${length} bytes are there, and ${
      types.map(({ flexible, name, size }) => `${name} has ${flexible === true ? "at least " : ""}${size}`).join(", ")
    }`,
    hint: "the program writes another type than was said"
  })

/**
 * How records are read that are all of one type, or of several that are told apart by their sizes; at most one of these is
 * flexible, and takes what is of no other's size.
 */
export const ofTypes = <A>(types: ReadonlyArray<Readable<A>>): Decode<A> => {
  const flexible = types.find((type) => type.flexible === true)
  const [first] = types
  if (first !== undefined && types.length === 1 && flexible === undefined) {
    // A call through a local is one that the compiler can see through.
    const { read, size } = first
    return (view, at, length) => length === size ? read(view, at) : wrong(types, length)
  }
  const bySize = new Map<number, Readable<A>["read"]>()
  for (const { flexible: hasTail, read, size } of types) {
    if (hasTail !== true && !bySize.has(size)) bySize.set(size, read)
  }
  return (view, at, length) => {
    const read = bySize.get(length)
    if (read !== undefined) return read(view, at)
    if (flexible === undefined || length < flexible.size) return wrong(types, length)
    // The tail extends to the end of the view, so this one ends with the record.
    return flexible.read(new DataView(view.buffer, view.byteOffset + at, length), 0)
  }
}
