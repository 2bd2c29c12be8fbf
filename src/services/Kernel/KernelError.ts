/**
 * What can go wrong between a plan and a kernel.
 */
import * as Schema from "effect/Schema"
import * as Errno from "./abi/Errno.ts"
import { type RefusalReason, reasons } from "./RefusalCause.ts"

/** The name of an error number as a schema: one of `Errno.names`. */
export const ErrnoSchema: Schema.Literals<ReadonlyArray<Errno.Errno>> = Schema.Literals(Errno.names)

/** The name of a cause as a schema: one of `RefusalCause.reasons`. */
export const RefusalReasonSchema: Schema.Literals<ReadonlyArray<RefusalReason>> = Schema.Literals(reasons)

/** An attribute of a map that a kernel refuses, as trying has shown. */
export const RefusedAttribute = Schema.Struct({
  /** The attribute, as `union bpf_attr` names it; `btf` stands for the types of key and value, `inner_map` for the map's shape. */
  attribute: Schema.Literals([
    "type",
    "key_size",
    "value_size",
    "max_entries",
    "map_flags",
    "numa_node",
    "map_ifindex",
    "map_extra",
    "map_name",
    "btf",
    "inner_map",
    "value_type",
    "exclusive_to"
  ]),
  /** What was asked for: `1000`, `BPF_F_MMAPABLE`, `without BPF_F_NO_PREALLOC`, `none`. */
  value: Schema.String,
  /** Why, as far as the type of the map tells. */
  reason: Schema.String
})

/** An attribute of a map that a kernel refuses. */
export type RefusedAttribute = typeof RefusedAttribute.Type

/** The kernel refused a call. */
export class KernelError extends Schema.TaggedError<KernelError>()("KernelError", {
  /** The call's tag, or what was asked when it was not a call: `"MapCreate"`, `"VmlinuxTypes"`. */
  call: Schema.String,
  errno: ErrnoSchema,
  /** The number as the kernel gave it, positive. */
  errnoNumber: Schema.Number,
  /** What the call was about: a map's or program's name, a path. */
  subject: Schema.String,
  /** The kernel's own words, where it has any (the log of a refused BTF). */
  log: Schema.optionalKey(Schema.String),
  /** Of a batch: how many elements were done before the kernel refused one. */
  done: Schema.optionalKey(Schema.Number),
  /** Of a map that was refused without a word: the attributes that the kernel refuses. */
  attributes: Schema.optionalKey(Schema.Array(RefusedAttribute)),
  /** Why, where the error number alone does not say it and the machine does. */
  reason: Schema.optionalKey(RefusalReasonSchema),
  /** The capabilities that are missing, where that is why: `CAP_PERFMON`. */
  capabilities: Schema.optionalKey(Schema.Array(Schema.String)),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const number = this.errno === "EIO" && this.errnoNumber !== Errno.numbers.EIO ? ` ${this.errnoNumber}` : ""
    const lines = [`${this.call} of ${this.subject}: the kernel answers ${this.errno}${number}`]
    if (this.done !== undefined) lines.push(`elements done before: ${this.done}`)
    if (this.log) lines.push(this.log.trimEnd())
    if (this.hint) lines.push(`hint: ${this.hint}`)
    return lines.join("\n")
  }
}

/** The verifier refused a program. */
export class VerifierError extends Schema.TaggedError<VerifierError>()("VerifierError", {
  program: Schema.String,
  errno: ErrnoSchema,
  errnoNumber: Schema.Number,
  /** Everything that the verifier said. */
  log: Schema.String,
  /** The line or two that name the cause. */
  summary: Schema.String,
  /** The instruction that the verifier looked at last, or that needs what the kernel does not have: its slot in the program. */
  instruction: Schema.optionalKey(Schema.Number),
  /** The CO-RE relocation there, where that is the cause: its kind and what it accesses. */
  relocation: Schema.optionalKey(Schema.String),
  /**
   * The C line that the instruction was compiled from: file, line and column from 1, the line's text without the blanks around it,
   * and how many bytes of those were in front of it: the column counts them.
   */
  file: Schema.optionalKey(Schema.String),
  line: Schema.optionalKey(Schema.Number),
  column: Schema.optionalKey(Schema.Number),
  indent: Schema.optionalKey(Schema.Number),
  source: Schema.optionalKey(Schema.String),
  /** Why, where the error number alone does not say it and the machine does. */
  reason: Schema.optionalKey(RefusalReasonSchema),
  /** The capabilities that are missing, where that is why: `CAP_PERFMON`. */
  capabilities: Schema.optionalKey(Schema.Array(Schema.String)),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const said = this.summary === "" ? "" : `: ${this.summary}`
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `program ${this.program} was refused (${this.errno})${said}${hint}`
  }
}

