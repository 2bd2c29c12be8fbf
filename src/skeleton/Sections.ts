/**
 * The variables of a data section as properties of an object: of its initial image before the load, of the kernel's memory
 * afterwards.
 *
 * A property is read where it is, each time anew: structs and arrays are values, and what is done to such a value changes
 * nothing. They are assigned as wholes. Assigning a value that does not fit its type throws a `CodecError`, for an
 * assignment has no other way to say so; what `open` is given is checked without throwing.
 */
import * as Result from "effect/Result"
import { type Codec, CodecError } from "../btf/Codec.ts"
import { GlobalsError } from "../stages/load/Globals.ts"

/** A variable of a section: where it is, and its type. */
export interface Variable<A> {
  /** What it is called in C. */
  readonly name: string
  /** Bytes from the beginning of the section. */
  readonly offset: number
  /** Bytes of it: more than a value has where its type ends in a flexible array. */
  readonly size: number
  readonly codec: Codec<A>
}

/** Where a variable is, whatever its type. */
export interface Place {
  readonly name: string
  readonly offset: number
  readonly size: number
}

/** A data section, with its variables under the names of their properties. */
export interface Section<S> {
  /** The section's name: `.rodata`. */
  readonly name: string
  /** Whether programs and user space can write to it when it is loaded. */
  readonly access: "constant" | "variable" | "kconfig"
  readonly variables: { readonly [N in keyof S]: Variable<S[N]> }
}

/** A variable, named as in C. */
export const variable = <A>(
  name: string,
  offset: number,
  codec: Codec<A>,
  size: number = codec.size
): Variable<A> => ({ name, offset, size, codec })

/** A section whose variables can be written, before the load and afterwards. */
export const variables = <S>(name: string, variables: Section<S>["variables"]): Section<S> => ({
  name,
  access: "variable",
  variables
})

/** A section whose variables can be written before the load: `.rodata`. */
export const constants = <S>(name: string, variables: Section<S>["variables"]): Section<S> => ({
  name,
  access: "constant",
  variables
})

/** The values of the kernel's configuration, which are there when they are loaded. */
export const kconfig = <S>(name: string, variables: Section<S>["variables"]): Section<S> => ({
  name,
  access: "kconfig",
  variables
})

/** The bytes that a view is of; none when they are gone. */
export interface Memory {
  readonly bytes: Uint8Array
}

const gone = (name: string): GlobalsError =>
  new GlobalsError({
    reason: "Closed",
    name,
    detail: "its memory was unmapped: the scope in which the object was loaded is over"
  })

/** Numbers in one access, so that programs which read them meanwhile see no half of one. */
const put = (view: DataView, bytes: Uint8Array): void => {
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (bytes.length) {
    case 1:
      return view.setUint8(0, from.getUint8(0))
    case 2:
      return view.setUint16(0, from.getUint16(0))
    case 4:
      return view.setUint32(0, from.getUint32(0))
    case 8:
      return view.setBigUint64(0, from.getBigUint64(0))
    default:
      return new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(bytes)
  }
}

/** A value of a variable as bytes: all that the variable has. */
const encoded = <A>({ codec, name, size }: Variable<A>, value: A): Result.Result<Uint8Array, CodecError> =>
  Result.flatMap(codec.encode(value), (bytes) => {
    if (bytes.length > size) {
      const detail = `the value has ${bytes.length} bytes, and there is room for ${size}`
      return Result.fail(new CodecError({ reason: "Size", subject: name, detail }))
    }
    if (bytes.length === size) return Result.succeed(bytes)
    const whole = new Uint8Array(size)
    whole.set(bytes)
    return Result.succeed(whole)
  })

/** The bytes of a variable, where they are at this moment. */
const viewOf = (memory: Memory, { name, offset, size }: Place): DataView => {
  const { bytes } = memory
  if (offset + size > bytes.length) throw gone(name)
  return new DataView(bytes.buffer, bytes.byteOffset + offset, size)
}

const property = <A>(each: Variable<A>, memory: Memory, writable: boolean): TypedPropertyDescriptor<A> => ({
  enumerable: true,
  get: () => each.codec.read(viewOf(memory, each), 0),
  ...(writable
    ? {
      set: (value: A) => put(viewOf(memory, each), Result.getOrThrow(encoded(each, value)))
    }
    : {})
})

/** The variables of a section by the names of their properties, whatever their types. */
const entriesOf = <S>(section: Section<S>): ReadonlyArray<readonly [string, Variable<never>]> =>
  Object.entries(section.variables) as ReadonlyArray<readonly [string, Variable<never>]>

/** The variables of a section in these bytes, as properties. */
export const view = <S>(section: Section<S>, memory: Memory, writable: boolean): S => {
  const made = Object.create(null) as S & object
  for (const [name, each] of entriesOf(section)) Object.defineProperty(made, name, property(each, memory, writable))
  return Object.preventExtensions(made)
}

/** Sets variables of a section to these values, all or, where one does not fit, none. */
export const assign = <S>(
  section: Section<S>,
  memory: Memory,
  values: Readonly<Partial<S>>
): Result.Result<void, CodecError> => {
  const writes: Array<() => void> = []
  // Their types are those of the variables of their names, which was checked where they were written.
  const given = values as Readonly<Record<string, never>>
  for (const [name, each] of entriesOf(section)) {
    if (!Object.hasOwn(given, name)) continue
    const value = given[name]
    if (value === undefined) continue
    const bytes = encoded(each, value)
    if (Result.isFailure(bytes)) return Result.fail(bytes.failure)
    writes.push(() => put(viewOf(memory, each), bytes.success))
  }
  for (const write of writes) write()
  return Result.void
}
