/**
 * What of a kernel's types the decisions about records depend on: for a kernel's BTF that has nothing else.
 *
 * Every type that a search looks at and that bears on its outcome is noted, of structs and unions with the members that
 * do. So what a record came to against the whole, it comes to against the noted part: the same candidates, each with the
 * same answer or refused for the same reason. That takes more than the fields which are found:
 *
 * - all candidates, since those that match must agree, and since modules are asked where the kernel has none;
 * - of candidates that are refused what they are refused for, lest the part left of them be taken for a match: a pointer to
 *   a struct, say, that is only noted as a pointer for the sake of another record, would be one to `void`;
 * - all members of the name that is searched for, also those of a type that does not fit, which end a search;
 * - the last member of a struct that has an array of no elements before it, which is not flexible for that.
 *
 * Source: reference pages `core-relo`, sections 4 and 5, and `btf-dump`, section I.
 */
import * as Btf from "../../../btf/Btf.ts"
import { visitTypeIds } from "../../../btf/BtfFields.ts"
import type { Budget } from "./Budget.ts"
import { spend } from "./Budget.ts"
import { CoreFailure } from "./CoreError.ts"
import * as Kind from "./Kind.ts"
import { match, type Refusal } from "./Match.ts"
import { type Candidate, candidatesOf, type LocalType } from "./Resolve.ts"
import { parse, type Spec } from "./Spec.ts"
import type { CoreTarget } from "./Target.ts"
import { essentialsOf, isComposite, isEnum, memberAt, membersOf, paramType, sameKind, skip } from "./Types.ts"

/** What is noted of a type: all of it, or the members at these positions of a struct or union; of an enum perhaps none. */
export type Noted = "whole" | ReadonlySet<number>

/** What is noted of the types that one blob holds itself, by id. */
export type NotedTypes = ReadonlyMap<number, Noted>

/** What records depend on. */
export interface Footprint {
  /** Of each blob of the target of which they depend on something. */
  readonly blobs: ReadonlyMap<Btf.Btf, NotedTypes>
  /**
   * The types of modules in it that have the name of a type which records look for and the kernel itself has. Modules are
   * not looked at for those; in one blob with the kernel's types, they would be.
   */
  readonly conflicts: ReadonlyArray<Conflict>
}

/** A type of a module that would be taken for the kernel's own if both were in one blob. */
export interface Conflict {
  readonly module: string
  readonly typeName: string
}

/** How far a type is noted: enums without their values, structs and unions without their members. */
const BARE = 16
/** What its layout depends on, which is as far as pointers. */
const SHALLOW = 1
/** Through pointers; structs and unions without their members. */
const THROUGH = 2
/** With all that it holds; behind pointers as `THROUGH`, but for what prototypes and arrays there hold. */
const WHOLE = 4
const BEHIND = 8

/** What is noted of one blob, and what need not be looked at again. */
interface Notes {
  readonly types: Map<number, "whole" | Set<number>>
  /** By id, how far the type was noted. */
  readonly reached: Map<number, number>
  /** By id of a struct or union, the names that were searched for. */
  readonly searched: Map<number, Set<string>>
}

/** A footprint in the making. */
export interface Growing {
  readonly notes: Map<Btf.Btf, Notes>
  /** The types of objects that candidates were looked for of. */
  readonly asked: Set<LocalType>
}

/** Begins the footprint of no records. */
export const begin = (): Growing => ({ notes: new Map(), asked: new Set() })

const notesOf = (growing: Growing, owner: Btf.Btf): Notes => {
  const known = growing.notes.get(owner)
  if (known !== undefined) return known
  const notes: Notes = { types: new Map(), reached: new Map(), searched: new Map() }
  growing.notes.set(owner, notes)
  return notes
}

/**
 * Notes what the outcome of a record depends on: a type of an object, an access string and a kind. Throws a `CoreFailure`
 * for a record that is malformed, or asks for too much.
 */
export const note = (
  growing: Growing,
  type: LocalType,
  access: number,
  kind: number,
  target: CoreTarget,
  budget: Budget
): void => {
  if (kind === Kind.BPF_CORE_TYPE_ID_LOCAL || type.name.length === 0 || Kind.kindNames[kind] === undefined) return
  const spec = parse(type.btf, type.id, access, kind, budget)
  growing.asked.add(type)
  for (const candidate of candidatesOf(target, type, budget)) noteCandidate(growing, spec, kind, candidate, budget)
}

