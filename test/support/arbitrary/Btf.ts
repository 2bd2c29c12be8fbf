/**
 * Arbitrary BTF, written by an encoder of the tests' own.
 *
 * - Well-formed: what compilers make of C, right in sizes, offsets and names: `wellFormed`, `split`, `units`, `programs`.
 * - Nearly well-formed: the format is kept, the meaning need not be: cycles, wrong sizes, odd names: `nearlyWellFormed`.
 * - Hostile: bytes that were damaged: `hostile`.
 */
import * as fc from "fast-check"
import * as B from "./BtfBlob.ts"
import { floats, integers, layoutOf, lower } from "./BtfC.ts"
import type { CComposite, CDeclaration, CEnum, CMember, CProgram, CTag, CType, LowerOptions, Lowered } from "./BtfC.ts"
import { damage, damages, order, validTypes } from "./BtfOdd.ts"

export { damage, damages, order, validTypes } from "./BtfOdd.ts"
export type { Damage } from "./BtfOdd.ts"

/** A blob, and what it was written from. */
export interface Blob {
  readonly types: ReadonlyArray<B.Rec>
  readonly options: B.BlobOptions
  readonly bytes: Uint8Array
}

/** Which programs are made. */
export interface ProgramOptions {
  /** The most declarations; 12 unless given. */
  readonly maxLength?: number
  /** Only what a kernel takes from an object that a loader has prepared: nothing extern. */
  readonly loadable?: boolean
  /** Without variables and sections, which dedup keeps apart. */
  readonly withoutVariables?: boolean
}

/** The types that a declaration may refer to, and how deeply each is nested. */
interface Scope {
  readonly declarations: Map<string, CDeclaration>
  /** Keys of complete types, with how many types lie within one another in them. */
  readonly complete: Map<string, number>
  /** Keys of everything a pointer may point to; later declarations too. */
  readonly pointees: ReadonlyArray<string>
}

/** Types are made once it is known what else is declared. */
type Maker<A> = (scope: Scope) => A

/** Kernels follow 32 references and no more; a declaration within this depth stays clear of that. */
const MAX_DEPTH = 4

const index = fc.nat(999)

const pick = <A>(from: ReadonlyArray<A>, at: number): A | undefined =>
  from.length === 0 ? undefined : from[at % from.length]

const integer: fc.Arbitrary<CType> = fc.nat(integers.length - 1).map((index) => ({ _tag: "Int", index }))
const floating: fc.Arbitrary<CType> = fc.nat(floats.length - 1).map((index) => ({ _tag: "Float", index }))

/** What bit fields have: no character, no 128 bits. */
const fieldInteger: fc.Arbitrary<CType> = fc.constantFrom(0, 2, 3, 4, 5, 6, 7, 8).map((index) => ({
  _tag: "Int",
  index
}))

const always = <A>(arbitrary: fc.Arbitrary<A>): fc.Arbitrary<Maker<A>> => arbitrary.map((value) => () => value)

const completeNamed: fc.Arbitrary<Maker<CType>> = index.map((at) => (scope) => {
  const keys = [...scope.complete].filter(([, depth]) => depth < MAX_DEPTH).map(([key]) => key)
  const key = pick(keys, at)
  return key === undefined ? { _tag: "Int", index: 0 } : { _tag: "Named", key }
})

const anyNamed: fc.Arbitrary<Maker<CType>> = index.map((at) => (scope) => {
  // A typedef has to be declared before; a struct is declared by being named.
  const keys = scope.pointees.filter((key) => scope.declarations.has(key) || !key.startsWith("typedef "))
  const key = pick(keys, at)
  return key === undefined ? { _tag: "Void" } : { _tag: "Named", key }
})

const typeTags = fc.oneof(
  { weight: 5, arbitrary: fc.constant([]) },
  {
    weight: 1,
    arbitrary: fc.array(fc.record({ text: fc.constantFrom("rcu", "user", "percpu"), attribute: fc.boolean() }), {
      maxLength: 2
    })
  }
)

