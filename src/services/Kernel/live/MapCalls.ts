/**
 * The calls on maps, made with bpf(2) and mmap(2).
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command, MapFlag } from "../abi/BpfConstants.ts"
import { flagsComplaint } from "../abi/ElementSize.ts"
import * as ElementArena from "../abi/ElementArena.ts"
import * as Errno from "../abi/Errno.ts"
import type { KernelSymbol, Value } from "../KernelCall.ts"
import { type CallError, type KernelError, RefError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound, Handlers, Performed } from "../Session.ts"
import { type Context, handleOf, optionalHandleOf } from "./Context.ts"
import { attemptsOf, invalid, once, refused } from "./Enter.ts"
import * as FdInfo from "./FdInfo.ts"
import { expectedValueLength, type Handle, type MapHandle, valueLength } from "./Handle.ts"
import * as Hints from "./Hints.ts"
import { mapInfo, mapRecord } from "./MapInfo.ts"
import { memoryView } from "./MemoryView.ts"
import { kernelName } from "./Name.ts"

type Tags =
  | "MapCreate"
  | "MapUpdate"
  | "MapLookup"
  | "MapDelete"
  | "MapNextKey"
  | "MapFreeze"
  | "MapMmap"
  | "ViewWrite"
  | "MapGetInfo"

const done: Performed<Handle, void> = { result: undefined }

/** Complains of a key that has not the map's size: the kernel would read beyond it. */
const checkKey = (
  call: "MapDelete" | "MapNextKey",
  map: MapHandle,
  length: number
): Effect.Effect<void, KernelError> =>
  length === map.shape.keySize
    ? Effect.void
    : Effect.fail(invalid(call, map.name, `keys of this map have ${map.shape.keySize} bytes, not ${length}`))

/** A missing element is an answer. */
const absent = [Errno.numbers.ENOENT]

/** A map with what its values are in a call on one element. */
interface ElementOf {
  readonly map: MapHandle
  readonly cpus: number
  /** Bytes of value that these flags ask for. */
  readonly expected: number
}

/**
 * The map of a call on one element. Complains of a key that has not the map's size, and of flags that mean no CPU: the length of
 * the value depends on them.
 */
const elementOf = (
  context: Context,
  bound: Bound<Handle>,
  tag: "MapUpdate" | "MapLookup",
  call: { readonly map: Ref.MapRef; readonly key: Uint8Array; readonly flags: bigint }
): Result.Result<ElementOf, CallError> => {
  const map = optionalHandleOf(bound, call.map)
  if (map === undefined) return Result.fail(new RefError({ call: tag, ref: Ref.key(call.map), reason: "Absent" }))
  const { keySize, type } = map.shape
  if (call.key.length !== keySize) {
    return Result.fail(invalid(tag, map.name, `keys of this map have ${keySize} bytes, not ${call.key.length}`))
  }
  const cpus = context.possibleCpus()
  if (Result.isFailure(cpus)) return Result.fail(cpus.failure)
  const complaint = flagsComplaint(type, call.flags, cpus.success)
  return complaint === undefined
    ? Result.succeed({ map, cpus: cpus.success, expected: expectedValueLength(map.shape, cpus.success, call.flags) })
    : Result.fail(invalid(tag, map.name, complaint))
}

/** A value's bytes with the descriptors of what it refers to; what does not exist is 0. */
const valueBytes = (bound: Bound<Handle>, subject: string, value: Value): Result.Result<Uint8Array, KernelError> => {
  if (value.refs.length === 0) return Result.succeed(value.bytes)
  const bytes = new Uint8Array(value.bytes)
  const view = new DataView(bytes.buffer)
  for (const { at, size, to } of value.refs) {
    if (!Number.isInteger(at) || at < 0 || at + size > bytes.length) {
      return Result.fail(invalid("MapUpdate", subject, `a reference at byte ${at} lies outside of the value`))
    }
    const fd = optionalHandleOf(bound, to)?.fd ?? 0
    if (size === 4) view.setInt32(at, fd, Arena.hostIsLittle)
    else view.setBigInt64(at, BigInt(fd), Arena.hostIsLittle)
  }
  return Result.succeed(bytes)
}

/** The attributes that name the struct of a struct_ops map's value. */
interface StructValues {
  readonly btf_vmlinux_value_type_id?: number
  readonly value_type_btf_obj_fd?: number
}

/**
 * The kernel's struct that the value of a struct_ops map is, as attributes. The descriptor of a module's types lives as long as
 * the scope.
 */
