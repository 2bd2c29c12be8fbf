/**
 * Structs and accesses of them as C, for clang: both sides of a CO-RE relocation as a compiler makes them.
 *
 * Where clang puts a field is read out of constants: its `offsetof` and `sizeof`, and one struct in which it alone has all
 * its bits set. That says which bits a field has, for bit fields too, without any type information.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Experiment } from "../unit/stages/relocate/core/Accesses.ts"
import {
  elementOf,
  type FieldType,
  hasBits,
  indicesOf,
  isPacked,
  type Item,
  type Wrapper
} from "../unit/stages/relocate/core/Structs.ts"
import { elfSection, type Order } from "./arbitrary/BtfBlob.ts"
import { run, temporaryFolder } from "./Require.ts"

const integers = { 1: "char", 2: "short", 4: "int", 8: "long long" } as const

const integer = (bytes: 1 | 2 | 4 | 8, signed: boolean): string =>
  `${signed ? "signed" : "unsigned"} ${integers[bytes]}`

/** What is declared before the struct, and a counter for names of it. */
interface Prologue {
  readonly lines: Array<string>
  readonly name: string
  count: number
}

/** A type before and behind the name of what it declares. */
type Declarator = readonly [before: string, behind: string]

const declarator = (type: FieldType, prologue: Prologue): Declarator => {
  switch (type._tag) {
    case "Int":
      return [integer(type.bytes, type.signed), ""]
    case "Bits":
      return [integer(type.bytes, type.signed), ` : ${type.bits}`]
    case "Pointer":
      return ["void *", ""]
    case "Enum": {
      // Anonymous, since each is of another name than that of the other side; what it is is decided by its values.
      const values = [type.signed ? "-1" : "1", ...(type.wide ? ["0x100000000"] : [])]
      const names = values.map((value, index) => `E_${prologue.name}_${prologue.count}_${index} = ${value}`)
      prologue.count++
      return [`enum { ${names.join(", ")} }`, ""]
    }
    case "Array":
      return [integer(type.bytes, false), dimensions(type.lengths)]
    case "Struct":
      return [body("struct", type, prologue), ""]
    case "Structs":
      return [body("struct", type, prologue), dimensions(type.lengths)]
  }
}

const dimensions = (lengths: ReadonlyArray<number>): string => lengths.map((length) => `[${length}]`).join("")

const body = (
  keyword: string,
  { items, packed }: { readonly items: ReadonlyArray<Item>; readonly packed: boolean },
  prologue: Prologue
): string => {
  const fields = items.map((item) => `${field(item, prologue)};`).join(" ")
  return `${keyword} { ${fields} }${isPacked({ items, packed }) ? " __attribute__((packed))" : ""}`
}

const field = (item: Item, prologue: Prologue): string => {
  if (item._tag === "Anonymous") return body(item.union ? "union" : "struct", item, prologue)
  const [before, behind] = through(item.type, item.through ?? [], prologue)
  return `${before} ${item.name}${behind}`
}

/** The declarator with wrappers around the type. */
const through = (type: FieldType, wrappers: ReadonlyArray<Wrapper>, prologue: Prologue): Declarator => {
  const [before, behind] = declarator(type, prologue)
  let type_ = before
  let suffix = behind
  for (const wrapper of wrappers) {
    if (wrapper === "typedef") {
      const alias = `t_${prologue.name}_${prologue.count++}`
      // A width belongs to the member; dimensions belong to the type.
      const isWidth = suffix.startsWith(" :")
      prologue.lines.push(`typedef ${type_} ${alias}${isWidth ? "" : suffix};`)
      type_ = alias
      if (!isWidth) suffix = ""
    } else type_ = type_.endsWith("*") ? `${type_} ${wrapper}` : `${wrapper} ${type_}`
  }
  return [type_, suffix]
}

