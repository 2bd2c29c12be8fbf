/**
 * The calls that a kernel understands, as data.
 *
 * A plan is made of them, a decorator prints or fails them, a recorder turns them into a loader program, the live
 * session makes system calls of them. They name kernel objects by `Ref`, so they can be written down before anything
 * exists. Those that attach programs are in `calls/`.
 */
import type { Btf } from "../../btf/Btf.ts"
import type { LoaderRun, LoaderRunResult, ProgSignature } from "./calls/LoaderCalls.ts"
import type { Variable } from "./KernelConfig.ts"
import { attachingFootprint, type AttachingCalls, type AttachingResults } from "./calls/Attaching.ts"
import type { BtfRef, LinkRef, MapRef, ProgRef, Ref, ViewRef } from "./Ref.ts"

/** Something of the running kernel that is known by its name: bound when a program is loaded, not before. */
export interface KernelSymbol {
  readonly name: string
  /** Restricts the search to one module; absent: vmlinux first, then every module. */
  readonly module?: string
  /**
   * `Func`, `Var`, `Typedef` and `Struct` are BTF kinds (kfuncs, per-CPU variables, raw tracepoints, structs that programs
   * implement); `Address` is a line of kallsyms.
   */
  readonly kind: "Func" | "Var" | "Typedef" | "Struct" | "Address"
  /** Of a struct: the member that a program implements, whose position is the program's expected attach type. */
  readonly member?: string
  /** A weak symbol that is missing binds to zero; a missing strong one is an error. */
  readonly weak: boolean
  /** The type as the object declares it, checked against the kernel's when that is known. */
  readonly expected?: { readonly btf: Btf; readonly typeId: number }
  /** The decision, when a stage has already taken it; a session never decides it again. */
  readonly resolved?:
    /** A BTF id of vmlinux, or of the module of this name; 0 where it is for the module, and for none of its types. */
    | { readonly owner: string; readonly id: number }
    | { readonly address: bigint }
    /** A weak symbol that the kernel does not have. */
    | { readonly absent: true }
}

/** A place in the instructions that a session fills in; `at` counts 8-byte instruction slots. */
export type CodeRef =
  /** Both halves of an `ldimm64`: the map itself. */
  | { readonly _tag: "MapRef"; readonly at: number; readonly map: MapRef }
  /** Both halves of an `ldimm64`: the address of a byte inside the value of a single-entry map. */
  | { readonly _tag: "MapValueRef"; readonly at: number; readonly map: MapRef; readonly offset: number }
  /**
   * An `ldimm64` or a call: a symbol of the kernel. `extern` is its position among the object's externs, which the call
   * that stands in the place of one that is missing says.
   */
  | { readonly _tag: "SymbolRef"; readonly at: number; readonly symbol: KernelSymbol; readonly extern?: number }

/**
 * Records of fixed size that go along with the instructions, as the kernel's `func_info`, `line_info`, `core_relos`. Their
 * 32-bit words are in the byte order of the target, as they stood in the object: BTF is, too.
 */
export interface InfoRecords {
  /** Bytes per record; the kernel accepts newer, longer records when their unknown tail is zero. */
  readonly recordSize: number
  readonly records: Uint8Array
}

/** A program's instructions with everything in them that is still a name. */
export interface Code {
  /** Instruction slots of 8 bytes, little-endian, whatever the target's byte order. */
  readonly insns: Uint8Array
  readonly refs: ReadonlyArray<CodeRef>
  /** CO-RE records that were left for the kernel to apply; `insn_off` counts bytes. */
  readonly coreRelocations?: InfoRecords
}