const qualified = (type: fc.Arbitrary<Maker<CType>>): fc.Arbitrary<Maker<CType>> =>
  fc.tuple(
    fc.constantFrom<ReadonlyArray<"const" | "volatile">>([], [], ["const"], ["volatile"], ["const", "volatile"]),
    type
  )
    .map(([qualifiers, make]) => (scope) =>
      qualifiers.reduce<CType>((of, qualifier) => ({ _tag: "Qualified", qualifier, of }), make(scope))
    )

const functionType = (depth: number, named: boolean): fc.Arbitrary<Maker<CType>> =>
  fc.tuple(
    fc.oneof(always(fc.constant<CType>({ _tag: "Void" })), parameterType(depth)),
    fc.array(parameterType(depth), { maxLength: 3 }),
    fc.boolean(),
    named ? fc.constant(true) : fc.boolean()
  ).map(([returns, params, variadic, names]) => (scope) => ({
    _tag: "Function",
    returns: returns(scope),
    params: params.map((make, at) => ({ name: names ? `p${at}` : "", type: make(scope) })),
    variadic: variadic && params.length > 0
  }))

const pointer = (depth: number): fc.Arbitrary<Maker<CType>> =>
  fc.tuple(
    fc.oneof(
      { weight: 5, arbitrary: qualified(anyNamed) },
      { weight: 1, arbitrary: qualified(always(fc.constant<CType>({ _tag: "Void" }))) },
      { weight: 1, arbitrary: qualified(always(integer)) },
      ...(depth === 0 ? [] : [
        { weight: 1, arbitrary: functionType(depth - 1, false) },
        { weight: 1, arbitrary: valueType(depth - 1) }
      ])
    ),
    typeTags,
    fc.nat(9)
  ).map(([to, tags, restrict]) => (scope) => ({ _tag: "Pointer", to: to(scope), tags, restrict: restrict === 0 }))

const parameterType = (depth: number): fc.Arbitrary<Maker<CType>> =>
  fc.oneof(always(integer), pointer(depth), completeNamed)

const valueType = (depth: number): fc.Arbitrary<Maker<CType>> =>
  fc.oneof(
    { weight: 4, arbitrary: qualified(always(integer)) },
    { weight: 1, arbitrary: always(floating) },
    { weight: 4, arbitrary: pointer(depth) },
    { weight: 4, arbitrary: qualified(completeNamed) },
    ...(depth === 0 ? [] : [
      {
        weight: 3,
        arbitrary: fc.tuple(valueType(depth - 1), fc.integer({ min: 0, max: 5 })).map(
          ([of, length]): Maker<CType> => (scope) => ({ _tag: "Array", of: of(scope), length })
        )
      },
      { weight: 2, arbitrary: composite(depth - 1, "i") },
      { weight: 1, arbitrary: enumeration("") }
    ])
  )

const enumerators = (prefix: string, least: bigint, most: bigint) =>
  fc.array(fc.oneof(fc.bigInt({ min: least, max: most }), fc.constantFrom(least, most, 0n)), {
    minLength: 1,
    maxLength: 5
  }).map((values) => values.map((value, at) => ({ name: `${prefix}${at}`, value })))

/** An enum; its values are made unique by the declaration that it is in. */
const enumeration = (prefix: string): fc.Arbitrary<Maker<CEnum>> =>
  fc.tuple(fc.constantFrom(4 as const, 1 as const, 2 as const, 8 as const), fc.boolean()).chain(([size, signed]) => {
    const bits = BigInt(size * 8)
    const [least, most] = signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n]
    return enumerators(`${prefix}E`, least, most).map((values): CEnum => ({ _tag: "Enum", size, signed, values }))
  }).map((type) => () => type)

const memberNames = ["state", "next", "flags", "data", "len", "ops"]