/** The definition of a struct, with what it needs before it. */
export const structC = (name: string, items: ReadonlyArray<Item>): string => {
  const prologue: Prologue = { lines: [], name, count: 0 }
  const text = body(`struct ${name}`, { items, packed: false }, prologue)
  return [...prologue.lines, `${text};`].join("\n")
}

/** A field by its path, `a`, `b.c`, `d[1][0]`, `e[1].f`, and what is there. */
export interface Field {
  readonly path: string
  readonly type: FieldType
}

/** All fields of a struct that a program can name: members, elements of arrays, and members of those. */
export const fieldsOf = (items: ReadonlyArray<Item>): ReadonlyArray<Field> =>
  items.flatMap((item): ReadonlyArray<Field> => {
    if (item._tag === "Anonymous") return fieldsOf(item.items)
    const { name, type } = item
    const whole: Field = { path: name, type }
    switch (type._tag) {
      case "Struct":
        return [whole, ...fieldsOf(type.items).map((inner) => ({ ...inner, path: `${name}.${inner.path}` }))]
      case "Array":
      case "Structs":
        return [
          whole,
          ...indicesOf(type.lengths).flatMap((indices): ReadonlyArray<Field> => {
            const path = name + indices.map((index) => `[${index}]`).join("")
            const element = elementOf(type, type.lengths.slice(indices.length))
            const inner = element._tag === "Struct" ? fieldsOf(element.items) : []
            return [
              { path, type: element },
              ...inner.map((field) => ({ ...field, path: `${path}.${field.path}` }))
            ]
          })
        ]
      default:
        return [whole]
    }
  })

/** Whether a field is a number or a pointer. */
export const isScalar = ({ type }: Field): boolean =>
  type._tag !== "Array" && type._tag !== "Struct" && type._tag !== "Structs"

const allOnes = ({ path, type }: Field): string =>
  `.${path} = ${type._tag === "Pointer" ? "(void *)-1" : type._tag === "Enum" ? `(typeof(((S *)0)->${path}))-1` : "-1"}`

const cases = (
  experiments: ReadonlyArray<Experiment>
): ReadonlyArray<{ readonly mine: string; readonly theirs: string }> =>
  experiments.map(({ names }, index) => ({
    mine: names[0].replace(/^s/, `s${index}`),
    theirs: names[1].replace(/^s/, `s${index}`)
  }))

/** The struct of one side, and for each scalar field of it a constant in which that alone is not 0. */
const constants = (
  side: "mine" | "theirs",
  name: string,
  index: number,
  items: ReadonlyArray<Item>
): ReadonlyArray<string> => [
  structC(name, items),
  `typedef struct ${name} S_${side}_${index};`,
  ...fieldsOf(items).filter(isScalar).map((field, position) =>
    `const volatile struct ${name} m_${side}_${index}_${position} = { ${
      allOnes(field).replace("(S *)", `(S_${side}_${index} *)`)
    } };`
  ),
  `const volatile unsigned long places_${side}_${index}[] = { sizeof(struct ${name}), ${
    fieldsOf(items).map(({ path, type }) =>
      type._tag === "Bits"
        ? "-1, -1"
        : `__builtin_offsetof(struct ${name}, ${path}), sizeof(((struct ${name} *)0)->${path})`
    ).join(", ")
  } };`
]

/** Kinds of `__builtin_preserve_field_info`, which are those of the relocations. */
const infos = { byte_off: 0, byte_sz: 1, field_exists: 2, signed: 3, lshift_u64: 4, rshift_u64: 5 } as const

/** The kinds that clang takes for a field. */
const kindsOf = (field: Field): ReadonlyArray<keyof typeof infos> => {
  const always = ["byte_off", "byte_sz", "field_exists"] as const
  if (!isScalar(field) || field.path.endsWith("]")) return always
  const number = [...always, "lshift_u64", "rshift_u64"] as const
  return field.type._tag === "Pointer" ? number : [...number, "signed"]
}

