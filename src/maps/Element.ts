/**
 * Elements of maps as bytes and as values, and the calls on one of them: what all kinds of typed maps are made of.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type Codec, CodecError } from "../btf/Codec.ts"
import { hostIsLittle } from "../services/Kernel/abi/Arena.ts"
import { ElementFlag, mapTypeName } from "../services/Kernel/abi/BpfConstants.ts"
import { perCpu } from "../services/Kernel/abi/ElementSize.ts"
import { Kernel, type Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { CallError, KernelError } from "../services/Kernel/KernelError.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import { type MapError, mistake, type TypedMapError } from "./MapError.ts"
import type { SchemaCodec } from "./SchemaCodec.ts"

/** What a key or value of a map is given as: a codec, or one that a schema has refined. */
export type ElementCodec<A> = Codec<A> | SchemaCodec<A>

/** One half of a map's elements: values of one type, and bytes of one length. */
export interface Half<A> {
  readonly name: string
  /** Bytes, as the calls have them. */
  readonly size: number
  /** The value of the bytes at an offset; throws a `CodecError` where a schema takes none of them. */
  readonly read: (view: DataView, at: number) => A
  readonly encode: (value: A) => Result.Result<Uint8Array, CodecError>
}

/** A map in a session, with what its elements are. */
export interface Source<K, V> {
  readonly session: Session
  readonly map: MapRef
  /** For messages. */
  readonly name: string
  readonly info: MapInfo
  readonly key: Half<K>
  readonly value: Half<V>
}

/** Whether what was thrown is the error of a codec that a schema has refined. */
export const isCodecError = (thrown: unknown): thrown is CodecError => thrown instanceof CodecError

/** The half of an element whose bytes are `size`: what a flexible codec leaves is zero, and no other size fits. */
export const half = <A>(
  codec: ElementCodec<A>,
  what: "keys" | "values",
  map: string,
  size: number
): Result.Result<Half<A>, TypedMapError> => {
  const flexible = codec.flexible === true
  if (flexible ? codec.size > size : codec.size !== size) {
    const least = flexible ? "at least " : ""
    return Result.fail(
      mistake("Size", map, `its ${what} have ${size} bytes, and ${codec.name} has ${least}${codec.size}`)
    )
  }
  const read = "read" in codec
    ? codec.read
    : (view: DataView, at: number): A => {
      const value = codec.decode(view, at)
      if (Result.isFailure(value)) throw value.failure
      return value.success
    }
  if (!flexible) return Result.succeed({ name: codec.name, size, read, encode: codec.encode })
  return Result.succeed({
    name: codec.name,
    size,
    // What is flexible extends to the end of the view.
    read: (view, at) => read(new DataView(view.buffer, view.byteOffset + at, size), 0),
    encode: (value) =>
      Result.flatMap(codec.encode(value), (bytes) => {
        if (bytes.length > size) {
          const detail = `the value has ${bytes.length} bytes, and the map's values ${size}`
          return Result.fail(new CodecError({ reason: "Size", subject: codec.name, detail }))
        }
        const whole = new Uint8Array(size)
        whole.set(bytes)
        return Result.succeed(whole)
      })
  })
}

/** A value of an element's bytes. */
export const decode = <A>({ read }: Half<A>, bytes: Uint8Array): Result.Result<A, CodecError> => {
  try {
    return Result.succeed(read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0))
  } catch (thrown) {
    if (isCodecError(thrown)) return Result.fail(thrown)
    throw thrown
  }
}

/** An index as the key of an array: 4 bytes in this machine's order. */
export const index = (map: string, length: number): Half<number> => ({
  name: `index of ${map}`,
  size: 4,
  read: (view, at) => view.getUint32(at, hostIsLittle),
  encode: (value) => {
    if (!Number.isInteger(value) || value < 0 || value >= length) {
      const detail = `${value} is no index: there are ${length} elements, counted from 0`
      return Result.fail(new CodecError({ reason: "Value", subject: `index of ${map}`, detail }))
    }
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value, hostIsLittle)
    return Result.succeed(bytes)
  }
})

/** A half without bytes: the keys of queues, stacks and bloom filters. */
export const nothing: Half<undefined> = {
  name: "no key",
  size: 0,
  read: () => undefined,
  encode: () => Result.succeed(new Uint8Array(0))
}

/** What the kernel says of a map, checked to be of one of these types. */
export const infoOf = (
  session: Session,
  map: MapRef,
  name: string | undefined,
  types: ReadonlySet<number>,
  otherwise: (info: MapInfo) => string
): Effect.Effect<MapInfo, MapError> =>
  Effect.flatMap(
    session.call({ _tag: "MapGetInfo", map }),
    (info): Effect.Effect<MapInfo, MapError> =>
      types.has(info.type) ? Effect.succeed(info) : Effect.fail(
        mistake("WrongKind", name ?? info.name, `it is of type ${mapTypeName(info.type)}`, otherwise(info))
      )
  )

/** How many CPUs the kernel may ever have: so many values has an element of a per-CPU map. */
export const possibleCpus: (map: string) => Effect.Effect<number, MapError, Kernel> = Effect.fnUntraced(
  function*(map: string): Effect.fn.Return<number, MapError, Kernel> {
    const kernel = yield* Kernel
    const { possibleCpus } = yield* kernel.ask([{ _tag: "PossibleCpus" }])
    return possibleCpus?._tag === "Known"
      ? possibleCpus.value
      : yield* mistake("Unsupported", map, `the ${kernel.name} kernel does not say how many CPUs there may be`)
  }
)

