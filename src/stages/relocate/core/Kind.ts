/**
 * The kinds of CO-RE relocations, in the kernel's spelling.
 *
 * Source: `enum bpf_core_relo_kind` of the kernel's `include/uapi/linux/bpf.h`; reference page `core-relo`, section 1.
 */

/** Offset of a field in bytes; of a bit field, of the aligned load that covers it. */
export const BPF_CORE_FIELD_BYTE_OFFSET = 0
/** Size of a field in bytes; of a bit field, of the load that covers it. */
export const BPF_CORE_FIELD_BYTE_SIZE = 1
/** Whether the field exists. */
export const BPF_CORE_FIELD_EXISTS = 2
/** Whether the field is signed. */
export const BPF_CORE_FIELD_SIGNED = 3
/** By how much the loaded 64 bits are shifted left to cut off what is above a field. */
export const BPF_CORE_FIELD_LSHIFT_U64 = 4
/** By how much the result is shifted right to bring the field down to bit 0. */
export const BPF_CORE_FIELD_RSHIFT_U64 = 5
/** Id of a type in the object's own BTF. */
export const BPF_CORE_TYPE_ID_LOCAL = 6
/** Id of a type in the kernel's BTF. */
export const BPF_CORE_TYPE_ID_TARGET = 7
/** Whether the kernel has the type. */
export const BPF_CORE_TYPE_EXISTS = 8
/** Size of a type of the kernel in bytes. */
export const BPF_CORE_TYPE_SIZE = 9
/** Whether the kernel's enum has the enumerator. */
export const BPF_CORE_ENUMVAL_EXISTS = 10
/** Value of an enumerator of the kernel. */
export const BPF_CORE_ENUMVAL_VALUE = 11
/** Whether the kernel's type is, member by member, of the object's type. */
export const BPF_CORE_TYPE_MATCHES = 12

/** The name of a kind, short as it stands in logs of libbpf and of the kernel. */
export type CoreKind =
  | "byte_off"
  | "byte_sz"
  | "field_exists"
  | "signed"
  | "lshift_u64"
  | "rshift_u64"
  | "local_type_id"
  | "target_type_id"
  | "type_exists"
  | "type_size"
  | "enumval_exists"
  | "enumval_value"
  | "type_matches"

/** The names by number. */
export const kindNames: ReadonlyArray<CoreKind> = [
  "byte_off",
  "byte_sz",
  "field_exists",
  "signed",
  "lshift_u64",
  "rshift_u64",
  "local_type_id",
  "target_type_id",
  "type_exists",
  "type_size",
  "enumval_exists",
  "enumval_value",
  "type_matches"
]

/** Whether the relocation is about a field. */
export const isFieldKind = (kind: number): boolean =>
  kind >= BPF_CORE_FIELD_BYTE_OFFSET && kind <= BPF_CORE_FIELD_RSHIFT_U64

/** Whether the relocation is about a type as a whole. */
export const isTypeKind = (kind: number): boolean =>
  (kind >= BPF_CORE_TYPE_ID_LOCAL && kind <= BPF_CORE_TYPE_SIZE) || kind === BPF_CORE_TYPE_MATCHES

/** Whether the relocation is about an enumerator. */
export const isEnumeratorKind = (kind: number): boolean =>
  kind === BPF_CORE_ENUMVAL_EXISTS || kind === BPF_CORE_ENUMVAL_VALUE
