/**
 * Storage that hangs on a task, a socket, a cgroup or a file: by a descriptor of it, for as long as it lives.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Result from "effect/Result"
import type { BtfValue } from "../btf/BtfValue.ts"
import { type Codec, CodecError } from "../btf/Codec.ts"
import { hostIsLittle } from "../services/Kernel/abi/Arena.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type { Values } from "./ArrayMap.ts"
import * as Element from "./Element.ts"
import type { MapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"
import { table, type TypedMap } from "./TypedMap.ts"

/**
 * Values that belong to something of the kernel: each is found by a descriptor of what it belongs to (of a task: of a pidfd; of
 * a cgroup: of its folder). What there is cannot be listed.
 */
export interface StorageMap<V>
  extends Pick<TypedMap<number, V>, "name" | "ref" | "info" | "get" | "has" | "set" | "delete">
{}

const descriptor: Codec<number> = {
  name: "descriptor",
  size: 4,
  read: (view, at) => view.getInt32(at, hostIsLittle),
  encode: (fd) =>
    Number.isInteger(fd) && fd >= 0 && fd <= 0x7fff_ffff
      ? Result.succeed(new Uint8Array(Int32Array.of(fd).buffer))
      : Result.fail(new CodecError({ reason: "Value", subject: "descriptor", detail: `${fd} is no descriptor` }))
}

const types: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_TASK_STORAGE,
  MapType.BPF_MAP_TYPE_SK_STORAGE,
  MapType.BPF_MAP_TYPE_CGRP_STORAGE,
  MapType.BPF_MAP_TYPE_INODE_STORAGE
])

/** A storage map of a session, with the codec of its values. */
export const make: <V>(session: Session, map: MapRef, values: Values<V>) => Effect.Effect<StorageMap<V>, MapError> =
  Effect.fnUntraced(function*<V>(
    session: Session,
    map: MapRef,
    values: Values<V>
  ): Effect.fn.Return<StorageMap<V>, MapError> {
    const info = yield* Element.infoOf(
      session,
      map,
      values.name,
      types,
      () => "it is no storage of tasks, sockets, cgroups or files: see the page on maps for what opens it"
    )
    const name = values.name ?? info.name
    const key = yield* Effect.fromResult(Element.half(descriptor, "keys", name, info.keySize))
    const value = yield* Effect.fromResult(Element.half(values.value, "values", name, info.valueSize))
    const { delete: remove, get, has, set } = table({ session, map, name, info, key, value })
    return { name, ref: map, info, get, has, set, delete: remove }
  })

/** A storage map of a loaded object by its name. */
export const of = (loaded: OfObject.Loaded, name: string): Effect.Effect<StorageMap<BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), ({ map, session, value }) => make(session, map, { value, name }))

/** A storage map of a loaded object whose values are refined by a schema over what `of` has. */
export const withSchema = <V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schema: Schema.Codec<V, VI>
): Effect.Effect<StorageMap<V>, MapError> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ map, session, value }) => make(session, map, { value: refine(value, schema), name })
  )
