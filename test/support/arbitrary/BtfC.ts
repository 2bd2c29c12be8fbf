/**
 * A compilation unit of C declarations, and the BTF that a compiler would make of it.
 *
 * The layout here is an independent model of the System V rules for 64 bits: natural alignment, packed structs, bit
 * fields within a unit of their declared type. It shares nothing with the library but the format.
 */
import * as B from "./BtfBlob.ts"

/** An integer type, by its place in `integers`. */
export interface Integer {
  readonly name: string
  readonly size: 1 | 2 | 4 | 8 | 16
  /** A sum of signed 1, char 2, bool 4. */
  readonly encoding: number
}

/** The integers that programs use, with the names that compilers give them. */
export const integers: ReadonlyArray<Integer> = [
  { name: "int", size: 4, encoding: 1 },
  { name: "char", size: 1, encoding: 1 },
  { name: "unsigned int", size: 4, encoding: 0 },
  { name: "long", size: 8, encoding: 1 },
  { name: "unsigned long", size: 8, encoding: 0 },
  { name: "unsigned char", size: 1, encoding: 0 },
  { name: "short", size: 2, encoding: 1 },
  { name: "unsigned short", size: 2, encoding: 0 },
  { name: "_Bool", size: 1, encoding: 4 },
  { name: "long long", size: 8, encoding: 1 },
  { name: "__int128", size: 16, encoding: 1 }
]

/** The floating-point types. */
export const floats: ReadonlyArray<{ readonly name: string; readonly size: number }> = [
  { name: "float", size: 4 },
  { name: "double", size: 8 },
  { name: "long double", size: 16 },
  { name: "_Float16", size: 2 }
]

/** A type where it is used. */
export type CType =
  | { readonly _tag: "Void" }
  | { readonly _tag: "Int"; readonly index: number }
  | { readonly _tag: "Float"; readonly index: number }
  /** `tags` are type tags of what is pointed to. */
  | {
    readonly _tag: "Pointer"
    readonly to: CType
    readonly tags: ReadonlyArray<{ readonly text: string; readonly attribute: boolean }>
    readonly restrict: boolean
  }
  | { readonly _tag: "Array"; readonly of: CType; readonly length: number }
  | { readonly _tag: "Qualified"; readonly qualifier: "const" | "volatile"; readonly of: CType }
  /** A declaration of the program, by its key. */
  | { readonly _tag: "Named"; readonly key: string }
  | {
    readonly _tag: "Function"
    readonly returns: CType
    readonly params: ReadonlyArray<{ readonly name: string; readonly type: CType }>
    readonly variadic: boolean
  }
  | CComposite
  | CEnum

/** A struct or union. */
export interface CComposite {
  readonly _tag: "Composite"
  readonly union: boolean
  readonly packed: boolean
  readonly members: ReadonlyArray<CMember>
}

/** A member; `bits` of 1 and more make it a bit field. */
export interface CMember {
  /** Empty for an anonymous struct or union. */
  readonly name: string
  readonly type: CType
  readonly bits: number
}

/** An enumeration; of 8 bytes it becomes an ENUM64. */
export interface CEnum {
  readonly _tag: "Enum"
  readonly size: 1 | 2 | 4 | 8
  readonly signed: boolean
  readonly values: ReadonlyArray<{ readonly name: string; readonly value: bigint }>
}

/** A tag on a declaration: on the whole for -1, else on that member or parameter. */
export interface CTag {
  readonly text: string
  readonly component: number
  readonly attribute: boolean
}

/** A declaration. Its key is unique: tags and ordinary names are different name spaces. */
export type CDeclaration =
  & { readonly key: string; readonly name: string; readonly tags: ReadonlyArray<CTag> }
  & (
    | { readonly _tag: "Tagged"; readonly type: CComposite | CEnum }
    | { readonly _tag: "Typedef"; readonly type: CType }
    | { readonly _tag: "Forward"; readonly union: boolean }
    | { readonly _tag: "Func"; readonly linkage: number; readonly type: CType }
    | { readonly _tag: "Var"; readonly linkage: number; readonly type: CType; readonly section: string }
  )

/** Declarations; one refers by value to earlier ones only. */
export interface CProgram {
  readonly declarations: ReadonlyArray<CDeclaration>
}

/** How a program becomes BTF. */
export interface LowerOptions {
  /** Id of the first type. */
  readonly firstId?: number
  /** What an earlier lowering defined, which this one refers to. */
  readonly after?: Lowered
  /** Keys of the declarations to emit, and whatever they need; all unless given. */
  readonly roots?: ReadonlySet<string>
  /** Keys of structs, unions and enums that are declared only, unless they are used by value. */
  readonly forwarded?: ReadonlySet<string>
}