/** Bytes of a map value, with the places where a map or program stands. Refs encode as descriptors of `size` bytes. */
export interface Value {
  readonly bytes: Uint8Array
  readonly refs: ReadonlyArray<{ readonly at: number; readonly size: 4 | 8; readonly to: MapRef | ProgRef }>
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

/** The attributes of a program besides its instructions. */
export interface ProgAttributes {
  /** At most 15 bytes reach the kernel. */
  readonly name: string
  /** `BPF_PROG_TYPE_*` */
  readonly type: number
  /** `BPF_*` attach type, 0 where the program type has none. */
  readonly expectedAttachType: number
  readonly license: string
  /** `LINUX_VERSION_CODE`; only old kernels look at it, for kprobes. */
  readonly kernelVersion: number
  /** `BPF_F_*` */
  readonly flags: number
  readonly ifindex: number
}

/**
 * A function of a loaded program: what a program that replaces it (`freplace`) or watches it (`fentry`, `fexit`) is for. It
 * is looked up by its name in the types that came with the program.
 */
export interface ProgFunction {
  readonly program: ProgRef
  readonly function: string
}

/** How much the verifier is asked to say: bits 1 basic, 2 verbose, 4 statistics; 0 asks only when the load fails. */
export interface LogRequest {
  readonly level: number
}

/** Loads a BTF blob. */
export interface BtfLoad {
  readonly _tag: "BtfLoad"
  readonly as: BtfRef
  readonly bytes: Uint8Array
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
}

/** Loads a program. */
export interface ProgLoad {
  readonly _tag: "ProgLoad"
  readonly as: ProgRef
  readonly attr: ProgAttributes
  readonly code: Code
  readonly btf?: BtfRef
  /** Which instruction starts which function; needs `btf`. */
  readonly funcInfo?: InfoRecords
  /** Which instruction came from which line; needs `btf`. */
  readonly lineInfo?: InfoRecords
  /**
   * The kernel function, tracepoint or hook that the program's type and attach type need to know at load, or the function
   * of another program.
   */
  readonly attachTo?: KernelSymbol | ProgFunction
  /** Maps that the instructions name by their position here (`BPF_PSEUDO_MAP_IDX`). Not together with kernel symbols. */
  readonly fdArray?: ReadonlyArray<MapRef>
  /** A signature of the instructions as they stand, which must have no refs, and of what `fdArray` holds. */
  readonly signature?: ProgSignature
  readonly log: LogRequest
}

/** Keeps a map alive as long as the program lives. */
export interface ProgBindMap {
  readonly _tag: "ProgBindMap"
  readonly prog: ProgRef
  readonly map: MapRef
}

/** Runs a program on data or a context (`BPF_PROG_TEST_RUN`). Which of the two it takes depends on its type. */
export interface ProgTestRun {
  readonly _tag: "ProgTestRun"
  readonly prog: ProgRef
  readonly dataIn?: Uint8Array
  /** Room for the data that comes back, bytes; 0 asks for none. */
  readonly dataOutSize: number
  readonly contextIn?: Uint8Array
  readonly contextOutSize: number
  /** Times to run; `duration` is their mean. Types that refuse repetition take 0. */
  readonly repeat: number
  readonly flags: number
  readonly cpu: number
  readonly batchSize: number
}

/** What the kernel says of a program. */
export interface ProgGetInfo {
  readonly _tag: "ProgGetInfo"
  readonly prog: ProgRef
  /** With the instructions as the verifier left them (`instructions` and `jitedSymbols` of the answer). */
  readonly instructions?: boolean
  /** With what only the descriptor's file in procfs tells (`file` of the answer). */
  readonly file?: boolean
}

/** What the kernel says of a BTF object. */
export interface BtfGetInfo {
  readonly _tag: "BtfGetInfo"
  readonly btf: BtfRef
  /** With the blob itself. */
  readonly bytes?: boolean
}

/** The kinds of object that the kernel gives identifiers to. */
export type IdKind = "Map" | "Prog" | "Btf" | "Link"

/** The lowest identifier of this kind above `after`, `undefined` after the last. Begin with 0. Needs `CAP_SYS_ADMIN`. */
export interface IdNext {
  readonly _tag: "IdNext"
  readonly kind: IdKind
  readonly after: number
}

/** Opens the object of an identifier: `ENOENT` where it has gone. Needs `CAP_SYS_ADMIN`. */
export interface GetById {
  readonly _tag: "GetById"
  /** What it is called from now on; its kind is the kind of the identifier. */
  readonly as: MapRef | ProgRef | BtfRef | LinkRef
  readonly id: number
}

/** Gives an object a name in a bpf file system. Undone when the session closes, unless it was committed. */
export interface ObjPin {
  readonly _tag: "ObjPin"
  readonly object: MapRef | ProgRef | LinkRef
  readonly path: string
}

/**
 * Takes a name in a bpf file system away; `ENOENT` where there is none. The folder stays. It cannot be undone: the name may be
 * the last that kept its object alive. So no plan has it, and a session refuses it (`EBUSY`) while it has pins that it
 * may still have to take back itself: commit first.
 */
export interface ObjUnpin {
  readonly _tag: "ObjUnpin"
  readonly path: string
}

/** Opens what is pinned at a path. */
export interface ObjGet {
  readonly _tag: "ObjGet"
  readonly as: MapRef | ProgRef | LinkRef
  readonly path: string
}

/** Takes an object of the user's into the session, which never closes it: a descriptor that the user has open. */
export interface Adopt {
  readonly _tag: "Adopt"
  /** What it is called from now on. What the descriptor stands for must be of this kind. */
  readonly as: MapRef | ProgRef | LinkRef
  readonly fd: number
}

/** Releases what a ref names before its session ends. */
export interface Close {
  readonly _tag: "Close"
  readonly ref: Ref
}

/** Every call by its tag. */
export interface Calls extends AttachingCalls {
  readonly BtfLoad: BtfLoad
  readonly MapCreate: MapCreate
  readonly MapUpdate: MapUpdate
  readonly MapLookup: MapLookup
  readonly MapDelete: MapDelete
  readonly MapNextKey: MapNextKey
  readonly MapFreeze: MapFreeze
  readonly MapMmap: MapMmap
  readonly ViewWrite: ViewWrite
  readonly MapGetInfo: MapGetInfo
  readonly ProgLoad: ProgLoad
  readonly ProgBindMap: ProgBindMap
  readonly ProgTestRun: ProgTestRun
  readonly LoaderRun: LoaderRun
  readonly ProgGetInfo: ProgGetInfo
  readonly BtfGetInfo: BtfGetInfo
  readonly IdNext: IdNext
  readonly GetById: GetById
  readonly ObjPin: ObjPin
  readonly ObjUnpin: ObjUnpin
  readonly ObjGet: ObjGet
  readonly Adopt: Adopt
  readonly Close: Close
}

/** The name of a call. */
export type CallTag = keyof Calls

/** A call to a kernel. */
export type KernelCall = Calls[CallTag]

/** What a run of `ProgTestRun` answers. */
export interface TestRunResult {
  /** The program's return value, unsigned 32 bits. */
  readonly retval: number
  /** Mean nanoseconds per run. */
  readonly duration: number
  readonly dataOut: Uint8Array
  readonly contextOut: Uint8Array
}

/** Shared memory with the kernel. Offsets are bytes; 64-bit ones must be 8-byte aligned, 32-bit ones 4-byte aligned. */
export interface MemoryView {
  /** The mapping itself, valid until the view is closed; copy what must outlive it. */
  readonly bytes: Uint8Array
  /** Where its first byte is, for pointers that programs leave in it; absent where memory has no addresses of this process. */
  readonly address?: bigint
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

/** What the kernel says of a program. */
export interface ProgInfo {
  readonly id: number
  readonly type: number
  readonly name: string
  /** Digest of the instructions, 16 hexadecimal digits. */
  readonly tag: string
  readonly gplCompatible: boolean
  readonly xlatedLength: number
  readonly jitedLength: number
  /** Identifiers of the maps that the program uses. */
  readonly mapIds: ReadonlyArray<number>
  readonly btfId: number
  readonly funcInfo: InfoRecords
  readonly lineInfo: InfoRecords
  readonly verifiedInstructions: number
  /** When it was loaded: nanoseconds since boot. */
  readonly loadTime: bigint
  /** Who loaded it. */
  readonly createdByUid: number
  /** The device that it runs on, 0 for the machine itself. */
  readonly ifindex: number
  /** How long it has run in all, nanoseconds; 0 unless statistics are switched on (`kernel.bpf_stats_enabled`). */
  readonly runTime: bigint
  /** How often it ran while statistics were on. */
  readonly runCount: bigint
  /** How often it did not run because it was running already on that CPU. */
  readonly recursionMisses: bigint
  /** Where it attaches, if that is known at load: a BTF object of the kernel's (0: a program's), and a type in it. */
  readonly attachBtfObjectId: number
  readonly attachBtfId: number
  /** Instruction slots as the kernel runs or compiles them; absent unless asked for, empty where the kernel hides them. */
  readonly instructions?: Uint8Array
  /** Addresses of the compiled functions, the program's own first; zeros where the kernel hides them. */
  readonly jitedSymbols?: ReadonlyArray<bigint>
  /** There where it was asked for, and where procfs could be read. */
  readonly file?: ProgFile
}

/** What procfs tells of a program's descriptor. */
export interface ProgFile {
  /** Bytes of memory that the program takes. */
  readonly memlock: bigint | undefined
}

/** What the kernel says of a BTF object. */
export interface BtfInfo {
  readonly id: number
  /** `vmlinux`, the name of a module, or `""`: what came with a program has none. */
  readonly name: string
  /** The kernel's own or a module's, not one that a program brought. */
  readonly isKernels: boolean
  /** Bytes of the blob. */
  readonly size: number
  /** The blob: absent unless asked for. */
  readonly bytes?: Uint8Array
}

/** What each call answers. */
export interface Results extends AttachingResults {
  readonly BtfLoad: void
  readonly MapCreate: void
  readonly MapUpdate: void
  readonly MapLookup: Uint8Array | undefined
  readonly MapDelete: void
  readonly MapNextKey: Uint8Array | undefined
  readonly MapFreeze: void
  readonly MapMmap: MemoryView
  readonly ViewWrite: void
  readonly MapGetInfo: MapInfo
  /** The verifier's words, empty when they were not asked for. */
  readonly ProgLoad: { readonly log: string }
  readonly ProgBindMap: void
  readonly ProgTestRun: TestRunResult
  readonly LoaderRun: LoaderRunResult
  readonly ProgGetInfo: ProgInfo
  readonly BtfGetInfo: BtfInfo
  readonly IdNext: number | undefined
  readonly GetById: void
  readonly ObjPin: void
  readonly ObjUnpin: void
  readonly ObjGet: void
  readonly Adopt: void
  readonly Close: void
}

/** What a call of this type answers. */
export type ResultOf<C extends KernelCall> = Results[C["_tag"]]

/** Whether a program is for a function of another program. */
export const isProgFunction = (target: NonNullable<ProgLoad["attachTo"]>): target is ProgFunction => "program" in target

/** The refs that a call brings to life, changes and only reads. */
export interface Footprint {
  readonly defines: Ref | undefined
  /** Further refs that come to life, as far as the call's answer brings what they name. */
  readonly publishes?: ReadonlyArray<Ref>
  readonly changes: ReadonlyArray<Ref>
  readonly reads: ReadonlyArray<Ref>
}

const codeReads = (code: Code): ReadonlyArray<Ref> => {
  const reads: Array<Ref> = []
  const seen = new Map<number, symbol | undefined>()
  for (const ref of code.refs) {
    if (ref._tag === "SymbolRef") continue
    const { index, session } = ref.map
    // Another session's ref is not hidden by one of ours of the same number.
    if (seen.has(index) && seen.get(index) === session) continue
    seen.set(index, session)
    reads.push(ref.map)
  }
  return reads
}

/** Which refs a call touches, and how: what a session checks before it performs, and what orders the steps of a plan. */
export const footprint = (call: KernelCall): Footprint => {
  switch (call._tag) {
    case "BtfLoad":
    case "GetById":
    case "ObjGet":
    case "Adopt":
      return { defines: call.as, changes: [], reads: [] }
    case "MapCreate": {
      const reads: Array<Ref> = []
      if (call.inner) reads.push(call.inner)
      if (call.types) reads.push(call.types.btf)
      return { defines: call.as, changes: [], reads }
    }
    case "MapUpdate":
      return { defines: undefined, changes: [call.map], reads: call.value.refs.map((ref) => ref.to) }
    case "MapDelete":
    case "MapFreeze":
      return { defines: undefined, changes: [call.map], reads: [] }
    case "MapLookup":
    case "MapNextKey":
    case "MapGetInfo":
      return { defines: undefined, changes: [], reads: [call.map] }
    case "MapMmap":
      // An arena must have its place before programs that use it are loaded, so they wait as for a change.
      return { defines: call.as, changes: [call.map], reads: [] }
    case "ViewWrite":
      return { defines: undefined, changes: [call.view], reads: [] }
    case "ProgLoad": {
      const reads = [...codeReads(call.code), ...(call.fdArray ?? [])]
      if (call.btf) reads.push(call.btf)
      if (call.attachTo && isProgFunction(call.attachTo)) reads.push(call.attachTo.program)
      return { defines: call.as, changes: [], reads }
    }
    case "ProgBindMap":
      return { defines: undefined, changes: [call.prog], reads: [call.map] }
    case "ProgTestRun":
      // Running a program may write to any map, so it is ordered after every change of the program itself.
      return { defines: undefined, changes: [call.prog], reads: [] }
    case "LoaderRun":
      return { defines: undefined, publishes: call.publishes.map(({ as }) => as), changes: [call.prog], reads: [] }
    case "ProgGetInfo":
      return { defines: undefined, changes: [], reads: [call.prog] }
    case "BtfGetInfo":
      return { defines: undefined, changes: [], reads: [call.btf] }
    case "IdNext":
    case "ObjUnpin":
      return { defines: undefined, changes: [], reads: [] }
    case "ObjPin":
      return { defines: undefined, changes: [call.object], reads: [] }
    case "Close":
      return { defines: undefined, changes: [call.ref], reads: [] }
    default:
      return attachingFootprint(call)
  }
}
