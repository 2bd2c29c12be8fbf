/**
 * How a skeleton in TypeScript speaks of maps: by their types.
 */
import type { MapDefinition } from "../../open/BpfObject.ts"
import type * as TsCodecs from "./TsCodecs.ts"
import type { Member } from "./TsPrograms.ts"
import * as TsText from "./TsText.ts"

/** A map, as the module has it: `name` is what C calls it. */
export const member = (
  _codecs: TsCodecs.TsCodecs | undefined,
  { attr }: MapDefinition,
  name: string,
  runtime: string
): Member => ({
  type: `${runtime}.MapHandle`,
  expression: `${runtime}.plain(${TsText.literal(name)}, ${attr.type}, ${attr.keySize})`
})
