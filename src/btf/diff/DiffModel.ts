/** What a comparison of two blobs of types says: plain records, in an order that depends on nothing but the types. */

/** The kinds of types that are compared by name. Types that are declared only count as what they are declared. */
export type DiffKind = "struct" | "union" | "enum" | "typedef" | "int" | "float" | "func" | "var" | "datasec"

/** All kinds, in the order in which they are listed. */
export const diffKinds: ReadonlyArray<DiffKind> = [
  "struct",
  "union",
  "enum",
  "typedef",
  "func",
  "var",
  "int",
  "float",
  "datasec"
]

/** A type of one of the blobs. */
export interface TypeAt {
  readonly kind: DiffKind
  /** Empty for an enum without a name, which its first enumerator then tells apart. */
  readonly name: string
  /** The type's id in its blob. */
  readonly id: number
  /** Of an enum without a name: its first enumerator. */
  readonly first?: string
}

/** Where a member is and what it is. */
export interface MemberPlace {
  /** The member's type as C writes it. */
  readonly type: string
  /** Bits from the start of the struct, or of the element where the member is in an array of anonymous structs. */
  readonly bitOffset: number
  /** Bits of a bit field; 0 for an ordinary member. */
  readonly bitfieldSize: number
  /** Bytes of the type, where it has a size. */
  readonly size?: number
}

/** A parameter of a function; the index counts from 0. */
export interface ParamPlace {
  readonly index: number
  readonly name: string
  readonly type: string
}

/**
 * In what way a member is another one.
 *
 * - `moved`: at another offset, in relation to the named member that it is in
 * - `renamed`: has another name, at the same place among its neighbours
 * - `retyped`: of another type; `requalified`: of a type that differs in `const`, `volatile` and type tags alone
 * - `resized`: of another size, in bytes or, for a bit field, in bits
 * - `regrouped`: in other anonymous structs or unions, which does not change how it is reached
 */
export type MemberChangeKind = "moved" | "renamed" | "retyped" | "requalified" | "resized" | "regrouped"

/** One difference of a type. */
export type Change =
  /** The type has another size, in bytes. */
  | { readonly _tag: "Resized"; readonly before: number; readonly after: number }
  /** The type was declared only, and is now defined, or the other way round. */
  | { readonly _tag: "Defined" }
  | { readonly _tag: "Undefined" }
  /** A struct became a typedef's anonymous one, or the like: the parts cannot be compared. */
  | { readonly _tag: "Retyped"; readonly before: string; readonly after: string }
  /** Of an integer: its encoding and bits. */
  | { readonly _tag: "Encoding"; readonly before: string; readonly after: string }
  /** Of a function or variable: static, global or extern. */
  | { readonly _tag: "Linkage"; readonly before: string; readonly after: string }
  /** Of an enum: whether its values are signed. */
  | { readonly _tag: "Signedness"; readonly before: boolean; readonly after: boolean }
  /** A tag of a declaration, as `bpf_kfunc`; of the member or parameter of that index, or of the whole for -1. */
  | { readonly _tag: "TagAdded"; readonly tag: string; readonly component: number }
  | { readonly _tag: "TagRemoved"; readonly tag: string; readonly component: number }
  | { readonly _tag: "MemberAdded"; readonly path: string; readonly after: MemberPlace }
  | { readonly _tag: "MemberRemoved"; readonly path: string; readonly before: MemberPlace }
  | {
    readonly _tag: "MemberChanged"
    readonly path: string
    /** The path in the second blob. */
    readonly newPath: string
    readonly what: ReadonlyArray<MemberChangeKind>
    readonly before: MemberPlace
    readonly after: MemberPlace
  }
  | { readonly _tag: "ValueAdded"; readonly name: string; readonly after: bigint }
  | { readonly _tag: "ValueRemoved"; readonly name: string; readonly before: bigint }
  | { readonly _tag: "ValueRenamed"; readonly name: string; readonly newName: string; readonly value: bigint }
  | { readonly _tag: "ValueChanged"; readonly name: string; readonly before: bigint; readonly after: bigint }
  | { readonly _tag: "ReturnRetyped"; readonly before: string; readonly after: string }
  | { readonly _tag: "ParamAdded"; readonly after: ParamPlace }
  | { readonly _tag: "ParamRemoved"; readonly before: ParamPlace }
  | {
    readonly _tag: "ParamChanged"
    readonly what: ReadonlyArray<"moved" | "renamed" | "retyped">
    readonly before: ParamPlace
    readonly after: ParamPlace
  }

/** An access that source code or CO-RE by name can no longer make, or that now means something else. */
export interface BrokenAccess {
  /** With the type in front: `task_struct.state`. */
  readonly path: string
  readonly why: "removed" | "renamed" | "retyped"
  /** The path that took its place, or the type that it has now. */
  readonly now?: string
}

/** A type that both blobs have and that is not the same in them. */
export interface TypeChange {
  readonly before: TypeAt
  readonly after: TypeAt
  readonly changes: ReadonlyArray<Change>
  /** The accesses that break. */
  readonly breaks: ReadonlyArray<BrokenAccess>
  /** Where the first blob embeds this type, as far as something breaks: `task_struct.se`. The first ones only. */
  readonly embeddedIn: ReadonlyArray<string>
  /** There are more embedding paths than `embeddedIn` lists. */
  readonly embeddedInMore: boolean
  /** The members were too many, or nested too deeply, to be compared one by one. */
  readonly incomplete: boolean
}

/** Types of one name and kind of which it is not clear which belongs to which. */
export interface Ambiguity {
  readonly kind: DiffKind
  readonly name: string
  /** Ids of the types that found no partner in the other blob. */
  readonly before: ReadonlyArray<number>
  readonly after: ReadonlyArray<number>
}

/** The difference of two blobs. */
export interface Difference {
  /** How many types were compared in each blob, and how many are the same. */
  readonly compared: { readonly before: number; readonly after: number; readonly same: number }
  readonly removed: ReadonlyArray<TypeAt>
  readonly added: ReadonlyArray<TypeAt>
  readonly changed: ReadonlyArray<TypeChange>
  readonly ambiguous: ReadonlyArray<Ambiguity>
}
