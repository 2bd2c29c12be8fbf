/**
 * The calls on maps, by the simulated maps of the virtual machine.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as BoundMap from "../../../vm/helpers/BoundMap.ts"
import * as Maps from "../../../vm/maps/SimulatedMap.ts"
import type { CallTag, MapAttributes, MapCreate, MapFile, MapUpdate } from "../KernelCall.ts"
import type { CallError } from "../KernelError.ts"
import type { Bound, Handlers, Performed } from "../Session.ts"
import { flagsComplaint, oneCpuFlags } from "../abi/ElementSize.ts"
import * as Hints from "../abi/Hints.ts"
import { kernelName } from "../abi/Name.ts"
import type { Context } from "./Context.ts"
import {
  type BtfObject,
  drop,
  type Handle,
  hold,
  type KernelObject,
  type MapObject,
  register,
  slotOf
} from "./Objects.ts"
import * as Refuse from "./Refuse.ts"
import { typeOf } from "./Symbols.ts"

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

/** How many bytes of value a caller must give with these flags. */
export const expectedValueLength = (map: Maps.SimulatedMap, flags: bigint): number =>
  map.shape.cpus > 1 && (flags & oneCpuFlags) !== 0n ? map.shape.attr.valueSize : Maps.userValueSize(map)

const checkKey = (call: CallTag, map: MapObject, length: number): Result.Result<void, CallError> => {
  const { keySize } = map.map.shape.attr
  return length === keySize
    ? Result.succeed(undefined)
    : Result.fail(Refuse.invalid(call, map.name, `keys of this map have ${keySize} bytes, not ${length}`))
}

const checkValue = (
  call: "MapUpdate" | "MapLookup",
  map: MapObject,
  flags: bigint,
  length: number
): Result.Result<void, CallError> => {
  const complaint = flagsComplaint(map.map.shape.attr.type, flags, map.map.shape.cpus)
  if (complaint !== undefined) return Result.fail(Refuse.invalid(call, map.name, complaint))
  const expected = expectedValueLength(map.map, flags)
  return length === expected
    ? Result.succeed(undefined)
    : Result.fail(Refuse.invalid(call, map.name, `values of this map have ${expected} bytes, not ${length}`))
}

/**
 * Whether the types fit the sizes of key and value, as `map_check_btf` in `kernel/bpf/syscall.c` asks: `EINVAL` if not. The
 * kernel then knows no special fields (locks, timers, kernel pointers); nor do simulated maps.
 */
const typesFit = (
  btf: Btf.Btf,
  { key, value }: { readonly key: number; readonly value: number },
  attr: MapAttributes
) => {
  const hasSize = (type: number, size: number): boolean => {
    const resolved = Btf.resolveSize(btf, type)
    return Result.isSuccess(resolved) && resolved.success === size
  }
  if (value === 0) return key === 0
  return (key === 0 || hasSize(key, attr.keySize)) && hasSize(value, attr.valueSize)
}

/**
 * Bytes of the kernel's struct that a call names as a value's type; the call's word for it where the kernel's types are not
 * given. A struct that these do not have is `ENOTSUPP`.
 */
const structSize = (
  context: Context,
  { attr, valueType }: MapCreate
): Result.Result<number | undefined, CallError> => {
  if (valueType === undefined || context.world.types === undefined) {
    return Result.succeed(valueType === undefined ? undefined : attr.valueSize)
  }
  const type = typeOf(context, valueType)
  const size = type === undefined || !Btf.exists(type.btf, type.id)
    ? undefined
    : Result.getOrUndefined(Btf.resolveSize(type.btf, type.id))
  return size === undefined
    ? Result.fail(
      Refuse.refused("MapCreate", attr.name, "ENOTSUPP", () => `its types have no struct ${valueType.name}`)
    )
    : Result.succeed(size)
}

