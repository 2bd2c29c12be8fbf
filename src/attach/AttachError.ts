/**
 * What can go wrong when a program is attached.
 */
import * as Schema from "effect/Schema"
import { type CallError, ErrnoSchema, KernelError } from "../services/Kernel/KernelError.ts"

/** Something was not attached, or not detached, updated or pinned. */
export class AttachError extends Schema.TaggedError<AttachError>()("AttachError", {
  reason: Schema.Literals([
    /** The kernel refused: `errno` and `call` say what. */
    "Refused",
    /** The target makes no sense, or is not of the kind that the program is for. */
    "BadTarget",
    /** There is no such function, file, tracepoint or device. */
    "NotFound",
    /** There are several where one was wanted. */
    "Ambiguous",
    /** The running kernel cannot do it at all. */
    "Unsupported",
    /** The object has no program or map of this name. */
    "NoSuchProgram",
    /** The load did not take the program. */
    "NotLoaded",
    /** The program is of another kind. */
    "WrongType"
  ]),
  /** How it was to be attached: `kprobe`, `uprobe.multi`, `cgroup`. */
  kind: Schema.String,
  /** To what, for people: the name of a function, `/bin/sh:main`, `eth0`. */
  target: Schema.String,
  /** The program's name, or that of a struct_ops map. */
  program: Schema.String,
  detail: Schema.String,
  /** The kernel's answer, where it gave one. */
  errno: Schema.optionalKey(ErrnoSchema),
  /** The call that it answered. */
  call: Schema.optionalKey(Schema.String),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const target = this.target === "" ? "" : ` ${this.target}`
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${this.program}, ${this.kind}${target}: ${this.detail}${hint}`
  }
}

/** What is attached, and to what: the parts of every error. */
export interface What {
  readonly kind: string
  readonly target: string
  readonly program: string
}

/** Every way in which attaching can fail. */
export type AttachFailure = AttachError | CallError

/** An error of attaching that is not the kernel's answer. */
export const refuse = (
  { kind, program, target }: What,
  reason: AttachError["reason"],
  detail: string,
  hint?: string
): AttachError => new AttachError({ reason, kind, target, program, detail, ...(hint === undefined ? {} : { hint }) })

/** The kernel's answer as an error of attaching; other errors are left as they are. */
export const explain = <E>(what: What, error: E): E | AttachError =>
  error instanceof KernelError
    ? new AttachError({
      reason: "Refused",
      kind: what.kind,
      target: what.target,
      program: what.program,
      detail: `the kernel answers ${error.errno} to ${error.call}`,
      errno: error.errno,
      call: error.call,
      ...(error.hint === undefined ? {} : { hint: error.hint })
    })
    : error