/** A struct or union; members get names that are unique within it. */
const composite = (depth: number, prefix: string): fc.Arbitrary<Maker<CComposite>> => {
  const member = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ type: valueType(depth), bits: fc.constant(0), anonymous: fc.constant(false) })
    },
    {
      weight: 2,
      arbitrary: fc.record({
        type: always(fieldInteger),
        bits: fc.integer({ min: 1, max: 40 }),
        anonymous: fc.constant(false)
      })
    },
    ...(depth === 0 ? [] : [{
      weight: 2,
      arbitrary: fc.record({
        type: composite(depth - 1, `${prefix}a`),
        bits: fc.constant(0),
        anonymous: fc.constant(true)
      })
    }])
  )
  return fc.record({
    union: fc.nat(3).map((value) => value === 0),
    packed: fc.nat(7).map((value) => value === 0),
    members: fc.array(fc.tuple(member, fc.constantFrom(...memberNames)), { maxLength: 5 }),
    flexible: fc.option(fc.tuple(always(integer), fc.constantFrom(...memberNames)), { freq: 6 })
  }).map(({ flexible, members, packed, union }) => (scope) => {
    const made = members.map(([{ anonymous, bits, type }, name], at): CMember => {
      const made = type(scope)
      const width = (layoutOf(scope.declarations, made)?.size ?? 4) * 8
      const isBool = made._tag === "Int" && integers[made.index]?.encoding === 4
      // An anonymous member's own members count as this one's, so its place is part of their names.
      return {
        name: anonymous ? "" : `${prefix}${name}${at}`,
        type: anonymous ? renamed(made, `m${at}`) : made,
        bits: isBool ? Math.min(bits, 1) : Math.min(bits, width)
      }
    })
    if (flexible !== null && !union && made.length > 0) {
      const [of, name] = flexible
      const type: CType = { _tag: "Array", of: of(scope), length: 0 }
      made.push({ name: `${prefix}${name}${made.length}`, type, bits: 0 })
    }
    return { _tag: "Composite", union, packed, members: made }
  })
}

/** The members of an anonymous composite with a prefix that says where it is. */
const renamed = (type: CType, prefix: string): CType =>
  type._tag !== "Composite" ? type : {
    ...type,
    members: type.members.map((member) =>
      member.name === ""
        ? { ...member, type: renamed(member.type, prefix) }
        : { ...member, name: `${prefix}${member.name}` }
    )
  }

const tagNames = ["task", "list_head", "sk_buff", "file", "a"]

/** A declaration in the making: its names are known before its types. */
interface Draft {
  readonly key: string
  readonly pointee: boolean
  readonly make: Maker<CDeclaration>
}

const tags = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  {
    weight: 1,
    arbitrary: fc.array(
      fc.record({
        text: fc.constantFrom("kptr", "tag_b", "tag_c"),
        component: fc.integer({ min: -1, max: 3 }),
        attribute: fc.nat(4)
      }),
      { maxLength: 3 }
    )
  }
).map((list) => list.map((tag) => ({ ...tag, attribute: tag.attribute === 0 })))

/** Tags whose component exists, each once. */
const tagsFor = (list: ReadonlyArray<CTag>, components: number): ReadonlyArray<CTag> => {
  const seen = new Set<string>()
  return list.filter((tag) => {
    const text = `${tag.text} ${tag.component} ${tag.attribute}`
    const fits = tag.component < components && !seen.has(text)
    seen.add(text)
    return fits
  })
}

