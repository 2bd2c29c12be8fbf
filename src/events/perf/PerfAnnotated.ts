/**
 * The types of a perf buffer's records, as annotations at its map name them.
 */
import * as Result from "effect/Result"
import * as BtfCodec from "../../btf/BtfCodec.ts"
import type { BtfValue, BtfValueError, ValueOptions } from "../../btf/BtfValue.ts"
import type { BpfObject } from "../../stages/open/BpfObject.ts"
import * as EventTypes from "../../stages/open/EventTypes.ts"
import type { Readable } from "../ring/Decode.ts"
import { raw } from "./PerfDecode.ts"

/**
 * How the records of a map are read that `event:` annotations name types for (see `EventTypes`): for `stream`. Where there is no
 * annotation, or no such map, as bytes. `options` are those of `BtfValue`.
 */
export const annotated = (
  object: BpfObject,
  map: string,
  options: ValueOptions = {}
): Result.Result<ReadonlyArray<Readable<BtfValue>>, EventTypes.EventTypeError | BtfValueError> =>
  Result.gen(function*() {
    const types = (yield* EventTypes.of(object)).find(({ name }) => name === map)?.types ?? []
    const { btf, byteOrder } = object
    if (btf === undefined || types.length === 0) return [raw]
    const codecs: Array<Readable<BtfValue>> = []
    for (const { flexible, name, type } of types) {
      codecs.push(yield* BtfCodec.make(btf, type, { byteOrder, ...options, name, flexible }))
    }
    return codecs
  })
