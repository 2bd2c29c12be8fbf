/**
 * Calls that load programs, run them and ask about them, and what they answer.
 */
import type { BtfRef, MapRef, ProgRef } from "../Ref.ts"
import type { Code, InfoRecords, KernelSymbol } from "./Code.ts"
import type { ProgSignature } from "./LoaderCalls.ts"

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
  /** With the machine code that it was compiled to (`machineCode` and `jitedSymbols` of the answer). */
  readonly machineCode?: boolean
  /** With what only the descriptor's file in procfs tells (`file` of the answer). */
  readonly file?: boolean
}

/**
 * Takes what a program has printed to one of its streams, at most `length` bytes: none where there is nothing, and nothing is
 * waited for. Programs print with `bpf_stream_printk`, the kernel reports faults of programs on `Stderr`. Each byte is taken
 * once, whoever takes it. Kernels from 6.17 on have streams; others answer `EINVAL`.
 */
export interface ProgStreamRead {
  readonly _tag: "ProgStreamRead"
  readonly prog: ProgRef
  readonly stream: "Stdout" | "Stderr"
  readonly length: number
}

/** What a run of `ProgTestRun` answers. */
export interface TestRunResult {
  /** The program's return value, unsigned 32 bits. */
  readonly retval: number
  /** Mean nanoseconds per run. */
  readonly duration: number
  readonly dataOut: Uint8Array
  readonly contextOut: Uint8Array
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
  /** Addresses of the compiled functions, the program's own first; none where the kernel hides them. */
  readonly jitedSymbols?: ReadonlyArray<bigint>
  /** Absent unless asked for, and where the program is not compiled or the kernel hides it. */
  readonly machineCode?: MachineCode
  /** There where it was asked for, and where procfs could be read. */
  readonly file?: ProgFile
}

/** What a program was compiled to. */
export interface MachineCode {
  /** The instructions of the processor, function after function. */
  readonly bytes: Uint8Array
  /** Bytes of each function, in the order of `jitedSymbols`. */
  readonly functionLengths: ReadonlyArray<number>
  /** Addresses of the instructions that the records of `lineInfo` are for, one for each in their order; none where hidden. */
  readonly lineAddresses: ReadonlyArray<bigint>
}

/** What procfs tells of a program's descriptor. */
export interface ProgFile {
  /** Bytes of memory that the program takes. */
  readonly memlock: bigint | undefined
}

/** Whether a program is for a function of another program. */
export const isProgFunction = (target: NonNullable<ProgLoad["attachTo"]>): target is ProgFunction => "program" in target