const declaration = (options: ProgramOptions) => {
  const linkages = options.loadable === true ? [0, 1] : [0, 1, 2]
  const tagged = fc.oneof({ weight: 5, arbitrary: composite(2, "") }, { weight: 1, arbitrary: enumeration("V") })
  const make = fc.oneof(
    { weight: 8, arbitrary: fc.record({ _tag: fc.constant("Tagged" as const), type: tagged, flavor: fc.nat(9) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        _tag: fc.constant("Typedef" as const),
        type: fc.oneof(completeNamed, qualified(anyNamed), valueType(1), functionType(0, false)),
        sameName: fc.boolean()
      })
    },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Forward" as const), union: fc.boolean() }) },
    {
      weight: 2,
      arbitrary: fc.record({
        _tag: fc.constant("Func" as const),
        linkage: fc.constantFrom(...linkages),
        type: functionType(1, true)
      })
    },
    ...(options.withoutVariables === true ? [] : [{
      weight: 2,
      arbitrary: fc.record({
        _tag: fc.constant("Var" as const),
        linkage: fc.constantFrom(...linkages),
        type: valueType(1),
        section: fc.constantFrom(".bss", ".data", ".rodata.str", "license")
      })
    }])
  )
  return fc.tuple(make, tags, fc.constantFrom(...tagNames)).map(([parts, tags, base]) => (at: number): Draft => {
    const name = `${base}_${at}${parts._tag === "Tagged" && parts.flavor === 0 ? "___v2" : ""}`
    switch (parts._tag) {
      case "Tagged": {
        const key = `tag ${name}`
        const make: Maker<CDeclaration> = (scope) => {
          const type = uniqueValues(parts.type(scope), name)
          const components = type._tag === "Composite" ? type.members.length : 0
          // An enum has no tags.
          const own = type._tag === "Enum" ? [] : tagsFor(tags, components)
          return { _tag: "Tagged", key, name, type, tags: own }
        }
        return { key, pointee: true, make }
      }
      case "Typedef": {
        const key = `typedef ${name}`
        return {
          key,
          pointee: true,
          make: (scope) => {
            const made = uniqueValues(parts.type(scope), name)
            // One of a type that a pointer could point to must not come back to itself.
            const type = made._tag === "Named" || made._tag === "Qualified" ? earlier(scope, made) : made
            // `typedef struct foo foo`, as some write.
            const target = type._tag === "Named" ? scope.declarations.get(type.key) : undefined
            const isFree = [...scope.declarations.values()].every((each) =>
              each.name !== target?.name || each === target
            )
            const shared = parts.sameName && target?._tag === "Tagged" && isFree ? target.name : name
            return { _tag: "Typedef", key, name: shared, type, tags: tagsFor(tags, 0) }
          }
        }
      }
      case "Forward": {
        const key = `tag ${name}`
        return { key, pointee: true, make: () => ({ _tag: "Forward", key, name, union: parts.union, tags: [] }) }
      }
      case "Func": {
        const key = `ordinary ${name}`
        return {
          key,
          pointee: false,
          make: (scope) => {
            const type = parts.type(scope)
            const components = type._tag === "Function" ? type.params.length : 0
            return { _tag: "Func", key, name, linkage: parts.linkage, type, tags: tagsFor(tags, components) }
          }
        }
      }
      case "Var": {
        const key = `ordinary ${name}`
        const { linkage, section } = parts
        return {
          key,
          pointee: false,
          make: (scope) => ({
            _tag: "Var",
            key,
            name,
            linkage,
            section,
            type: uniqueValues(parts.type(scope), name),
            tags: tagsFor(tags, 0)
          })
        }
      }
    }
  })
}

/** The type if it was declared before, or an integer: for typedefs, which must not be their own. */
const earlier = (scope: Scope, type: CType): CType => {
  if (type._tag === "Qualified") return { ...type, of: earlier(scope, type.of) }
  if (type._tag !== "Named" || scope.declarations.has(type.key)) return type
  return { _tag: "Int", index: 0 }
}

/** A type with this function applied to everything that is spelled out in it, inner types first. */
export const mapType = <T extends CType>(type: T, change: (type: CType) => CType): T => {
  const visit = (type: CType): CType => {
    switch (type._tag) {
      case "Composite":
        return change({ ...type, members: type.members.map((member) => ({ ...member, type: visit(member.type) })) })
      case "Array":
      case "Qualified":
        return change({ ...type, of: visit(type.of) })
      case "Pointer":
        return change({ ...type, to: visit(type.to) })
      case "Function":
        return change({
          ...type,
          returns: visit(type.returns),
          params: type.params.map((param) => ({ ...param, type: visit(param.type) }))
        })
      default:
        return change(type)
    }
  }
  // A change keeps the tag of what declarations consist of, which the compiler cannot see.
  return visit(type) as T
}

/** Enumerators are in the ordinary name space: the declaration's name becomes part of theirs, and a number. */
const uniqueValues = <T extends CType>(type: T, name: string): T => {
  let count = 0
  return mapType(type, (type) =>
    type._tag !== "Enum" ? type : {
      ...type,
      values: type.values.map((value) => ({ ...value, name: `${name}_${value.name}_${count++}`.toUpperCase() }))
    })
}