/** The programs: one for each experiment, that asks everything of each field and loads it where one load can. */
const programs = (experiments: ReadonlyArray<Experiment>): string => {
  const lines = [
    "#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)",
    ...experiments.flatMap(({ mine }, index) => structC(cases(experiments)[index]?.mine ?? "", mine)),
    "#pragma clang attribute pop"
  ]
  experiments.forEach(({ mine }, index) => {
    const name = cases(experiments)[index]?.mine ?? ""
    lines.push(
      `__attribute__((section("socket"), used)) int p${index}(struct ${name} *p) {`,
      "  volatile unsigned long long sink;",
      ...fieldsOf(mine).flatMap((field) => [
        ...kindsOf(field).map((kind) => `  sink = __builtin_preserve_field_info(p->${field.path}, ${infos[kind]});`),
        ...(isScalar(field) && field.type._tag !== "Bits"
          ? [
            // Through a pointer, which clang takes for aligned: of a packed member it would load the bytes one by one.
            `  { const volatile void *at = &p->${field.path};`,
            `    sink = (unsigned long long)*(volatile typeof(p->${field.path}) *)at; }`
          ]
          : [])
      ]),
      "  return 0;",
      "}"
    )
  })
  lines.push(`char gpl[] __attribute__((section("license"), used)) = "GPL";`)
  return lines.join("\n")
}

const compile = (folder: string, name: string, source: string, order: Order): Uint8Array => {
  Fs.writeFileSync(Path.join(folder, `${name}.c`), `${source}\n`)
  const target = order === "little" ? "bpfel" : "bpfeb"
  const flags = ["-target", target, "-mcpu=v3", "-O2", "-g", "-Wno-everything", "-c", `${name}.c`, "-o", `${name}.o`]
  const done = run("clang", flags, { cwd: folder })
  if (done.status !== 0) throw new Error(`clang: ${done.stderr.slice(0, 4000)}`)
  return new Uint8Array(Fs.readFileSync(Path.join(folder, `${name}.o`)))
}

/** The bytes of each constant, by name. */
const constantsOf = (folder: string, name: string, object: Uint8Array): ReadonlyMap<string, Uint8Array> => {
  const area = elfSection(object, ".rodata")
  const done = run("llvm-nm", ["--defined-only", "-S", `${name}.o`], { cwd: folder })
  const found = new Map<string, Uint8Array>()
  for (const line of done.stdout.trimEnd().split("\n")) {
    const [at = "", size = "", , symbol = ""] = line.split(" ")
    const start = Number.parseInt(at, 16)
    found.set(symbol, area.subarray(start, start + Number.parseInt(size, 16)))
  }
  return found
}

/**
 * The same experiment as far as clang 19 can compile accesses of it. It loses an index of an array of arrays of structs, and
 * gives up on bit fields that are wider than what it takes for the alignment of their struct: where the program has any,
 * each begins at an aligned place, and nothing beside it is packed. The kernel's structs are as they come.
 */
export const compilable = (experiment: Experiment): Experiment => ({
  ...experiment,
  mine: aligned(flattened(experiment.mine, !hasBits(experiment.mine)), { next: 0 }),
  theirs: flattened(experiment.theirs, true)
})

const flattened = (items: ReadonlyArray<Item>, mayPack: boolean): ReadonlyArray<Item> => {
  const inside = <A extends { readonly items: ReadonlyArray<Item>; readonly packed: boolean }>(outer: A): A => ({
    ...outer,
    items: flattened(outer.items, mayPack),
    packed: mayPack && outer.packed
  })
  return items.map((item): Item => {
    if (item._tag === "Anonymous") return inside(item)
    const { type } = item
    if (type._tag === "Struct") return { ...item, type: inside(type) }
    if (type._tag !== "Structs") return item
    const length = type.lengths.reduce((product, each) => product * each, 1)
    return { ...item, type: { ...inside(type), lengths: [length] } }
  })
}