const noteCandidate = (growing: Growing, spec: Spec, kind: number, candidate: Candidate, budget: Budget): void => {
  const { btf, id } = candidate
  const matched = matchedIn(spec, kind, candidate, budget)
  // Types that end a search with an error, nested too deep say, do so wherever they are.
  if (matched === undefined) return reach(growing, btf, id, WHOLE)
  if (Kind.isFieldKind(kind)) {
    reach(growing, btf, id, SHALLOW)
    noteField(growing, spec, kind, candidate, budget)
  } else if (Kind.isEnumeratorKind(kind)) {
    reach(growing, btf, id, "_tag" in matched ? BARE : SHALLOW)
  } else if (kind !== Kind.BPF_CORE_TYPE_MATCHES) {
    reach(growing, btf, id, THROUGH)
  } else if ("_tag" in matched) {
    noteCompared(growing, spec, btf, id, budget)
  } else {
    reach(growing, btf, id, WHOLE)
  }
}

/** What a search for a record finds in a candidate; `undefined` where it ends with an error. */
const matchedIn = (spec: Spec, kind: number, { btf, id }: Candidate, budget: Budget): Spec | Refusal | undefined => {
  try {
    return match(spec, kind, btf, id, budget)
  } catch (thrown) {
    if (!(thrown instanceof CoreFailure)) throw thrown
    return undefined
  }
}

/**
 * Ends a footprint, whose target is `target`. Where it has pointers, it also has the type by which readers know how large
 * they are.
 */
