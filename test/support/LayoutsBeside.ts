/** The layouts that generated codecs say, beside clang's. */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfValue from "../../src/btf/BtfValue.ts"
import type { Place } from "../../src/btf/LayoutCodec.ts"
import * as TsCodecs from "../../src/stages/gen/skeleton/TsCodecs.ts"
import type { ClangRecord } from "./ClangLayouts.ts"
import { runCodecs } from "./TsModule.ts"

/** Structs and unions that have a name which no other type of C's tags has, by the name as C spells it. */
export const namedRecords = (btf: Btf.Btf): ReadonlyMap<string, number> => {
  const tags = new Set([Btf.BTF_KIND_STRUCT, Btf.BTF_KIND_UNION, Btf.BTF_KIND_ENUM, Btf.BTF_KIND_ENUM64])
  const found = new Map<string, ReadonlyArray<number>>()
  for (let id = 1; id < btf.endId; id++) {
    const name = Btf.nameOf(btf, id)
    if (name !== "" && tags.has(Btf.kindOf(btf, id))) found.set(name, [...found.get(name) ?? [], id])
  }
  return new Map([...found.values()].flatMap(([id = 0, ...others]) => {
    const kind = Btf.kindOf(btf, id)
    const isRecord = kind === Btf.BTF_KIND_STRUCT || kind === Btf.BTF_KIND_UNION
    return others.length === 0 && isRecord ? [[Btf.typeName(btf, id), id] as const] : []
  }))
}

const placed = (place: Place): string =>
  "bits" in place ? `${place.bits} bits at ${place.bitOffset}` : `at ${place.offset * 8}`

/** What differs between the layouts in the module of these types and clang's; and how many members were compared. */
export const layoutDifferences = (
  btf: Btf.Btf,
  records: ReadonlyMap<string, ClangRecord>,
  change: (text: string) => string = (text) => text
): { readonly compared: number; readonly bitFields: number; readonly differences: ReadonlyArray<string> } => {
  const codecs = TsCodecs.make(btf, { runtime: "LayoutCodec" })
  const differences: Array<string> = []
  const asked = [...namedRecords(btf)].flatMap(([name, id]) => {
    const record = records.get(name)
    if (record === undefined) return []
    const codec = TsCodecs.codecOf(codecs, id)
    // Some are made to be deeper than values go.
    const value = Result.isFailure(codec) ? BtfValue.decode(btf, id, new Uint8Array(record.size)) : undefined
    if (Result.isFailure(codec) && value !== undefined && Result.isSuccess(value)) {
      differences.push(`${name}: ${codec.failure.message}`)
    }
    return Result.isFailure(codec) ? [] : [{ name, record, codec: codec.success }]
  })
  const module = runCodecs(change(TsCodecs.text(codecs)))
  let compared = 0
  let bitFields = 0
  for (const { codec, name, record } of asked) {
    const generated = module.get(codec.codec)
    if (generated === undefined || generated.size !== record.size) {
      differences.push(`${name}: ${generated?.size} bytes, by clang ${record.size}`)
    }
    const layout = new Map(Object.entries(generated?.layout ?? {}))
    for (const [member, { bitOffset, bits }] of record.members) {
      const ours = layout.get(member)
      layout.delete(member)
      const theirs = bits === 0 ? `at ${bitOffset}` : `${bits} bits at ${bitOffset}`
      if (ours === undefined || placed(ours) !== theirs) {
        differences.push(`${name}.${member}: ${ours === undefined ? "missing" : placed(ours)}, by clang ${theirs}`)
      }
      compared++
      if (bits !== 0) bitFields++
    }
    for (const member of layout.keys()) differences.push(`${name}.${member}: clang has no such member`)
  }
  return { compared, bitFields, differences }
}