const create = (context: Context, call: MapCreate, bound: Bound<Handle>): Result.Result<MapObject, CallError> => {
  const { attr } = call
  const { world } = context
  const inner = call.inner && Refuse.optionalHandleOf(bound, call.inner)
  const hint = Hints.mapCreate(attr, inner !== undefined, world.pageSize)
  const btf = call.types && Refuse.optionalHandleOf(bound, call.types.btf)
  const types = call.types !== undefined && btf !== undefined
    ? { btf, key: call.types.key, value: call.types.value }
    : undefined
  const struct = structSize(context, call)
  if (Result.isFailure(struct)) return Result.fail(struct.failure)
  const created = Maps.create<KernelObject>(attr, {
    possibleCpus: world.possibleCpus,
    pageSize: world.pageSize,
    memoryLimit: world.memoryLimit,
    seed: world.seed,
    hasTypes: types !== undefined,
    structSize: struct.success,
    hasDevice: (index) => context.environment.devices.has(index),
    ...(inner === undefined ? {} : { inner: inner.map })
  })
  if (Result.isFailure(created)) return Result.fail(Refuse.refused("MapCreate", attr.name, created.failure, hint))
  if (types !== undefined && !typesFit(types.btf.btf, types, attr)) {
    return Result.fail(
      Refuse.invalid("MapCreate", attr.name, "the types of key or value have other sizes than the map")
    )
  }
  const region = BoundMap.bind(context.environment, created.success, attr.name)
  if (region === undefined) return Result.fail(Refuse.refused("MapCreate", attr.name, "ENOMEM"))
  const map: MapObject = {
    _tag: "Map",
    id: context.ids.Map++,
    name: attr.name,
    map: created.success,
    bound: region,
    types: types satisfies { readonly btf: BtfObject } | undefined,
    exclusiveTo: call.exclusiveTo?.hash.slice(),
    references: 1,
    users: 1
  }
  if (types !== undefined) hold(types.btf, "kernel")
  return Result.succeed(map)
}

/** What a slot holds now: the object that the map keeps alive. */
const held = ({ map }: MapObject, key: Uint8Array): KernelObject | undefined =>
  (map.store._tag === "Device" ? Maps.targetOf(map, key, 0)?.program : Maps.slotOf(map, key, 0))?.handle

/** Does something to an element, and keeps the books of what the map keeps alive. */
export const changing = <A, E>(
  context: Context,
  map: MapObject,
  key: Uint8Array,
  change: () => Result.Result<A, E>
): Result.Result<A, E> => {
  const before = held(map, key)
  const result = change()
  const after = held(map, key)
  if (before === after) return result
  if (after !== undefined) hold(after, "kernel")
  if (before !== undefined) drop(context.environment, before, "kernel")
  return result
}

const update = (
  call: MapUpdate,
  map: MapObject,
  bound: Bound<Handle>
): Result.Result<void, CallError> => {
  const { flags, key, value } = call
  const bytes = value.bytes.slice()
  for (const { at, size } of value.refs) {
    if (!Number.isInteger(at) || at < 0 || at + size > bytes.length) {
      return Result.fail(
        Refuse.invalid("MapUpdate", map.name, `a reference at byte ${at} lies outside of the value`)
      )
    }
  }
  const [ref] = value.refs
  const isSlot = map.map.store._tag === "SlotArray" || map.map.store._tag === "SlotHash" ||
    map.map.store._tag === "Device"
  if (ref === undefined || !isSlot) {
    return Refuse.answered("MapUpdate", map.name, Maps.userUpdate(map.map, key, bytes, flags), Hints.mapUpdate)
  }
  const target = Refuse.optionalHandleOf(bound, ref.to)
  return Refuse.answered(
    "MapUpdate",
    map.name,
    Maps.userUpdateSlot(map.map, key, target === undefined ? "EBADF" : slotOf(target), flags, bytes),
    Hints.mapUpdate
  )
}

/** The answer of a look-up in which there may be nothing. */
const found = (
  result: Result.Result<Uint8Array, Maps.MapFailure>
): Result.Result<Uint8Array | undefined, Maps.MapFailure> =>
  Result.isFailure(result) && result.failure === "ENOENT" ? Result.succeed(undefined) : result

/** What procfs would tell: no memory of the machine's is counted. */
const fileOf = ({ map }: MapObject): MapFile => ({
  memlock: 0n,
  frozen: map.frozen,
  ownerProgType: undefined,
  ownerJited: undefined
})

