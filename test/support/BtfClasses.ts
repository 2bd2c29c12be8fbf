/**
 * Which types are equal by structure: the judge of dedup.
 *
 * Types are equal when nothing that can be reached from them differs. That is computed by refining classes, not by
 * comparing graphs: at first types are of one class when their records are equal apart from the types that they refer
 * to, and classes are divided by the classes of what their types refer to until none is. It reads types as objects and
 * knows nothing of how dedup works.
 */
import * as Btf from "../../src/btf/Btf.ts"

/** Options of `classes`. */
export interface ClassOptions {
  /**
   * Keys of declarations, as `declarations` answers them: a struct, union or enum with such a key equals everything with
   * the same one, whatever it has in it.
   */
  readonly declared?: ReadonlySet<string>
  /** Each variable and section is of a class of its own. */
  readonly distinctVariables?: boolean
}

/** What a declaration and the definition of the same type have in common. */
const declarationKey = (type: Btf.BtfType): string | undefined => {
  if (type._tag === "Void" || type.name === "") return undefined
  if (type._tag === "Struct" || type._tag === "Union") return `${type._tag} ${type.name}`
  if (type._tag === "Fwd") return `${type.forward === "struct" ? "Struct" : "Union"} ${type.name}`
  return type._tag === "Enum" || type._tag === "Enum64" ? `Enum ${type.name}` : undefined
}

/** Whether a type is declared and not defined. */
export const isDeclaration = (type: Btf.BtfType): boolean =>
  type._tag === "Fwd" ||
  ((type._tag === "Enum" || type._tag === "Enum64") && type.values.length === 0 && type.name !== "")

/** The keys of all types that a blob, its bases included, declares without a definition. */
export const declarations = (btf: Btf.Btf): ReadonlySet<string> => {
  const keys = new Set<string>()
  for (let id = 1; id < btf.endId; id++) {
    const type = Btf.typeOf(btf, id)
    const key = declarationKey(type)
    if (key !== undefined && isDeclaration(type)) keys.add(key)
  }
  return keys
}

/** The record of a type without the types that it refers to, and these in order. */
const taken = (btf: Btf.Btf, id: number): readonly [record: string, references: ReadonlyArray<number>] => {
  const references: Array<number> = []
  const kind = Btf.kindOf(btf, id)
  const record = JSON.stringify(Btf.typeOf(btf, id), (key, value: unknown) => {
    if (key === "id") return undefined
    if (typeof value === "bigint") return `${value}n`
    // A FWD's is no reference.
    if ((key === "type" || key === "indexType" || key === "returnType") && typeof value === "number") {
      references.push(value)
      return undefined
    }
    return value
  })
  // Words that the object does not tell of belong to the record all the same.
  const flags = `${kind} ${Btf.kflagOf(btf, id)} ${Btf.vlenOf(btf, id)} ${
    references.length === 0 ? Btf.sizeOrTypeOf(btf, id) : ""
  }`
  return [`${flags} ${record}`, references]
}

/** The record of a type, names and numbers but no ids. */
export const recordOf = (btf: Btf.Btf, id: number): string => taken(btf, id)[0]

/** The class of each type of each blob, bases included: one array for each blob, by id. */
export const classes = (
  blobs: ReadonlyArray<Btf.Btf>,
  options: ClassOptions = {}
): ReadonlyArray<ReadonlyArray<number>> => {
  const records: Array<string> = []
  const references: Array<ReadonlyArray<number>> = []
  const starts: Array<number> = []
  for (const [index, btf] of blobs.entries()) {
    const start = records.length
    starts.push(start)
    for (let id = 0; id < btf.endId; id++) {
      const type = Btf.typeOf(btf, id)
      const key = declarationKey(type)
      if (key !== undefined && options.declared?.has(key) === true) {
        records.push(key)
        references.push([])
      } else if (options.distinctVariables === true && (type._tag === "Var" || type._tag === "Datasec")) {
        records.push(`${type._tag} ${index} ${id}`)
        references.push([])
      } else {
        const [record, ids] = taken(btf, id)
        records.push(record)
        references.push(ids.map((to) => start + to))
      }
    }
  }
  let colours = number(records)
  for (;;) {
    const before = new Set(colours).size
    const now = colours
    colours = number(now.map((colour, node) => [colour, ...(references[node] ?? []).map((to) => now[to])].join(" ")))
    if (new Set(colours).size === before) break
  }
  return starts.map((start, index) => colours.slice(start, starts[index + 1] ?? colours.length))
}

const number = (keys: ReadonlyArray<string>): ReadonlyArray<number> => {
  const known = new Map<string, number>()
  return keys.map((key) => {
    const colour = known.get(key) ?? known.size
    known.set(key, colour)
    return colour
  })
}