/** A call named something that its session does not know, or knows already: a mistake of the caller, not of the kernel. */
export class RefError extends Schema.TaggedError<RefError>()("RefError", {
  call: Schema.String,
  /** The ref as text: `map#3`. */
  ref: Schema.String,
  reason: Schema.Literals(["Unknown", "Absent", "InUse", "Closed", "OtherSession", "WrongKind"])
}) {
  override get message(): string {
    const why = {
      Unknown: "names nothing in this session",
      Absent: "names something whose creation failed",
      InUse: "already names something in this session",
      Closed: "names something that was closed",
      OtherSession: "belongs to another session",
      WrongKind: "names another kind of object than this call takes"
    }[this.reason]
    return `${this.call}: ${this.ref} ${why}`
  }
}

/** This kernel cannot do what the call asks, whatever the arguments: a mistake of the choice of kernel. */
export class UnsupportedCall extends Schema.TaggedError<UnsupportedCall>()("UnsupportedCall", {
  call: Schema.String,
  kernel: Schema.String,
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    return `${this.call}: the ${this.kernel} kernel ${this.detail}${
      this.hint === undefined ? "" : `\nhint: ${this.hint}`
    }`
  }
}

/**
 * A program did what no verifier lets a program do, or what nothing implements, while it ran. Only kernels that do not
 * verify programs before they run them answer so. What the program did until then has happened.
 */
export class ProgramFault extends Schema.TaggedError<ProgramFault>()("ProgramFault", {
  call: Schema.String,
  program: Schema.String,
  /** What went wrong, as `VmError` has it: `"OutOfBounds"`, `"NotMapped"`, `"UnknownHelper"`, `"Budget"`. */
  reason: Schema.String,
  /** The fault in words, with program, instruction and source line. */
  detail: Schema.String,
  /** The instruction, in slots of 8 bytes from the start of the program that ran (after tail calls, the last one). */
  instruction: Schema.optionalKey(Schema.Number),
  /** The program that ran, where a tail call has led to another one. */
  running: Schema.optionalKey(Schema.String),
  /** File and line of its source, `count.bpf.c:12`, where the program has line records. */
  line: Schema.optionalKey(Schema.String),
  /** The text of that line. */
  source: Schema.optionalKey(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const source = this.source === undefined || this.source === "" ? "" : `\n  ${this.source}`
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${this.call} of ${this.program}: ${this.detail}${source}${hint}`
  }
}

/** Every way in which a call can fail. */
export type CallError = KernelError | VerifierError | RefError | UnsupportedCall | ProgramFault

/** The same refusal, with another name for what the call was about. */
export const withSubject = (error: KernelError, subject: string): KernelError => {
  const { attributes, call, capabilities, done, errno, errnoNumber, hint, log, reason } = error
  return new KernelError({
    call,
    errno,
    errnoNumber,
    subject,
    ...(log === undefined ? {} : { log }),
    ...(done === undefined ? {} : { done }),
    ...(attributes === undefined ? {} : { attributes }),
    ...(reason === undefined ? {} : { reason }),
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(hint === undefined ? {} : { hint })
  })
}

/** A kernel error from an error number. */
export const fromErrno = (
  call: string,
  subject: string,
  errnoNumber: number,
  more: {
    readonly log?: string
    readonly done?: number
    readonly hint?: string
    readonly reason?: RefusalReason
    readonly capabilities?: ReadonlyArray<string>
  } = {}
): KernelError => new KernelError({ call, subject, errno: Errno.fromNumber(errnoNumber), errnoNumber, ...more })