/** The handlers of the calls on maps. */
export const handlers = (context: Context): Pick<Handlers<Handle>, Tags> => ({
  MapCreate: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(create(context, call, bound), (map) => ({
        result: undefined,
        handle: register(context.objects, map)
      }))),

  MapUpdate: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, "MapUpdate", call.map)
        yield* checkKey("MapUpdate", map, call.key.length)
        yield* checkValue("MapUpdate", map, call.flags, call.value.bytes.length)
        yield* changing(context, map, call.key, () => update(call, map, bound))
        return done
      })),

  MapLookup: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, "MapLookup", call.map)
        yield* checkKey("MapLookup", map, call.key.length)
        yield* checkValue("MapLookup", map, call.flags, call.valueSize)
        if (call.value !== undefined) yield* checkValue("MapLookup", map, 0n, call.value.length)
        const value = found(Maps.userLookup(map.map, call.key, call.flags, call.value))
        return { result: (yield* Refuse.answered("MapLookup", map.name, value))?.slice() }
      })),

  MapDelete: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, "MapDelete", call.map)
        yield* checkKey("MapDelete", map, call.key.length)
        yield* changing(
          context,
          map,
          call.key,
          () => Refuse.answered("MapDelete", map.name, Maps.userDelete(map.map, call.key))
        )
        return done
      })),

  MapNextKey: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, "MapNextKey", call.map)
        yield* checkKey("MapNextKey", map, call.keySize)
        if (call.key !== undefined) yield* checkKey("MapNextKey", map, call.key.length)
        const next = found(Maps.userNextKey(map.map, call.key))
        return { result: (yield* Refuse.answered("MapNextKey", map.name, next))?.slice() }
      })),

  MapFreeze: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, "MapFreeze", call.map)
        yield* Refuse.answered("MapFreeze", map.name, Maps.userFreeze(map.map))
        return done
      })),

  MapMmap: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const map = yield* Refuse.handleOf(bound, "MapMmap", call.map)
        const { length, offset, writable } = call
        const { pageSize } = context.world
        const isAligned = (bytes: number) => Number.isSafeInteger(bytes) && bytes >= 0 && bytes % pageSize === 0
        if (!isAligned(offset) || !isAligned(length) || length === 0) {
          const hint = `offset and length must be multiples of the page size, ${pageSize}`
          return yield* Result.fail(Refuse.invalid("MapMmap", map.name, hint))
        }
        const { close, view } = yield* Refuse.answered(
          "MapMmap",
          map.name,
          Maps.userMap(map.map, { offset, length, writable }, pageSize),
          Hints.mapMmap
        )
        // A mapping keeps a map alive, and does not count as somebody who can reach its slots.
        hold(map, "kernel")
        return { result: view, handle: { _tag: "View", map, view, writable, close } satisfies Handle }
      })),

  ViewWrite: (call, bound) =>
    Refuse.once(bound, () =>
      Result.gen(function*() {
        const { map, view, writable } = yield* Refuse.handleOf(bound, "ViewWrite", call.view)
        const { bytes, offset } = call
        const { length } = view.bytes
        if (!writable) {
          return yield* Result.fail(Refuse.invalid("ViewWrite", map.name, "this memory was mapped for reading only"))
        }
        if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes.length > length) {
          const hint = `bytes ${offset} to ${offset + bytes.length} lie outside of the view's ${length}`
          return yield* Result.fail(Refuse.invalid("ViewWrite", map.name, hint))
        }
        view.bytes.set(bytes, offset)
        return done
      })),

  MapGetInfo: (call, bound) =>
    Refuse.once(bound, () =>
      Result.map(Refuse.handleOf(bound, "MapGetInfo", call.map), (map) => ({
        result: {
          ...Maps.info(map.map),
          name: kernelName(map.name),
          id: map.id,
          btfId: map.types?.btf.id ?? 0,
          btfKeyTypeId: map.types?.key ?? 0,
          btfValueTypeId: map.types?.value ?? 0,
          ...(call.file === true ? { file: fileOf(map) } : {})
        }
      })))
})