const valueStruct = Effect.fnUntraced(function*(
  context: Context,
  name: string,
  symbol: KernelSymbol
): Effect.fn.Return<StructValues, KernelError, Scope.Scope> {
  const targets = yield* Effect.mapError(
    context.targets(name, [symbol]),
    ({ errnoNumber, hint }) => refused("MapCreate", name, errnoNumber, { hint })
  )
  const target = targets(symbol)
  if (target?._tag !== "Type") {
    return yield* refused("MapCreate", name, Errno.numbers.ESRCH, { hint: `the kernel has no struct ${symbol.name}` })
  }
  const { id, moduleFd } = target
  return {
    btf_vmlinux_value_type_id: id,
    ...(moduleFd === undefined ? {} : { value_type_btf_obj_fd: moduleFd })
  }
})

/** The handlers of the calls on maps. */
export const handlers = (context: Context): Pick<Handlers<Handle>, Tags> => {
  const { sys } = context

  return {
    // A descriptor of a module's types is needed until the kernel has answered.
    MapCreate: Effect.fnUntraced(function*(call, bound) {
      const { attr, valueType } = call
      const struct: StructValues = valueType === undefined ? {} : yield* valueStruct(context, attr.name, valueType)
      context.mapNames.set(Ref.key(call.as), attr.name)
      const types = call.types && optionalHandleOf(bound, call.types.btf)
      const inner = call.inner && optionalHandleOf(bound, call.inner)
      const answer = yield* once(sys, bound, {
        call: "MapCreate",
        subject: attr.name,
        command: Command.BPF_MAP_CREATE,
        layout: Attr.MapCreate,
        answer: "Descriptor",
        hint: Hints.mapCreate(attr, inner !== undefined, sys.pageSize, call.exclusiveTo !== undefined),
        values: {
          map_type: attr.type,
          key_size: attr.keySize,
          value_size: attr.valueSize,
          max_entries: attr.maxEntries,
          map_flags: attr.flags | (struct.value_type_btf_obj_fd === undefined ? 0 : MapFlag.BPF_F_VTYPE_BTF_OBJ_FD),
          inner_map_fd: inner?.fd,
          numa_node: attr.numaNode,
          map_name: kernelName(attr.name),
          map_ifindex: attr.ifindex,
          // Without the BTF object its ids mean nothing.
          ...(types === undefined || call.types === undefined
            ? {}
            : { btf_fd: types.fd, btf_key_type_id: call.types.key, btf_value_type_id: call.types.value }),
          ...struct,
          map_extra: attr.extra,
          ...(call.exclusiveTo === undefined ? {} : {
            excl_prog_hash: Arena.bytes(call.exclusiveTo.hash),
            excl_prog_hash_size: call.exclusiveTo.hash.length
          })
        }
      })
      const handle: MapHandle = { _tag: "Map", fd: answer.result, name: attr.name, shape: attr }
      return { result: undefined, handle }
    }, Effect.scoped),

    // Elements are read and set by the million: these two make their one call without a generator.
    MapUpdate: (call, bound) =>
      Effect.suspend((): Effect.Effect<Performed<Handle, void>, CallError> => {
        const element = elementOf(context, bound, "MapUpdate", call)
        if (Result.isFailure(element)) return Effect.fail(element.failure)
        const { cpus, expected, map } = element.success
        const bytes = valueBytes(bound, map.name, call.value)
        if (Result.isFailure(bytes)) return Effect.fail(bytes.failure)
        const { length } = bytes.success
        if (length !== expected) {
          return Effect.fail(invalid("MapUpdate", map.name, `values of this map have ${expected} bytes, not ${length}`))
        }
        // A kernel that does not know a flag may read a longer value before it refuses: it must find memory of ours.
        const most = valueLength(map.shape, cpus)
        const padded = length === most ? bytes.success : new Uint8Array(most)
        if (length !== most) padded.set(bytes.success)
        return Effect.as(
          once(sys, bound, {
            call: "MapUpdate",
            subject: map.name,
            command: Command.BPF_MAP_UPDATE_ELEM,
            layout: Attr.MapElement,
            values: {},
            lay: () => ElementArena.make(map.fd, call.key, padded, call.flags),
            hint: Hints.mapUpdate
          }),
          done
        )
      }),

    MapLookup: (call, bound) =>
      Effect.suspend((): Effect.Effect<Performed<Handle, Uint8Array | undefined>, CallError> => {
        const element = elementOf(context, bound, "MapLookup", call)
        if (Result.isFailure(element)) return Effect.fail(element.failure)
        const { cpus, expected, map } = element.success
        const most = valueLength(map.shape, cpus)
        const { value, valueSize } = call
        if (valueSize !== expected || (value !== undefined && value.length !== most)) {
          const given = valueSize === expected ? value?.length : valueSize
          return Effect.fail(invalid("MapLookup", map.name, `values of this map have ${expected} bytes, not ${given}`))
        }
        return Effect.map(
          once(sys, bound, {
            call: "MapLookup",
            subject: map.name,
            command: Command.BPF_MAP_LOOKUP_ELEM,
            layout: Attr.MapElement,
            values: {},
            lay: () => ElementArena.make(map.fd, call.key, value ?? most, call.flags),
            accept: absent
          }),
          ({ arena, result }) => ({
            result: result < 0 ? undefined : Arena.region(arena, "value").slice(0, valueSize)
          })
        )
      }),

    MapDelete: Effect.fnUntraced(function*(call, bound) {
      const map = yield* handleOf(bound, "MapDelete", call.map)
      yield* checkKey("MapDelete", map, call.key.length)
      yield* once(sys, bound, {
        call: "MapDelete",
        subject: map.name,
        command: Command.BPF_MAP_DELETE_ELEM,
        layout: Attr.MapElement,
        values: { map_fd: map.fd, key: Arena.bytes(call.key) }
      })
      return done
    }),

    MapNextKey: Effect.fnUntraced(function*(call, bound) {
      const map = yield* handleOf(bound, "MapNextKey", call.map)
      yield* checkKey("MapNextKey", map, call.keySize)
      if (call.key !== undefined) yield* checkKey("MapNextKey", map, call.key.length)
      const { arena, result } = yield* once(sys, bound, {
        call: "MapNextKey",
        subject: map.name,
        command: Command.BPF_MAP_GET_NEXT_KEY,
        layout: Attr.MapGetNextKey,
        values: {
          map_fd: map.fd,
          key: call.key === undefined ? undefined : Arena.bytes(call.key),
          next_key: Arena.room(call.keySize)
        },
        accept: [Errno.numbers.ENOENT]
      })
      return { result: result < 0 ? undefined : Arena.region(arena, "next_key").slice() }
    }),

    MapFreeze: Effect.fnUntraced(function*(call, bound) {
      const map = yield* handleOf(bound, "MapFreeze", call.map)
      yield* once(sys, bound, {
        call: "MapFreeze",
        subject: map.name,
        command: Command.BPF_MAP_FREEZE,
        layout: Attr.MapFreeze,
        values: { map_fd: map.fd }
      })
      return done
    }),

    MapMmap: Effect.fnUntraced(function*(call, bound) {
      const map = yield* handleOf(bound, "MapMmap", call.map)
      const { address, length, offset, writable } = call
      const isAligned = (bytes: number) => Number.isSafeInteger(bytes) && bytes >= 0 && bytes % sys.pageSize === 0
      if (!isAligned(offset) || !isAligned(length) || length === 0) {
        return yield* invalid(
          "MapMmap",
          map.name,
          `offset and length must be multiples of the page size, ${sys.pageSize}`
        )
      }
      if (address !== undefined && (address <= 0n || address >= 2n ** 63n || address % BigInt(sys.pageSize) !== 0n)) {
        return yield* invalid("MapMmap", map.name, `0x${address.toString(16)} is no address of a page`)
      }
      const mapping = yield* attemptsOf(bound).persist(
        undefined,
        Effect.suspend(() => {
          const mapped = sys.map(map.fd, offset, length, writable, address)
          return typeof mapped === "number"
            ? Effect.fail(
              refused("MapMmap", map.name, -mapped, { hint: Hints.mapMmap(Errno.fromNumber(-mapped)) })
            )
            : Effect.succeed(mapped)
        })
      )
      const view = { ...memoryView(mapping.buffer, writable), address: mapping.address }
      return { result: view, handle: { _tag: "View", mapping, name: map.name, writable } }
    }),

    ViewWrite: Effect.fnUntraced(function*(call, bound) {
      const { mapping, name, writable } = yield* handleOf(bound, "ViewWrite", call.view)
      const { bytes, offset } = call
      if (!writable) return yield* invalid("ViewWrite", name, "this memory was mapped for reading only")
      if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes.length > mapping.length) {
        const hint = `bytes ${offset} to ${offset + bytes.length} lie outside of the view's ${mapping.length}`
        return yield* invalid("ViewWrite", name, hint)
      }
      // No system call, but an attempt as any other: whoever watches or fails calls sees it.
      yield* attemptsOf(bound).persist(
        undefined,
        Effect.sync(() => new Uint8Array(mapping.buffer).set(bytes, offset))
      )
      return done
    }),

    MapGetInfo: Effect.fnUntraced(function*(call, bound) {
      const map = yield* handleOf(bound, "MapGetInfo", call.map)
      const attempts = attemptsOf(bound)
      const info = yield* attempts.persist(
        undefined,
        mapInfo(sys, "MapGetInfo", map.name, map.fd, call.digest)
      )
      const record = call.record === undefined
        ? undefined
        : yield* attempts.persist("record", mapRecord(sys, map.name, map.fd, call.record))
      const file = call.file === true ? FdInfo.ofMap(map.fd) : undefined
      return {
        result: {
          ...info,
          ...(file === undefined ? {} : { file }),
          ...(record === undefined ? {} : { record })
        }
      }
    })
  }
}
