/**
 * What a kernel says of instructions that were made invalid on purpose, in the words of the object: the CO-RE relocation
 * with its C line and what the kernel has instead, the map, the kernel function.
 *
 * Such instructions call helpers that no kernel has, so the verifier's complaint is a number. Only the object and what
 * became of it know what stood there.
 */
import * as VerifierLog from "../../diagnostics/VerifierLog.ts"
import type { ProgLoad, ProgTestRun } from "../../services/Kernel/KernelCall.ts"
import { type KernelError, ProgramFault, VerifierError, withSubject } from "../../services/Kernel/KernelError.ts"
import { isGlobalData } from "../open/BpfObject.ts"
import type { CoreEntry } from "../relocate/CoreReport.ts"
import * as CoreReport from "../relocate/CoreReport.ts"
import * as CoreText from "../relocate/CoreText.ts"
import type { RelocatedObject } from "../relocate/RelocatedObject.ts"
import * as SourceLines from "../relocate/SourceLines.ts"

/** Something that a program needs and that the kernel, or the load, does not have. */
interface Missing {
  /** As the log names it. */
  readonly name: string
  readonly hint: string
  readonly entry?: CoreEntry
}

const missingOf = ({ object }: RelocatedObject, entry: CoreEntry | undefined, poison: VerifierLog.Poison) => {
  switch (poison.kind) {
    case "Map": {
      const map = object.maps[poison.index]
      return map === undefined ? undefined : {
        name: map.name,
        hint: isGlobalData(map)
          ? "a kernel before Linux 5.2 cannot load addresses of variables: keep them in a map of your own"
          : "create the map, or decide by a constant (a const volatile variable) whether the program uses it"
      }
    }
    case "KernelFunction": {
      const extern = object.externs[poison.index]
      return extern === undefined || extern._tag === "Kconfig" ? undefined : {
        name: extern.name,
        hint: `this kernel does not have the function: guard the call with if (bpf_ksym_exists(${extern.name}))`
      }
    }
    case "CoreRelocation":
      return entry === undefined
        ? undefined
        : { name: CoreText.missing(entry), hint: CoreText.advice(entry), entry }
  }
}

const find = (relocated: RelocatedObject, program: number, poison: VerifierLog.Poison): Missing | undefined => {
  const [entry] = poison.kind === "CoreRelocation" ? CoreReport.at(relocated, program, poison.at) : []
  return missingOf(relocated, entry, poison)
}

/** The fields of an error that say where a relocation stands. */
const fieldsOf = (entry: CoreEntry | undefined) => ({
  ...(entry === undefined ? {} : { relocation: CoreText.relocation(entry) }),
  ...(entry?.source === undefined ? {} : {
    file: entry.source.file,
    line: entry.source.line,
    column: entry.source.column,
    indent: entry.source.indent,
    source: entry.source.text
  })
})

/** A program's whole name: the kernel knows 15 characters of it. */
const wholeName = ({ object }: RelocatedObject, call: ProgLoad): string =>
  object.programs[call.as.index]?.name ?? call.attr.name

/** The C line of the instruction that the verifier looked at last, in the program or in a function that it calls. */
const located = (relocated: RelocatedObject, call: ProgLoad, log: string) => {
  const instruction = VerifierLog.lastInstruction(log)
  if (instruction === undefined) return undefined
  const placement = relocated.programs.find(({ program }) => program === call.as.index)?.layout
    .find(({ slot, slots }) => instruction >= slot && instruction < slot + slots)
  if (placement === undefined) return undefined
  const found = SourceLines.of(relocated.object)(placement.program, instruction - placement.slot)
  return found === undefined
    ? { instruction }
    : {
      instruction,
      file: found.file,
      line: found.line,
      column: found.column,
      indent: found.indent,
      source: found.text
    }
}

/** Why a call was refused, as fields of another error. */
const causeOf = (
  { capabilities, reason }: {
    readonly reason: VerifierError["reason"] | undefined
    readonly capabilities: VerifierError["capabilities"] | undefined
  }
) => ({
  ...(reason === undefined ? {} : { reason }),
  ...(capabilities === undefined ? {} : { capabilities })
})

/** The verifier's refusal of a program, with its C line, and explained where its complaint is about an instruction that was made invalid. */
export const refusal = (relocated: RelocatedObject, call: ProgLoad, error: VerifierError): VerifierError => {
  const { capabilities, errno, errnoNumber, hint, log, reason, summary } = error
  const program = wholeName(relocated, call)
  const cause = causeOf({ reason, capabilities })
  const poison = VerifierLog.poisonIn(log)
  const missing = poison === undefined ? undefined : find(relocated, call.as.index, poison)
  if (poison === undefined || missing === undefined) {
    const place = located(relocated, call, log)
    if (place === undefined && program === error.program) return error
    return new VerifierError({
      program,
      errno,
      errnoNumber,
      log,
      summary,
      ...place,
      ...cause,
      ...(hint === undefined ? {} : { hint })
    })
  }
  const explained = VerifierLog.explain(log, () => missing.name)
  return new VerifierError({
    program,
    errno,
    errnoNumber,
    log: explained,
    summary: VerifierLog.summarise(explained),
    instruction: poison.at,
    ...fieldsOf(missing.entry),
    hint: missing.hint
  })
}

/** A refusal of a program that was not the verifier's, under the program's whole name. */
export const named = (relocated: RelocatedObject, call: ProgLoad, error: KernelError): KernelError => {
  const subject = wholeName(relocated, call)
  return subject === error.subject || error.subject !== call.attr.name ? error : withSubject(error, subject)
}

/** The end of a run at such an instruction, explained. */
export const fault = (relocated: RelocatedObject, call: ProgTestRun, error: ProgramFault): ProgramFault => {
  const { instruction } = error
  // After a tail call the instruction is another program's.
  if (error.reason !== "Missing" || instruction === undefined || error.running !== undefined) return error
  const [entry] = CoreReport.at(relocated, call.prog.index, instruction)
  return entry === undefined ? error : new ProgramFault({
    ...fieldsOfFault(error),
    detail: `${error.detail}: ${CoreText.missing(entry)}`,
    hint: CoreText.advice(entry)
  })
}

const fieldsOfFault = ({ call, instruction, line, program, reason, source }: ProgramFault) => ({
  call,
  program,
  reason,
  ...(instruction === undefined ? {} : { instruction }),
  ...(line === undefined ? {} : { line }),
  ...(source === undefined ? {} : { source })
})
