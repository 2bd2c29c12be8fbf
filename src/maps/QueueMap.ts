/**
 * Queues and stacks: values without keys, of which the first or the last one can be taken.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { BtfValue } from "../btf/BtfValue.ts"
import { MapType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../services/Kernel/Kernel.ts"
import type { MapInfo } from "../services/Kernel/KernelCall.ts"
import type { MapRef } from "../services/Kernel/Ref.ts"
import type { Values } from "./ArrayMap.ts"
import * as Element from "./Element.ts"
import type { MapError } from "./MapError.ts"
import * as OfObject from "./OfObject.ts"
import { refine } from "./SchemaCodec.ts"

/** A queue, whose first value is the next, or a stack, whose last one is. */
export interface QueueMap<V> {
  readonly name: string
  readonly ref: MapRef
  readonly info: MapInfo
  /** Whether the value that was pushed last is the next. */
  readonly isStack: boolean
  /** How many values there can be. */
  readonly capacity: number
  /** Adds a value: `E2BIG` where the map is full, unless it may `displace` the oldest. */
  readonly push: (value: V, options?: { readonly displace?: boolean }) => Effect.Effect<void, MapError>
  /** The next value, which stays; `undefined` where there is none. */
  readonly peek: Effect.Effect<V | undefined, MapError>
  /** Takes the next value; `undefined` where there is none. */
  readonly pop: Effect.Effect<V | undefined, MapError>
  /** Takes values until there is none: at most twice as many as there can be, should programs go on pushing. */
  readonly popAll: Stream.Stream<V, MapError>
}

const types: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_QUEUE, MapType.BPF_MAP_TYPE_STACK])

/** A queue or stack of a session, with the codec of its values. */
export const make: <V>(session: Session, map: MapRef, values: Values<V>) => Effect.Effect<QueueMap<V>, MapError> =
  Effect.fnUntraced(function*<V>(
    session: Session,
    map: MapRef,
    values: Values<V>
  ): Effect.fn.Return<QueueMap<V>, MapError> {
    const info = yield* Element.infoOf(
      session,
      map,
      values.name,
      types,
      () => "it is no queue and no stack: see the page on maps for what opens it"
    )
    const name = values.name ?? info.name
    const value = yield* Effect.fromResult(Element.half(values.value, "values", name, info.valueSize))
    const source = { session, map, name, info, key: Element.nothing, value }
    const pop = Element.take(source, undefined)
    return {
      name,
      ref: map,
      info,
      isStack: info.type === MapType.BPF_MAP_TYPE_STACK,
      capacity: info.maxEntries,
      push: (next, options) =>
        Element.set(source, undefined, next, Element.setFlags(options?.displace === true ? { when: "Exist" } : {})),
      peek: Element.get(source, undefined),
      pop,
      // One at a time: what a consumer does not want stays in the map.
      popAll: Stream.fromPull(Effect.sync((): Pull.Pull<Arr.NonEmptyReadonlyArray<V>, MapError> => {
        let left = 2 * info.maxEntries
        return Effect.suspend((): Pull.Pull<Arr.NonEmptyReadonlyArray<V>, MapError> =>
          left-- <= 0
            ? Cause.done()
            : Effect.flatMap(pop, (next) => next === undefined ? Cause.done() : Effect.succeed(Arr.of(next)))
        )
      }))
    }
  })

/** A queue or stack of a loaded object by its name. */
export const of = (loaded: OfObject.Loaded, name: string): Effect.Effect<QueueMap<BtfValue>, MapError> =>
  Effect.flatMap(OfObject.open(loaded, name), (opened) => make(opened.session, opened.map, opened))

/** A queue or stack of a loaded object whose values are refined by a schema over what `of` has. */
export const withSchema = <V, VI>(
  loaded: OfObject.Loaded,
  name: string,
  schema: Schema.Codec<V, VI>
): Effect.Effect<QueueMap<V>, MapError> =>
  Effect.flatMap(
    OfObject.open(loaded, name),
    ({ map, session, value }) => make(session, map, { value: refine(value, schema), name })
  )
