/**
 * The JSON of `usdt`: probes as objects, numbers as numbers, texts of notes as they are.
 */
import * as Result from "effect/Result"
import { type ListedProbe, problemsOf } from "../../attach/UsdtList.ts"
import { type Argument, constantOf } from "../../usdt/Argument.ts"
import type * as Documents from "../schemas/Usdt.ts"
import { exact } from "./Exact.ts"
import type { Json, Keys } from "./Json.ts"

const locationJson = (argument: Argument): Json => {
  const { location } = argument
  switch (location._tag) {
    case "Constant":
      return { kind: "constant", value: exact(constantOf(argument, location.value)) }
    case "Register":
      return { kind: "register", register: location.register }
    case "Memory":
      return { kind: "memory", base: location.base, offset: exact(location.offset) }
    case "Indexed": {
      const { base, index, offset, scale } = location
      return { kind: "indexed", base, index, scale, offset: exact(offset) }
    }
    case "Symbol":
      return { kind: "symbol", symbol: location.symbol, offset: exact(location.offset) }
  }
}

const argumentJson = (argument: Argument): Keys<typeof Documents.Parameter.Type> => ({
  size: argument.size,
  signed: argument.signed,
  location: locationJson(argument)
})

const probeJson = (each: ListedProbe): Keys<typeof Documents.Probe.Type> => {
  const { arguments: parts, path, place, probe } = each
  const problems = problemsOf(each)
  return {
    path,
    provider: probe.provider,
    name: probe.name,
    address: exact(probe.address),
    file_offset: Result.isSuccess(place) ? exact(place.success.fileOffset) : null,
    semaphore: probe.semaphore === undefined ? null : {
      address: exact(probe.semaphore),
      file_offset: Result.isSuccess(place) ? exact(place.success.semaphoreOffset) : null
    },
    note: probe.arguments,
    arguments: Result.isSuccess(parts) ? parts.success.map(argumentJson) : null,
    ...(problems.length === 0 ? {} : { problems: problems.map(({ description }) => description) })
  }
}

/** Probes in the order in which they are in their files. */
export const probesDocument = (probes: ReadonlyArray<ListedProbe>): Json => probes.map(probeJson)