export const end = (growing: Growing, target: CoreTarget): Footprint => {
  const witness = Btf.pointerSizeType(target.base)
  const hasPointers = [...growing.notes].some(([btf, { types }]) =>
    [...types.keys()].some((id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_PTR)
  )
  if (hasPointers && witness !== undefined) reach(growing, target.base, witness, SHALLOW)
  const blobs = new Map([...growing.notes].map(([btf, { types }]) => [btf, types]))
  return { blobs, conflicts: conflictsOf(growing, target) }
}

const conflictsOf = ({ asked, notes }: Growing, target: CoreTarget): ReadonlyArray<Conflict> => {
  const found = new Map<string, Conflict>()
  for (const { btf: local, candidates, id, name } of asked) {
    if (candidates?.[0] === undefined || candidates[0].module !== undefined) continue
    for (const { btf, name: module } of target.modules) {
      const noted = notes.get(btf)?.types
      for (const same of noted === undefined ? [] : Btf.idsOfEssential(btf, Btf.kindOf(local, id), name)) {
        const typeName = Btf.typeName(btf, same)
        if (noted?.has(same) === true) found.set(`${module} ${typeName}`, { module, typeName })
      }
    }
  }
  return [...found.values()]
}

/** Notes a type and those that it is made of. */
const reach = (growing: Growing, btf: Btf.Btf, root: number, how: number): void => {
  const work: Array<number> = [root, how]
  while (work.length > 0) {
    const mode = work.pop() ?? 0
    const id = work.pop() ?? 0
    const owner = Btf.ownerOf(btf, id)
    if (id === 0 || owner === undefined) continue
    const { reached, types } = notesOf(growing, owner)
    const before = reached.get(id) ?? 0
    if ((before & mode) !== 0) continue
    reached.set(id, before | mode)
    const kind = Btf.kindOf(btf, id)
    const inner = innerMode(kind, mode)
    const isWhole = isComposite(kind) ? inner !== 0 : !isEnum(kind) || mode !== BARE
    if (isWhole) types.set(id, "whole")
    else if (!types.has(id)) types.set(id, new Set())
    if (inner === 0) continue
    const { littleEndian, view } = owner.internal
    visitTypeIds(view, littleEndian, owner.offsets[id - owner.firstId] ?? 0, (_, type) => work.push(type, inner))
  }
}

/** How far the types are noted that a type of this kind refers to; 0 where they are not. */
const innerMode = (kind: number, mode: number): number => {
  switch (kind) {
    case Btf.BTF_KIND_STRUCT:
    case Btf.BTF_KIND_UNION:
      return mode === WHOLE ? WHOLE : 0
    case Btf.BTF_KIND_PTR:
      return mode === SHALLOW || mode === BARE ? 0 : mode === WHOLE ? BEHIND : mode
    // As in bpftool: more than a comparison looks at, as it never looks at members behind pointers.
    case Btf.BTF_KIND_ARRAY:
    case Btf.BTF_KIND_FUNC_PROTO:
      return mode === BEHIND ? WHOLE : mode
    default:
      return mode
  }
}

/** Notes a member, and its type as far as its layout goes. */
const noteMember = (growing: Growing, btf: Btf.Btf, id: number, index: number): void => {
  const owner = Btf.ownerOf(btf, id)
  if (owner === undefined) return
  reach(growing, btf, id, SHALLOW)
  const noted = notesOf(growing, owner).types.get(id)
  if (noted === undefined || noted === "whole" || noted.has(index)) return
  noted.add(index)
  const { type } = memberAt(btf, id, index)
  reach(growing, btf, type, SHALLOW)
  const last = Btf.vlenOf(btf, id) - 1
  const behind = skipped(btf, type)
  const isEmpty = Btf.kindOf(btf, behind) === Btf.BTF_KIND_ARRAY && Btf.arrayLength(btf, behind) === 0
  if (isEmpty && index < last) noteMember(growing, btf, id, last)
}

/** The type behind modifiers and typedefs; `void` for a chain that the searches refuse. */
const skipped = (btf: Btf.Btf, id: number): number => {
  try {
    return skip(btf, id)
  } catch (thrown) {
    if (!(thrown instanceof CoreFailure)) throw thrown
    return 0
  }
}

/** Notes all members of a name in a struct or union, and in those without a name in it that lead to one. */
const noteMembers = (growing: Growing, btf: Btf.Btf, root: number, name: string, budget: Budget): void => {
  const owner = Btf.ownerOf(btf, root)
  if (owner === undefined) return
  const { searched } = notesOf(growing, owner)
  const names = searched.get(root)
  if (names?.has(name) === true) return
  if (names === undefined) searched.set(root, new Set([name]))
  else names.add(name)
  /** The structs and unions that count as the root's own members, and from where each is reached. */
  const from = new Map<number, Array<readonly [id: number, index: number]>>([[root, []]])
  const hits: Array<number> = []
  for (const id of from.keys()) {
    const { anonymous, named } = membersOf(btf, id, budget)
    spend(budget, 1 + anonymous.length)
    const own = named.get(name)
    if (own !== undefined) {
      noteMember(growing, btf, id, own)
      hits.push(id)
    }
    for (const index of anonymous) {
      const inner = skipped(btf, memberAt(btf, id, index).type)
      if (!isComposite(Btf.kindOf(btf, inner))) continue
      const known = from.get(inner)
      if (known === undefined) from.set(inner, [[id, index]])
      else known.push([id, index])
    }
  }
  const leading = new Set(hits)
  for (const id of leading) {
    for (const [outer, index] of from.get(id) ?? []) {
      noteMember(growing, btf, outer, index)
      leading.add(outer)
    }
  }
}

/** Notes what the search for a field comes by, as far as it gets. */
const noteField = (growing: Growing, spec: Spec, kind: number, { btf, id }: Candidate, budget: Budget): void => {
  let current = id
  for (const [position, { name }] of spec.accessors.entries()) {
    current = skipped(btf, current)
    if (name === undefined) {
      if (position === 0) continue
      if (Btf.kindOf(btf, current) !== Btf.BTF_KIND_ARRAY) return
      current = Btf.elementType(btf, current)
      continue
    }
    if (!isComposite(Btf.kindOf(btf, current))) return
    noteMembers(growing, btf, current, name, budget)
    const found = match({ ...spec, accessors: spec.accessors.slice(0, position + 1) }, kind, btf, id, budget)
    const last = "_tag" in found ? undefined : found.accessors.at(-1)
    if (last === undefined) return
    current = memberAt(btf, last.typeId, last.index).type
  }
}

/**
 * Notes what a comparison with the object's type looks at: of structs and unions the members of the same essential names.
 * What does not match in the whole does not match in the part then, whatever else of it is noted.
 */
const noteCompared = (
  growing: Growing,
  { btf: local, rootId }: Spec,
  btf: Btf.Btf,
  id: number,
  budget: Budget
): void => {
  const seen = new Set<string>()
  const pairs: Array<readonly [localId: number, id: number]> = []
  const compare = (localId: number, id: number): void => {
    spend(budget, 16)
    const key = `${localId}:${id}`
    if (seen.has(key)) return
    seen.add(key)
    reach(growing, btf, id, THROUGH)
    pairs.push([localId, id])
  }
  compare(rootId, id)
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const localId = skipped(local, pair[0])
    const id = skipped(btf, pair[1])
    const kind = Btf.kindOf(local, localId)
    if (!sameKind(kind, Btf.kindOf(btf, id))) continue
    if (isComposite(kind)) {
      const there = essentialsOf(btf, id, budget)
      for (const [name, positions] of essentialsOf(local, localId, budget)) {
        for (const other of there.get(name) ?? []) {
          noteMember(growing, btf, id, other)
          for (const own of positions) compare(memberAt(local, localId, own).type, memberAt(btf, id, other).type)
        }
      }
    } else if (kind === Btf.BTF_KIND_ARRAY) {
      compare(Btf.elementType(local, localId), Btf.elementType(btf, id))
    } else if (kind === Btf.BTF_KIND_FUNC_PROTO) {
      compare(Btf.sizeOrTypeOf(local, localId), Btf.sizeOrTypeOf(btf, id))
      const count = Math.min(Btf.vlenOf(local, localId), Btf.vlenOf(btf, id))
      for (let index = 0; index < count; index++) {
        compare(paramType(local, localId, index), paramType(btf, id, index))
      }
    }
  }
}
