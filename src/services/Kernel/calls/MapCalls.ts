/**
 * Calls that make, fill, read and map maps, and what they answer.
 */
import type { Variable } from "../KernelConfig.ts"
import type { BtfRef, EventRef, MapRef, ProgRef, ViewRef } from "../Ref.ts"
import type { KernelSymbol } from "./Code.ts"

/**
 * Bytes of a map value, with the places where a map, program or perf event stands. Refs encode as descriptors of `size`
 * bytes.
 */
export interface Value {
  readonly bytes: Uint8Array
  readonly refs: ReadonlyArray<{ readonly at: number; readonly size: 4 | 8; readonly to: MapRef | ProgRef | EventRef }>
}

/** The attributes that make a map what it is. Sizes are bytes. */
export interface MapAttributes {
  /** At most 15 bytes reach the kernel. */
  readonly name: string
  /** `BPF_MAP_TYPE_*` */
  readonly type: number
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
  /** `BPF_F_*` */
  readonly flags: number
  readonly numaNode: number
  readonly ifindex: number
  /** Meaning depends on the type: hash functions of a bloom filter, address of an arena. */
  readonly extra: bigint
}

/** Creates a map. */
export interface MapCreate {
  readonly _tag: "MapCreate"
  readonly as: MapRef
  readonly attr: MapAttributes
  /** The map whose shape the values of a map-in-map have. */
  readonly inner?: MapRef
  readonly types?: { readonly btf: BtfRef; readonly key: number; readonly value: number }
  /** The struct of the kernel that the value is (`bpf_struct_ops_<name>`): of struct_ops maps, which need it. */
  readonly valueType?: KernelSymbol
  /**
   * The only program that may use the map: by the SHA-256 of its instructions as they are loaded, in which references to
   * maps are zero. The program need not exist yet.
   */
  readonly exclusiveTo?: { readonly prog: ProgRef; readonly hash: Uint8Array }
}

/** Sets one element. */
export interface MapUpdate {
  readonly _tag: "MapUpdate"
  readonly map: MapRef
  readonly key: Uint8Array
  readonly value: Value
  /** `BPF_ANY` 0, `BPF_NOEXIST` 1, `BPF_EXIST` 2, `BPF_F_LOCK` 4 */
  readonly flags: bigint
  /** The initial image of global data, which a loader program lets its caller replace. */
  readonly overridable?: boolean
  /** Variables in the value that only the kernel knows on which a loader program will run: whoever runs it fills them in. */
  readonly pending?: ReadonlyArray<Variable>
}

/** Reads one element; answers `undefined` where the map has none of that key. */
export interface MapLookup {
  readonly _tag: "MapLookup"
  readonly map: MapRef
  readonly key: Uint8Array
  readonly valueSize: number
  readonly flags: bigint
  /** The value that a bloom filter is asked for, which it answers where it may have it. No other map reads it. */
  readonly value?: Uint8Array
}

/** Removes one element; a missing key is `ENOENT`. */
export interface MapDelete {
  readonly _tag: "MapDelete"
  readonly map: MapRef
  readonly key: Uint8Array
}

/** The key after `key`, the first one when `key` is absent or not in the map; `undefined` after the last. */
export interface MapNextKey {
  readonly _tag: "MapNextKey"
  readonly map: MapRef
  readonly key?: Uint8Array
  readonly keySize: number
}

/** Makes a map read-only for user space. */
export interface MapFreeze {
  readonly _tag: "MapFreeze"
  readonly map: MapRef
}

/** Maps a map's memory; the view dies with the session or with `Close`. Offset and length are bytes, page aligned. */
export interface MapMmap {
  readonly _tag: "MapMmap"
  readonly map: MapRef
  readonly as: ViewRef
  readonly offset: number
  readonly length: number
  readonly writable: boolean
  /**
   * Where the memory has to be in this process: an arena of which addresses are shared. `EEXIST` where something else is there;
   * absent, the kernel chooses.
   */
  readonly address?: bigint
}

/** Writes bytes to memory that is shared with the kernel: the initial image of an arena's variables. */
export interface ViewWrite {
  readonly _tag: "ViewWrite"
  readonly view: ViewRef
  /** Bytes from the view's beginning. */
  readonly offset: number
  readonly bytes: Uint8Array
}

/** What the kernel says of a map. */
export interface MapGetInfo {
  readonly _tag: "MapGetInfo"
  readonly map: MapRef
  /** With what only the descriptor's file in procfs tells (`file` of the answer). */
  readonly file?: boolean
  /**
   * With the SHA-256 of its contents, which the kernel then keeps where programs can compare it: of arrays that are frozen.
   * Only kernels from 6.18 on have that; others leave it out of the answer, or refuse the call.
   */
  readonly digest?: boolean
  /**
   * With the kernel's own record (`struct bpf_map_info`), so many bytes of it, for who reads it by the kernel's types: newer
   * kernels tell more than is known here. Kernels that have no such record leave it out, and so does one that is simulated.
   */
  readonly record?: number
}

/** Shared memory with the kernel. Offsets are bytes; 64-bit ones must be 8-byte aligned, 32-bit ones 4-byte aligned. */
export interface MemoryView {
  /** The mapping itself, valid until the view is closed; copy what must outlive it. */
  readonly bytes: Uint8Array
  /** Where its first byte is, for pointers that programs leave in it; absent where memory has no addresses of this process. */
  readonly address?: bigint
  /**
   * The same memory as words of 32 bits, for loops that use `Atomics` on it themselves. Absent where its bytes are not aligned
   * or not in the byte order of this machine. Valid as long as `bytes` is; nothing keeps from writing to words that were
   * mapped for reading only, which ends the process.
   */
  readonly words?: Int32Array | undefined
  readonly loadAcquire32: (offset: number) => number
  readonly loadAcquire64: (offset: number) => bigint
  readonly storeRelease64: (offset: number, value: bigint) => void
}

/** What the kernel says of a map: the attributes as it took them, and its identifiers. */
export interface MapInfo extends MapAttributes {
  readonly id: number
  readonly btfId: number
  readonly btfKeyTypeId: number
  readonly btfValueTypeId: number
  /** The struct of vmlinux that the value of a struct_ops map is; absent where it is none. */
  readonly vmlinuxValueTypeId?: number
  /** The BTF object that the type is of: vmlinux's, or a module's. */
  readonly vmlinuxBtfId?: number
  /** There where it was asked for, and where procfs could be read. */
  readonly file?: MapFile
  /** There where it was asked for, and where the kernel has it: 32 bytes. */
  readonly digest?: Uint8Array
  /** There where it was asked for; what the kernel does not know of it is zero. */
  readonly record?: Uint8Array
}

/** What procfs tells of a map's descriptor. */
export interface MapFile {
  /** Bytes of memory that the map takes. */
  readonly memlock: bigint | undefined
  readonly frozen: boolean | undefined
  /** The type of the programs that a program array takes, once it has held one: `BPF_PROG_TYPE_*`. */
  readonly ownerProgType: number | undefined
  readonly ownerJited: boolean | undefined
}