/** The declaration with this function applied to all types in it. */
export const mapDeclaration = (declaration: CDeclaration, change: (type: CType) => CType): CDeclaration => {
  switch (declaration._tag) {
    case "Forward":
      return declaration
    case "Tagged":
      return { ...declaration, type: mapType(declaration.type, change) }
    default:
      return { ...declaration, type: mapType(declaration.type, change) }
  }
}

/** The kernel refuses floating-point members that are not aligned, as in packed structs. */
const withoutFloats = (type: CType): CType => type._tag === "Float" ? { _tag: "Int", index: 0 } : type

/** The kernel takes an enum beside bit fields for one of four bytes, and refuses a shorter one at the end of a struct. */
const withoutShortEnums = (type: CType): CType => type._tag === "Enum" && type.size < 4 ? { ...type, size: 4 } : type

/** How many types lie within one another in a type. */
const depthOf = (scope: Scope, type: CType): number => {
  switch (type._tag) {
    case "Named":
      return scope.complete.get(type.key) ?? 0
    case "Array":
    case "Qualified":
      return depthOf(scope, type.of)
    case "Composite":
      return 1 + Math.max(0, ...type.members.map((member) => depthOf(scope, member.type)))
    default:
      return 0
  }
}

/** C declarations that a compiler would take. */
export const programs = (options: ProgramOptions = {}): fc.Arbitrary<CProgram> =>
  fc.array(declaration(options), { minLength: 1, maxLength: options.maxLength ?? 12, size: "max" }).map((makers) => {
    const drafts = makers.map((make, at) => make(at))
    const declarations = new Map<string, CDeclaration>()
    const complete = new Map<string, number>()
    const scope: Scope = {
      declarations,
      complete,
      pointees: drafts.filter((draft) => draft.pointee).map((draft) => draft.key)
    }
    for (const draft of drafts) {
      const made = draft.make(scope)
      declarations.set(draft.key, made)
      const isType = made._tag === "Tagged" || made._tag === "Typedef"
      if (isType && layoutOf(declarations, made.type) !== undefined) {
        complete.set(draft.key, depthOf(scope, made.type) + (made._tag === "Typedef" ? 1 : 0))
      }
    }
    const all = [...declarations.values()]
    const isPacked = JSON.stringify(all, (_key, value) => typeof value === "bigint" ? `${value}` : value)
      .includes("\"packed\":true")
    if (options.loadable !== true) return { declarations: all }
    const changes = [withoutShortEnums, ...(isPacked ? [withoutFloats] : [])]
    return { declarations: changes.reduce((list, change) => list.map((each) => mapDeclaration(each, change)), all) }
  })

/** How a blob is written: byte order, header, layout area. */
export const forms: fc.Arbitrary<B.BlobOptions> = fc.tuple(order, fc.constantFrom("24", "32", "layout")).map(
  ([order, header]) => ({
    order,
    headerLength: header === "24" ? 24 : 32,
    ...(header === "layout" ? { layout: B.canonicalLayout } : {})
  })
)

/** The blob of types. */
export const write = (types: ReadonlyArray<B.Rec>, options: B.BlobOptions): Blob => ({
  types,
  options,
  bytes: B.blob(types, options)
})

/** The blob of a program. */
export const writeProgram = (program: CProgram, options: B.BlobOptions = {}, how: LowerOptions = {}): Blob =>
  write(lower(program, how).types, options)

/** BTF as a compiler makes it, in either byte order. */
export const wellFormed = (options: ProgramOptions = {}): fc.Arbitrary<Blob> =>
  fc.tuple(programs(options), forms).map(([program, form]) => writeProgram(program, form))

/** The options under which a blob is split over a base. */
export const over = (base: Blob, form: B.BlobOptions): B.BlobOptions => {
  const known = B.stringsOf(base.bytes, base.options.stringsStart ?? 0)
  const view = new DataView(base.bytes.buffer, base.bytes.byteOffset)
  const length = view.getUint32(20, base.options.order !== "big")
  return { ...form, known, stringsStart: (base.options.stringsStart ?? 0) + length }
}