/** Puts an integer of its declared type before each bit field, so that it begins at an aligned place. */
const aligned = (items: ReadonlyArray<Item>, names: { next: number }): ReadonlyArray<Item> =>
  items.flatMap((item): ReadonlyArray<Item> => {
    if (item._tag === "Anonymous") return [{ ...item, items: aligned(item.items, names) }]
    const { type } = item
    if (type._tag === "Bits") {
      const before: FieldType = { _tag: "Int", bytes: type.bytes, signed: false }
      return [{ _tag: "Field", name: `before${names.next++}`, type: before }, item]
    }
    if (type._tag !== "Struct" && type._tag !== "Structs") return [item]
    return [{ ...item, type: { ...type, items: aligned(type.items, names) } }]
  })

/** Where clang puts a field. */
export interface Placed {
  readonly type: FieldType
  /** `offsetof` and `sizeof`; of a bit field neither. */
  readonly offset: number | undefined
  readonly size: number | undefined
  /** Of a scalar: the struct's bytes in which its bits are set and no others. */
  readonly mask: Uint8Array | undefined
}

/** A struct as clang lays it out. */
export interface Placing {
  readonly bytes: number
  readonly fields: ReadonlyMap<string, Placed>
}

/** What clang makes of experiments. */
export interface Compiled {
  /** One program for each, `p0`, `p1` and so on, that asks for all fields of its own struct. */
  readonly object: Uint8Array
  /** The types of all kernels' structs. */
  readonly kernel: Uint8Array
  readonly layouts: ReadonlyArray<{ readonly mine: Placing; readonly theirs: Placing }>
}

/** Compiles all experiments: their programs, and both sides' constants, in three runs of clang. */
export const compileAll = (experiments: ReadonlyArray<Experiment>, order: Order): Compiled => {
  const folder = temporaryFolder()
  const names = cases(experiments)
  const object = compile(folder, "programs", programs(experiments), order)
  // Both sides may have the same name: each is a file of its own. Only the kernels' types count.
  const sides = (["mine", "theirs"] as const).map((side) => {
    const source = experiments.flatMap((each, index) => constants(side, names[index]?.[side] ?? "", index, each[side]))
    const bytes = compile(folder, side, source.join("\n"), order)
    return { bytes, values: constantsOf(folder, side, bytes) }
  })
  const [own, kernel] = sides
  if (own === undefined || kernel === undefined) throw new Error("clang gave nothing")
  const placing = (
    side: "mine" | "theirs",
    values: ReadonlyMap<string, Uint8Array>,
    items: ReadonlyArray<Item>,
    index: number
  ): Placing => {
    const valueOf = (name: string): Uint8Array => {
      const bytes = values.get(`${name}_${side}_${index}`) ?? values.get(name)
      if (bytes === undefined) throw new Error(`no constant ${name} of ${side} ${index}`)
      return bytes
    }
    const places = valueOf("places")
    const view = new DataView(places.buffer, places.byteOffset)
    const word = (at: number): number | undefined => {
      const value = view.getBigInt64(at * 8, order === "little")
      return value < 0n ? undefined : Number(value)
    }
    let scalars = 0
    const fields = new Map<string, Placed>()
    fieldsOf(items).forEach((field, position) => {
      const mask = isScalar(field) ? valueOf(`m_${side}_${index}_${scalars++}`) : undefined
      fields.set(field.path, { type: field.type, offset: word(1 + position * 2), size: word(2 + position * 2), mask })
    })
    return { bytes: word(0) ?? 0, fields }
  }
  return {
    object,
    kernel: elfSection(kernel.bytes, ".BTF"),
    layouts: experiments.map(({ mine, theirs }, index) => ({
      mine: placing("mine", own.values, mine, index),
      theirs: placing("theirs", kernel.values, theirs, index)
    }))
  }
}
