/**
 * The kinds of BTF types, in the kernel's spelling, and the sizes of their records.
 *
 * Source: the kernel's `include/uapi/linux/btf.h` and `Documentation/bpf/btf.rst`.
 */

/** No type: `void`, id 0. A record of this kind exists only where a layout area describes it. */
export const BTF_KIND_UNKN = 0
/** An integer. */
export const BTF_KIND_INT = 1
/** A pointer. */
export const BTF_KIND_PTR = 2
/** An array. */
export const BTF_KIND_ARRAY = 3
/** A struct. */
export const BTF_KIND_STRUCT = 4
/** A union. */
export const BTF_KIND_UNION = 5
/** An enumeration of values of up to 32 bits. */
export const BTF_KIND_ENUM = 6
/** A struct or union that is declared and not defined. */
export const BTF_KIND_FWD = 7
/** A typedef. */
export const BTF_KIND_TYPEDEF = 8
/** The qualifier `volatile`. */
export const BTF_KIND_VOLATILE = 9
/** The qualifier `const`. */
export const BTF_KIND_CONST = 10
/** The qualifier `restrict`. */
export const BTF_KIND_RESTRICT = 11
/** A function: a name for a prototype. */
export const BTF_KIND_FUNC = 12
/** A function prototype. */
export const BTF_KIND_FUNC_PROTO = 13
/** A global or static variable. */
export const BTF_KIND_VAR = 14
/** An ELF section of data and its variables. */
export const BTF_KIND_DATASEC = 15
/** A floating-point number. */
export const BTF_KIND_FLOAT = 16
/** A tag on a declaration: a type, a member, a parameter, a variable or a function. */
export const BTF_KIND_DECL_TAG = 17
/** A tag on a type, behind a pointer as a rule. */
export const BTF_KIND_TYPE_TAG = 18
/** An enumeration of 64-bit values. */
export const BTF_KIND_ENUM64 = 19

/** How many kinds this library knows. */
export const NR_BTF_KINDS = 20

/** How many kinds the seven bits of a record can say. */
export const BTF_KIND_LIMIT = 128

/** The integer is signed. */
export const BTF_INT_SIGNED = 1
/** The integer is a character. */
export const BTF_INT_CHAR = 2
/** The integer is a boolean. */
export const BTF_INT_BOOL = 4

/** A static variable. */
export const BTF_VAR_STATIC = 0
/** A variable that is defined here and visible to others. */
export const BTF_VAR_GLOBAL_ALLOCATED = 1
/** A variable that is defined elsewhere. */
export const BTF_VAR_GLOBAL_EXTERN = 2

/** A static function. */
export const BTF_FUNC_STATIC = 0
/** A function that is defined here and visible to others. */
export const BTF_FUNC_GLOBAL = 1
/** A function that is defined elsewhere. */
export const BTF_FUNC_EXTERN = 2

/** Bytes of the part that every type record has: name, information word, size or type. */
export const BTF_TYPE_SIZE = 12

/** The largest number of members, values, parameters or entries that a record can say: 24 bits. */
export const BTF_MAX_VLEN = 0xff_ffff

const names: ReadonlyArray<string> = [
  "UNKN",
  "INT",
  "PTR",
  "ARRAY",
  "STRUCT",
  "UNION",
  "ENUM",
  "FWD",
  "TYPEDEF",
  "VOLATILE",
  "CONST",
  "RESTRICT",
  "FUNC",
  "FUNC_PROTO",
  "VAR",
  "DATASEC",
  "FLOAT",
  "DECL_TAG",
  "TYPE_TAG",
  "ENUM64"
]

/** The name of a kind as bpftool prints it: `STRUCT`, `FUNC_PROTO`; `kind 25` for an unknown one. */
export const kindName = (kind: number): string => names[kind] ?? `kind ${kind}`

const table = (entries: ReadonlyArray<readonly [kind: number, bytes: number]>): Uint8Array => {
  const bytes = new Uint8Array(BTF_KIND_LIMIT)
  for (const [kind, size] of entries) bytes[kind] = size
  return bytes
}

/** Bytes that follow the common part once, by kind: the `info_sz` of a layout area. 0 for unknown kinds. */
export const INFO_SIZE: Readonly<Uint8Array> = table([
  [BTF_KIND_INT, 4],
  [BTF_KIND_ARRAY, 12],
  [BTF_KIND_VAR, 4],
  [BTF_KIND_DECL_TAG, 4]
])

/** Bytes of one member, value, parameter or entry, by kind: the `elem_sz` of a layout area. 0 for unknown kinds. */
export const ELEMENT_SIZE: Readonly<Uint8Array> = table([
  [BTF_KIND_STRUCT, 12],
  [BTF_KIND_UNION, 12],
  [BTF_KIND_ENUM, 8],
  [BTF_KIND_FUNC_PROTO, 8],
  [BTF_KIND_DATASEC, 12],
  [BTF_KIND_ENUM64, 12]
])

/** Whether the record is of a kind that this library knows, `void` left out. */
export const isKnownKind = (kind: number): boolean => kind > BTF_KIND_UNKN && kind < NR_BTF_KINDS