/** The types of a program. */
export interface Lowered {
  readonly types: ReadonlyArray<B.Rec>
  readonly endId: number
  /** Ids of what was emitted: keys of declarations, and spelled out types. */
  readonly ids: ReadonlyMap<string, number>
  /** Keys of structs, unions and enums that are defined, not only declared. */
  readonly defined: ReadonlySet<string>
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

/** Size and alignment in bytes; `undefined` for a type without a size. */
export interface Layout {
  readonly size: number
  readonly align: number
}

/** Where members are, in bits. */
interface Placed extends Layout {
  readonly bits: ReadonlyArray<number>
}

const place = (program: Declarations, composite: CComposite): Placed => {
  let end = 0
  let size = 0
  let align = 1
  const bits: Array<number> = []
  for (const member of composite.members) {
    const layout = layoutOf(program, member.type) ?? { size: 0, align: 1 }
    const unit = layout.size * 8
    const alignment = composite.packed ? 1 : layout.align
    let bit = composite.union ? 0 : end
    if (member.bits === 0) bit = roundUp(bit, alignment * 8)
    else if (bit % unit + member.bits > unit) bit = roundUp(bit, unit)
    end = bit + (member.bits === 0 ? unit : member.bits)
    size = Math.max(size, Math.ceil(end / 8))
    align = Math.max(align, alignment)
    bits.push(bit)
  }
  return { size: roundUp(size, align), align, bits }
}

type Declarations = ReadonlyMap<string, CDeclaration>

const declarationsOf = (program: CProgram): Declarations =>
  new Map(program.declarations.map((declaration) => [declaration.key, declaration]))

/** The size and the alignment of a type. */
export const layoutOf = (program: Declarations, type: CType): Layout | undefined => {
  switch (type._tag) {
    case "Void":
    case "Function":
      return undefined
    case "Int": {
      const size = integers[type.index]?.size ?? 4
      return { size, align: size }
    }
    case "Float": {
      const size = floats[type.index]?.size ?? 4
      return { size, align: size }
    }
    case "Pointer":
      return { size: 8, align: 8 }
    case "Array": {
      const of = layoutOf(program, type.of)
      return of === undefined ? undefined : { size: of.size * type.length, align: of.align }
    }
    case "Qualified":
      return layoutOf(program, type.of)
    case "Named": {
      const declaration = program.get(type.key)
      if (declaration?._tag !== "Tagged" && declaration?._tag !== "Typedef") return undefined
      return layoutOf(program, declaration.type)
    }
    case "Enum":
      return { size: type.size, align: type.size }
    case "Composite":
      return place(program, type)
  }
}

/** Adds the keys of tagged declarations whose definitions a use of this type needs. */
const needs = (program: Declarations, type: CType, keys: Set<string>): void => {
  switch (type._tag) {
    case "Pointer":
      return pointedTo(program, type.to, keys)
    case "Array":
      return needs(program, type.of, keys)
    case "Qualified":
      return needs(program, type.of, keys)
    case "Function":
      needs(program, type.returns, keys)
      for (const param of type.params) needs(program, param.type, keys)
      return
    case "Composite":
      for (const member of type.members) needs(program, member.type, keys)
      return
    case "Named": {
      const declaration = program.get(type.key)
      if (declaration?._tag === "Tagged") {
        if (keys.has(type.key)) return
        keys.add(type.key)
        needs(program, declaration.type, keys)
      } else if (declaration?._tag === "Typedef") needs(program, declaration.type, keys)
      return
    }
    default:
      return
  }
}

/** Behind a pointer only what is spelled out in place needs definitions: an array's elements, parameters by value. */
const pointedTo = (program: Declarations, type: CType, keys: Set<string>): void => {
  if (type._tag === "Qualified") pointedTo(program, type.of, keys)
  else if (type._tag !== "Named") needs(program, type, keys)
}

/** What declarations of a program need to be defined. */
const definitionsNeeded = (program: CProgram, all: Declarations, forwarded: ReadonlySet<string>): Set<string> => {
  const keys = new Set<string>()
  for (const declaration of program.declarations) {
    if (declaration._tag === "Typedef") pointedTo(all, declaration.type, keys)
    else if (declaration._tag === "Tagged") {
      if (!forwarded.has(declaration.key)) { for (const each of membersOf(declaration.type)) needs(all, each, keys) }
    } else if (declaration._tag !== "Forward") needs(all, declaration.type, keys)
  }
  return keys
}

const membersOf = (type: CComposite | CEnum): ReadonlyArray<CType> =>
  type._tag === "Enum" ? [] : type.members.map((member) => member.type)

/** The types of a program, numbered as a compiler might: what is used before or after what uses it. */
export const lower = (program: CProgram, options: LowerOptions = {}): Lowered => {
  const all = declarationsOf(program)
  const firstId = options.after?.endId ?? options.firstId ?? 1
  const ids = new Map(options.after?.ids ?? [])
  const defined = new Set(options.after?.defined ?? [])
  const types: Array<B.Rec> = []
  const needed = definitionsNeeded(program, all, options.forwarded ?? new Set())

  const reserve = (): number => firstId + types.push({ kind: 0 }) - 1
  const fill = (id: number, type: B.Rec): void => {
    types[id - firstId] = type
  }
  const once = (text: string, make: () => B.Rec): number => {
    const known = ids.get(text)
    if (known !== undefined) return known
    const id = reserve()
    ids.set(text, id)
    fill(id, make())
    return id
  }

  const composite = (name: string, type: CComposite): B.Rec => {
    const placed = place(all, type)
    const members = type.members.map((member, index): B.MemberRec => [
      member.name,
      use(member.type),
      placed.bits[index] ?? 0,
      member.bits
    ])
    return (type.union ? B.union : B.struct)(name, placed.size, members)
  }

  const enumeration = (name: string, type: CEnum): B.Rec =>
    type.size === 8
      ? B.enum64(name, 8, type.signed, type.values.map(({ name, value }) => [name, value] as const))
      : B.enumeration(
        name,
        type.size,
        type.signed,
        type.values.map(({ name, value }) => [name, Number(value)] as const)
      )

  const tagged = (name: string, type: CComposite | CEnum): B.Rec =>
    type._tag === "Enum" ? enumeration(name, type) : composite(name, type)

  const proto = (type: Extract<CType, { _tag: "Function" }>): number => {
    const returns = use(type.returns)
    const params = type.params.map(({ name, type }) => [name, use(type)] as const)
    if (type.variadic) params.push(["", 0])
    return once(`proto ${returns} ${JSON.stringify(params)}`, () => B.funcProto(returns, params))
  }

  const use = (type: CType): number => {
    switch (type._tag) {
      case "Void":
        return 0
      case "Int": {
        const { encoding, name, size } = integers[type.index] ?? { name: "int", size: 4, encoding: 1 }
        return once(`int ${name}`, () => B.int(name, size, encoding))
      }
      case "Float": {
        const { name, size } = floats[type.index] ?? { name: "float", size: 4 }
        return once(`float ${name}`, () => B.float(name, size))
      }
      case "Pointer": {
        let to = use(type.to)
        for (const { attribute, text } of type.tags) {
          const tagged = to
          to = once(`tag ${text} ${attribute} ${tagged}`, () => B.typeTag(text, tagged, attribute))
        }
        const pointer = once(`ptr ${to}`, () => B.ptr(to))
        return type.restrict ? once(`restrict ${pointer}`, () => B.restrict(pointer)) : pointer
      }
      case "Array": {
        const of = use(type.of)
        const index = once("int __ARRAY_SIZE_TYPE__", () => B.int("__ARRAY_SIZE_TYPE__", 4))
        return once(`array ${of} ${type.length}`, () => B.array(of, index, type.length))
      }
      case "Qualified": {
        const of = use(type.of)
        return once(`${type.qualifier} ${of}`, () => (type.qualifier === "const" ? B.constant : B.volatile)(of))
      }
      case "Function":
        return proto(type)
      case "Composite":
      case "Enum": {
        const id = reserve()
        fill(id, tagged("", type))
        return id
      }
      case "Named":
        return declare(type.key)
    }
  }

  const declare = (key: string): number => {
    const known = ids.get(key)
    if (known !== undefined) return known
    const declaration = all.get(key)
    if (declaration === undefined) throw new Error(`no declaration ${key}`)
    const id = reserve()
    ids.set(key, id)
    const isForwarded = options.forwarded?.has(key) === true && !needed.has(key)
    if (declaration._tag === "Tagged" && isForwarded) {
      fill(
        id,
        declaration.type._tag === "Composite"
          ? B.fwd(declaration.name, declaration.type.union)
          : enumeration(declaration.name, { ...declaration.type, size: 4, signed: false, values: [] })
      )
      return id
    }
    switch (declaration._tag) {
      case "Tagged":
        defined.add(key)
        fill(id, tagged(declaration.name, declaration.type))
        break
      case "Typedef":
        fill(id, B.typedef(declaration.name, use(declaration.type)))
        break
      case "Forward":
        fill(id, B.fwd(declaration.name, declaration.union))
        break
      case "Func":
        fill(id, B.func(declaration.name, use(declaration.type), declaration.linkage))
        break
      case "Var":
        fill(id, B.variable(declaration.name, use(declaration.type), declaration.linkage))
        break
    }
    for (const { attribute, component, text } of declaration.tags) {
      fill(reserve(), B.declTag(text, id, component, attribute))
    }
    return id
  }

  const sections = new Map<string, Array<CDeclaration & { readonly _tag: "Var" }>>()
  for (const declaration of program.declarations) {
    if (options.roots?.has(declaration.key) === false || ids.has(declaration.key)) continue
    declare(declaration.key)
    if (declaration._tag !== "Var") continue
    sections.set(declaration.section, [...(sections.get(declaration.section) ?? []), declaration])
  }
  for (const [name, variables] of sections) {
    let end = 0
    const entries: Array<readonly [number, number, number]> = []
    for (const variable of variables) {
      const { align, size } = layoutOf(all, variable.type) ?? { size: 0, align: 1 }
      const offset = roundUp(end, align)
      const bytes = Math.max(1, size)
      entries.push([ids.get(variable.key) ?? 0, offset, bytes])
      end = offset + bytes
    }
    fill(reserve(), B.datasec(name, end, entries))
  }
  return { types, endId: firstId + types.length, ids, defined }
}
