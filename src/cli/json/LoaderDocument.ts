/**
 * The JSON of `gen loader` and `gen replay`. Calls are those of `plan --json`: `call`, `command`, `arguments`.
 */
import * as Ref from "../../services/Kernel/Ref.ts"
import type { Difference } from "../../stages/gen/LoaderDiff.ts"
import type { Explained } from "../../stages/gen/LoaderExplain.ts"
import type { LoaderProgram } from "../../stages/gen/LoaderProgram.ts"
import type * as Documents from "../schemas/Gen.ts"
import { clip } from "../text/Clip.ts"
import type { Keys } from "./Json.ts"
import { callJson, valueJson } from "./PlanDocument.ts"

/** What `gen loader` wrote. */
export const recordedDocument = (
  output: string,
  object: string,
  loader: LoaderProgram
): typeof Documents.Recorded.Type => ({
  output,
  object,
  byte_order: loader.byteOrder,
  instructions: loader.insns.length / 8,
  data_bytes: loader.data.length,
  context_size: loader.contextSize,
  maps: loader.maps.map(({ name, published }) => ({ name, published })),
  programs: loader.programs.map(({ name, published }) => ({ name, published })),
  inputs: loader.inputs.map(({ _tag }) => _tag),
  signed: loader.signed !== undefined,
  notes: loader.notes
})

const differenceJson = (difference: Difference): Keys<typeof Documents.Difference.Type> => {
  switch (difference._tag) {
    case "Missing":
    case "Added":
      return { difference: difference._tag.toLowerCase(), position: difference.position, ...callJson(difference.call) }
    case "Changed":
      return {
        difference: "changed",
        position: difference.position,
        call: difference.call._tag,
        fields: difference.fields.map(({ made, path, planned }) => ({
          path: [...path],
          planned: valueJson(planned),
          made: valueJson(made)
        }))
      }
  }
}

/** What a replay came to; `diff` is there where a plan was compared. */
export const replayDocument = (
  path: string,
  kernel: string | undefined,
  loader: LoaderProgram,
  { inputs, maps, programs, replayed, symbols }: Explained,
  diff: { readonly object: string; readonly differences: ReadonlyArray<Difference> } | undefined
): Keys<typeof Documents.Replay.Type> => ({
  path,
  kernel: kernel ?? null,
  byte_order: loader.byteOrder,
  retval: replayed.retval,
  calls: replayed.calls.map((call) => ({ ...callJson(call) })),
  maps: maps.map(({ create, frozen, published, values }) => ({
    name: create.attr.name,
    ref: Ref.key(create.as),
    values: values.length,
    frozen,
    published
  })),
  programs: programs.map(({ load, published }) => ({ name: load.attr.name, ref: Ref.key(load.as), published })),
  symbols: symbols.map(({ kind, name }) => ({ name: clip(name), kind: String(kind) })),
  inputs: inputs.map(({ offset, size, what }) => ({ offset, size, what })),
  printed: replayed.printed,
  leaked: [...replayed.leaked.map(Ref.key), ...replayed.leakedModules],
  stray_closes: replayed.strayCloses,
  ...(diff === undefined
    ? {}
    : { diff: { object: diff.object, differences: diff.differences.map(differenceJson) } })
})