/** A base and BTF that is split over it, of one program: the base has the first declarations, the split the others. */
export interface Split {
  readonly base: Blob
  readonly split: Blob
  /** The same types in one blob. */
  readonly whole: Blob
}

/** Keys of what a program's declaration needs are left to `lower`: these are the first few. */
const firstKeys = (program: CProgram, share: number): ReadonlySet<string> =>
  new Set(
    program.declarations.slice(0, Math.round(program.declarations.length * share)).map((declaration) => declaration.key)
  )

/** A base and BTF over it, of the same byte order. */
export const split = (options: ProgramOptions = {}): fc.Arbitrary<Split> =>
  fc.tuple(programs(options), fc.double({ min: 0.2, max: 0.9, noNaN: true }), forms).map(([program, share, form]) =>
    splitOf(program, share, form)
  )

/** Splits a program. */
export const splitOf = (program: CProgram, share: number, form: B.BlobOptions): Split => {
  const first: Lowered = lower(program, { roots: firstKeys(program, share) })
  const second = lower(program, { after: first })
  const base = write(first.types, form)
  return {
    base,
    split: write(second.types, over(base, form)),
    whole: write([...first.types, ...second.types], form)
  }
}

/** Two compilation units of one program: what dedup is for. */
export interface Units {
  /** The types of the first unit, then those of the second, many of them the same. */
  readonly concatenated: Blob
  /** Id of the first type of the second unit. */
  readonly secondId: number
  /** The types of a unit that has what either has. Anonymous types that look alike stay apart in it. */
  readonly merged: Blob
}

/** Two units that declare parts of one program, each with some structs, unions and enums declared only. */
export const units = (options: ProgramOptions = {}): fc.Arbitrary<Units> =>
  programs({ ...options, withoutVariables: true }).chain((program) => {
    const keys = program.declarations.map((declaration) => declaration.key)
    const tagged = program.declarations.filter((declaration) => declaration._tag === "Tagged").map(({ key }) => key)
    return fc.record({
      roots: fc.tuple(fc.subarray(keys), fc.subarray(keys)),
      forwarded: fc.tuple(fc.subarray(tagged), fc.subarray(tagged)),
      repeatStrings: fc.boolean(),
      form: forms
    }).map(({ form, forwarded, repeatStrings, roots }) => {
      const one = lower(program, { roots: new Set(roots[0]), forwarded: new Set(forwarded[0]) })
      const other = lower(program, {
        firstId: one.endId,
        roots: new Set(roots[1]),
        forwarded: new Set(forwarded[1])
      })
      const undefinedKeys = tagged.filter((key) => !one.defined.has(key) && !other.defined.has(key))
      const merged = lower(program, {
        roots: new Set([...roots[0], ...roots[1]]),
        forwarded: new Set(undefinedKeys)
      })
      return {
        concatenated: write([...one.types, ...other.types], { ...form, repeatStrings }),
        secondId: one.endId,
        merged: write(merged.types, form)
      }
    })
  })

/** BTF that parses, and of which nothing else is certain: it contains itself, has wrong sizes, odd names, odd offsets. */
export const nearlyWellFormed = (maxLength = 30): fc.Arbitrary<Blob> =>
  fc.tuple(validTypes(1, maxLength), forms).map(([types, form]) => write(types, form))

/** Nearly well-formed BTF over a well-formed base. */
export const nearlyWellFormedSplit = (maxLength = 20): fc.Arbitrary<{ readonly base: Blob; readonly split: Blob }> =>
  fc.tuple(wellFormed(), forms).chain(([base, form]) =>
    validTypes(base.types.length + 1, maxLength).map((types) => ({
      base,
      split: write(types, over(base, { ...form, order: base.options.order ?? "little" }))
    }))
  )

/** Damaged bytes of BTF of both kinds; some still parse. */
export const hostile: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.oneof(wellFormed(), nearlyWellFormed()), damages)
  .map(([{ bytes }, changes]) => damage(bytes, changes))
