/** The error of the USDT room. */
import * as Schema from "effect/Schema"

/**
 * Notes of probes that cannot be read, arguments that cannot be fetched, or an object whose maps cannot hold them.
 *
 * - `Elf`: the file is no program or library, or its headers are damaged
 * - `Architecture`: arguments of this machine are not understood
 * - `NoNotes`: the file has no `.note.stapsdt`: nobody put probes into it
 * - `NoSuchProbe`: none of its probes has the name; `hint` lists those that are there
 * - `Note`: a note is damaged
 * - `Address`: a probe or its semaphore is in no segment of the file, or in one of the wrong kind
 * - `Argument`: the text of an argument is not understood
 * - `Register`: an argument is in a register that the kernel does not save, or under a name that is none
 * - `TooManyArguments`: more than the object's map has room for
 * - `Layout`: the object's map of argument specifications is not laid out as any version of `usdt.bpf.h` has it
 * - `OldLayout`: the object was compiled with a `usdt.bpf.h` that does not know an argument of this kind
 *
 * `offset` counts bytes from the start of the file; `argument` counts from 0, `text` is what stands in the note.
 */
export class UsdtError extends Schema.TaggedError<UsdtError>()("UsdtError", {
  reason: Schema.Literals([
    "Elf",
    "Architecture",
    "NoNotes",
    "NoSuchProbe",
    "Note",
    "Address",
    "Argument",
    "Register",
    "TooManyArguments",
    "Layout",
    "OldLayout"
  ]),
  detail: Schema.String,
  /** `provider:name`. */
  probe: Schema.optionalKey(Schema.String),
  argument: Schema.optionalKey(Schema.Number),
  text: Schema.optionalKey(Schema.String),
  offset: Schema.optionalKey(Schema.Number),
  hint: Schema.optionalKey(Schema.String)
}) {
  /** What is wrong and where, without what could be done. */
  get description(): string {
    const where = [
      ...(this.probe === undefined ? [] : [this.probe]),
      ...(this.argument === undefined ? [] : [`argument ${this.argument}`]),
      ...(this.text === undefined
        ? []
        : [JSON.stringify(this.text.length > 80 ? `${this.text.slice(0, 80)}…` : this.text)])
    ]
    const place = where.length === 0 ? "" : `${where.join(", ")}: `
    const offset = this.offset === undefined ? "" : ` (file offset 0x${this.offset.toString(16)})`
    return place + this.detail + offset
  }

  override get message(): string {
    return this.hint === undefined ? this.description : `${this.description}; ${this.hint}`
  }
}

/** What an error may carry beside its reason and detail. */
export type UsdtErrorFields = Omit<ConstructorParameters<typeof UsdtError>[0], "reason" | "detail">

/** Throws a `UsdtError`; for the inside of this folder, whose public functions catch it with `attempt`. */
export const refuse: (reason: UsdtError["reason"], detail: string, fields?: UsdtErrorFields) => never = (
  reason,
  detail,
  fields = {}
) => {
  throw new UsdtError({ ...fields, reason, detail })
}

/** Whether a thrown value is a `UsdtError`; for `attempt`. */
export const isUsdtError = (thrown: unknown): thrown is UsdtError => thrown instanceof UsdtError
