/**
 * What a dump in C remembers from type to type: which are ordered and emitted, which names are taken.
 */
import type { BtfError } from "../BtfError.ts"
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { pointerSize } from "../BtfResolve.ts"
import type { Flat } from "./Flat.ts"
import { flatten } from "./Flat.ts"
import type { NameCounts } from "./Names.ts"
import { makeNames } from "./Names.ts"
import type { Output } from "./Output.ts"
import { makeOutput } from "./Output.ts"

/** The state of a dump: arrays with one entry per type id, stacks, and the text so far. */
export interface State {
  readonly flat: Flat
  readonly out: Output
  readonly pointerSize: 4 | 8
  /** Bits of `Order.ts`. */
  readonly order: Uint8Array
  /** Bits of `Emit.ts`. */
  readonly emit: Uint8Array
  /** 1 where a type refers to the id; made when first needed. */
  referenced: Uint8Array | undefined
  /** Alignment by id, and other states of `Layout.ts`. */
  readonly alignments: Uint8Array
  /** Which use of its name a type is, counted from 1; 0 where it was not asked yet. */
  readonly numbers: Uint32Array
  /** Tags of structs, unions and enums, and names of integers. */
  readonly tags: NameCounts
  /** Typedefs and enumerators. */
  readonly identifiers: NameCounts
  /** Top-level definitions in the order in which they must be emitted. */
  readonly queue: Array<number>
  /** Walks of `Order.ts` and `Emit.ts`: three entries per frame. */
  readonly walk: Array<number>
  /** Walk of `Layout.ts`: three entries per frame. */
  readonly layoutWalk: Array<number>
  /** Declarations and definitions that are being written: `FRAME` entries per frame, see `Declare.ts`. */
  readonly frames: Array<number>
  depth: number
  /** Chains of types of the declarations that are being written. */
  readonly chain: Array<number>
  chainEnd: number
  /** 1 for a struct or union whose body is being written, and for a prototype whose parameters are. */
  readonly open: Uint8Array
  /** The name that a caller gives to what is declared. */
  givenName: Uint8Array
  stripModifiers: boolean
  omitBodies: boolean
  steps: number
  readonly stepLimit: number
  /** What could not be dumped since the last look. */
  problems: Array<BtfError>
}

/** Steps that any blob gets. */
const FREE_STEPS = 1 << 20

/** Steps per word of the type area; dumps of real kernels take fewer than three. */
const STEPS_PER_WORD = 64

/** Bytes of text that any blob may come to. */
const FREE_TEXT = 1 << 23

/** Bytes of text per byte of the blob; dumps of real kernels take less than one in C and four in JSON. */
const TEXT_PER_BYTE = 32

/** The bound of the text of a dump where the caller sets none: 8 MiB and 32 bytes per byte of the blob. */
export const textLimit = (btf: Btf): number => {
  let size = 0
  for (let blob: Btf | undefined = btf; blob !== undefined; blob = blob.base) size += blob.bytes.length
  return FREE_TEXT + TEXT_PER_BYTE * size
}

/** A state that has dumped nothing yet. */
export const makeState = (btf: Btf, limit: number | undefined): State => {
  const flat = flatten(btf)
  const count = btf.endId
  return {
    flat,
    out: makeOutput(limit ?? textLimit(btf)),
    pointerSize: pointerSize(btf),
    order: new Uint8Array(count),
    emit: new Uint8Array(count),
    referenced: undefined,
    alignments: new Uint8Array(count),
    numbers: new Uint32Array(count),
    tags: makeNames(flat.strings, count >>> 3),
    identifiers: makeNames(flat.strings, count >>> 2),
    queue: [],
    walk: [],
    layoutWalk: [],
    frames: [],
    depth: 0,
    chain: [],
    chainEnd: 0,
    open: new Uint8Array(count),
    givenName: new Uint8Array(0),
    stripModifiers: false,
    omitBodies: false,
    steps: 0,
    stepLimit: FREE_STEPS + STEPS_PER_WORD * flat.words.length,
    problems: []
  }
}

/** Counts `count` steps; `TooComplex` where the work is out of proportion to the blob. */
export const step = (state: State, count: number): void => {
  state.steps += count
  if (state.steps > state.stepLimit) failSteps(state)
}

const failSteps = (state: State): never =>
  fail("TooComplex", `the dump would take more than ${state.stepLimit} steps`, {
    hint: "types without names that are shared in many places have no short form in C"
  })

/** Marks all types that others refer to; the return type of a prototype does not count, as in libbpf. */
export const markReferenced = (flat: Flat): Uint8Array => {
  const { at, endId, kinds, words } = flat
  const referenced = new Uint8Array(endId)
  for (let id = 1; id < endId; id++) {
    const start = at[id] ?? 0
    // Where the record's list of types begins, how far one is from the next, and how many there are.
    let first = 0
    let stride = 0
    let count = 0
    switch (kinds[id]) {
      case Kind.BTF_KIND_PTR:
      case Kind.BTF_KIND_TYPEDEF:
      case Kind.BTF_KIND_VOLATILE:
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_RESTRICT:
      case Kind.BTF_KIND_FUNC:
      case Kind.BTF_KIND_VAR:
      case Kind.BTF_KIND_DECL_TAG:
      case Kind.BTF_KIND_TYPE_TAG:
        referenced[words[start + 2] ?? 0] = 1
        continue
      case Kind.BTF_KIND_ARRAY:
        first = 3
        stride = 1
        count = 2
        break
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
        first = 4
        stride = 3
        break
      case Kind.BTF_KIND_FUNC_PROTO:
        first = 4
        stride = 2
        break
      case Kind.BTF_KIND_DATASEC:
        first = 3
        stride = 3
        break
      default:
        continue
    }
    if (count === 0) count = (words[start + 1] ?? 0) & 0xff_ffff
    const end = start + first + count * stride
    for (let word = start + first; word < end; word += stride) referenced[words[word] ?? 0] = 1
  }
  return referenced
}