/** Whether a map has a value for each CPU. */
export const isPerCpu = (info: MapInfo): boolean => perCpu.has(info.type)

/** How an element is set. */
export interface SetOptions {
  /** Whether or not there is one of this key (`Any`, unless given), only a new one (`NoExist`), only one that is there (`Exist`). */
  readonly when?: "Any" | "NoExist" | "Exist"
  /** Under the lock (`struct bpf_spin_lock`) that the value has. */
  readonly lock?: boolean
}

/** How an element is read. */
export interface GetOptions {
  /** Under the lock (`struct bpf_spin_lock`) that the value has. */
  readonly lock?: boolean
}

const whenFlags = { Any: 0n, NoExist: 1n, Exist: 2n } as const

/** The flags of a change. */
export const setFlags = (options: SetOptions | undefined): bigint =>
  options === undefined
    ? 0n
    : whenFlags[options.when ?? "Any"] | (options.lock === true ? ElementFlag.BPF_F_LOCK : 0n)

/** The flags of a look-up. */
export const getFlags = (options: GetOptions | undefined): bigint =>
  options?.lock === true ? ElementFlag.BPF_F_LOCK : 0n

/** Whether an error is the kernel's answer of one of these. */
export const isErrno = (error: CallError, ...errnos: ReadonlyArray<KernelError["errno"]>): error is KernelError =>
  error._tag === "KernelError" && errnos.includes(error.errno)

/** The value of a key; `undefined` where there is none. */
export const get = <K, V>(
  { key, map, session, value }: Source<K, V>,
  of: K,
  flags: bigint = 0n
): Effect.Effect<V | undefined, MapError> =>
  Effect.suspend((): Effect.Effect<V | undefined, MapError> => {
    const bytes = key.encode(of)
    if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
    return Effect.flatMap(
      session.call({ _tag: "MapLookup", map, key: bytes.success, valueSize: value.size, flags }),
      (found) => found === undefined ? Effect.succeed(undefined) : Effect.fromResult(decode(value, found))
    )
  })

/** Whether there is an element of a key. */
export const has = <K, V>({ key, map, session, value }: Source<K, V>, of: K): Effect.Effect<boolean, MapError> =>
  Effect.suspend((): Effect.Effect<boolean, MapError> => {
    const bytes = key.encode(of)
    if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
    return Effect.map(
      session.call({ _tag: "MapLookup", map, key: bytes.success, valueSize: value.size, flags: 0n }),
      (found) => found !== undefined
    )
  })

/** Sets the element of a key. */
export const set = <K, V>(
  { key, map, session, value }: Source<K, V>,
  of: K,
  to: V,
  flags: bigint = 0n
): Effect.Effect<void, MapError> =>
  Effect.suspend((): Effect.Effect<void, MapError> => {
    const keyBytes = key.encode(of)
    if (Result.isFailure(keyBytes)) return Effect.fail(keyBytes.failure)
    const bytes = value.encode(to)
    if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
    return session.call({
      _tag: "MapUpdate",
      map,
      key: keyBytes.success,
      value: { bytes: bytes.success, refs: [] },
      flags
    })
  })

/** Removes the element of a key; whether there was one. */
export const remove = <K, V>({ key, map, session }: Source<K, V>, of: K): Effect.Effect<boolean, MapError> =>
  Effect.suspend((): Effect.Effect<boolean, MapError> => {
    const bytes = key.encode(of)
    if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
    return removeBytes(session, map, bytes.success)
  })

/** Removes the element of these bytes; whether there was one. */
export const removeBytes = (session: Session, map: MapRef, key: Uint8Array): Effect.Effect<boolean, CallError> =>
  Effect.catch(
    Effect.as(session.call({ _tag: "MapDelete", map, key }), true),
    (error) => isErrno(error, "ENOENT") ? Effect.succeed(false) : Effect.fail(error)
  )

/** Errors that say that the kernel takes nothing from maps of a type, or does not know the command. */
export const isUnable = (error: CallError): boolean => isErrno(error, "ENOTSUPP", "EOPNOTSUPP", "EINVAL")

/**
 * Reads and removes the element of a key. Where the kernel does not do both at once, it is looked up and then deleted; who finds
 * it deleted by somebody else has taken nothing.
 */
export const take = <K, V>(source: Source<K, V>, of: K): Effect.Effect<V | undefined, MapError> =>
  Effect.suspend((): Effect.Effect<V | undefined, MapError> => {
    const { key, map, session, value } = source
    const bytes = key.encode(of)
    if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
    const element = { map, key: bytes.success, valueSize: value.size, flags: 0n }
    const apart = Effect.flatMap(session.call({ _tag: "MapLookup", ...element }), (found) =>
      found === undefined
        ? Effect.succeed(undefined)
        : Effect.map(removeBytes(session, map, bytes.success), (removed) => removed ? found : undefined))
    return Effect.flatMap(
      Effect.catch(
        session.call({ _tag: "MapLookupAndDelete", ...element }),
        (error) => isUnable(error) ? apart : Effect.fail(error)
      ),
      (found) => found === undefined ? Effect.succeed(undefined) : Effect.fromResult(decode(value, found))
    )
  })
