/**
 * Small objects that each ask a kernel for a few things about `task_struct`, `sk_buff` and `pid_type`, some of them only
 * after they have looked whether it is there. What they ask for is known by name, so that a table can say what each
 * kernel answers: see `KernelVariants.ts`.
 */
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { BPF_B, BPF_DW, BPF_JEQ, BPF_LSH, BPF_RSH, BPF_W } from "../../src/insn/InsnConstants.ts"
import type { CoreKind } from "../../src/stages/relocate/core/Core.ts"
import { objectFile, type Recorded, recorded, type RecordSpec } from "../unit/stages/relocate/core/Records.ts"
import * as B from "./arbitrary/BtfBlob.ts"

// The objects' types. They lie elsewhere than in any kernel, and are of the flavors that programs are written with.
const types: ReadonlyArray<B.Rec> = [
  B.int("int", 4, 1), // 1
  B.int("unsigned int", 4), // 2
  B.int("char", 1, 1), // 3
  B.array(3, 2, 16), // 4
  B.struct("task_struct", 40, [
    ["pid", 1, 0],
    ["flags", 2, 32],
    ["tgid", 1, 64],
    ["comm", 4, 96],
    ["in_execve", 2, 224, 1]
  ]), // 5
  B.int("long", 8, 1), // 6
  B.struct("task_struct___old", 8, [["state", 6, 0]]), // 7
  B.struct("task_struct___new", 4, [["__state", 2, 0]]), // 8
  B.struct("task_struct___like", 8, [["pid", 1, 0], ["flags", 2, 32]]), // 9
  B.enumeration("pid_type", 4, false, [["PIDTYPE_TGID", 77]]), // 10
  B.struct("sk_buff", 8, [["len", 2, 0], ["mark", 2, 32]]), // 11
  B.struct("there_is_no_such_struct", 4, [["member", 1, 0]]) // 12
]

const TASK = 5
const OLD = 7
const NEW = 8
const LIKE = 9
const PID_TYPE = 10
const SK_BUFF = 11
const NOWHERE = 12

interface Question extends Omit<RecordSpec, "kind"> {
  readonly kind: CoreKind
  /** Absent from every kernel here but those that say otherwise. */
  readonly absent?: boolean
}

const one = (kind: CoreKind, type: number, access: string, insn: Uint8Array): Question => ({ kind, type, access, insn })
const mov = (value: number): Uint8Array => Encode.mov64Imm(0, value)
const missing = (question: Question): Question => ({ ...question, absent: true })

/** All that objects ask for, by name: one record and its instruction each. */
export const questions = {
  pidLoad: one("byte_off", TASK, "0:0", Encode.ldx(BPF_W, 0, 1, 0)),
  pidExists: one("field_exists", TASK, "0:0", mov(1)),
  pidOffset: one("byte_off", TASK, "0:0", mov(0)),
  pidSize: one("byte_sz", TASK, "0:0", mov(4)),
  pidSigned: one("signed", TASK, "0:0", mov(1)),
  flagsLoad: one("byte_off", TASK, "0:1", Encode.ldx(BPF_W, 0, 1, 4)),
  tgidOffset: one("byte_off", TASK, "0:2", mov(8)),
  commLoad: one("byte_off", TASK, "0:3:8", Encode.ldx(BPF_B, 0, 1, 20)),
  commSize: one("byte_sz", TASK, "0:3", mov(16)),
  execOffset: one("byte_off", TASK, "0:4", mov(28)),
  execSize: one("byte_sz", TASK, "0:4", mov(4)),
  execLeft: one("lshift_u64", TASK, "0:4", Encode.alu64Imm(BPF_LSH, 0, 63)),
  execRight: one("rshift_u64", TASK, "0:4", Encode.alu64Imm(BPF_RSH, 0, 63)),
  execSigned: one("signed", TASK, "0:4", mov(0)),
  newStateExists: one("field_exists", NEW, "0:0", mov(1)),
  newStateLoad: one("byte_off", NEW, "0:0", Encode.ldx(BPF_W, 0, 1, 0)),
  oldStateExists: missing(one("field_exists", OLD, "0:0", mov(1))),
  oldStateLoad: missing(one("byte_off", OLD, "0:0", Encode.ldx(BPF_DW, 0, 1, 0))),
  taskExists: one("type_exists", TASK, "0", mov(1)),
  taskSize: one("type_size", TASK, "0", mov(40)),
  taskId: one("target_type_id", TASK, "0", Encode.ldImm64(0, BigInt(TASK))),
  taskMatches: one("type_matches", LIKE, "0", mov(1)),
  tgidExists: one("enumval_exists", PID_TYPE, "0", mov(1)),
  tgidValue: one("enumval_value", PID_TYPE, "0", Encode.ldImm64(0, 77n)),
  lenLoad: one("byte_off", SK_BUFF, "0:0", Encode.ldx(BPF_W, 0, 1, 0)),
  lenOffset: one("byte_off", SK_BUFF, "0:0", mov(0)),
  markLoad: one("byte_off", SK_BUFF, "0:1", Encode.ldx(BPF_W, 0, 1, 4)),
  nowhereExists: missing(one("type_exists", NOWHERE, "0", mov(1))),
  nowhereLoad: missing(one("byte_off", NOWHERE, "0:0", Encode.ldx(BPF_W, 0, 1, 0)))
} as const satisfies Readonly<Record<string, Question>>

/** The name of a question. */
export type QuestionName = keyof typeof questions

/** A question by its name. */
export const question = (name: QuestionName): Question => questions[name]

/** Asks the next question only where the answer of `exists` is not 0. */
interface Guarded {
  readonly exists: QuestionName
  readonly next: QuestionName
}

/** An object of one program. */
export interface CoreObject<Name extends string = string> {
  readonly name: Name
  /** In the order of its records. */
  readonly asks: ReadonlyArray<QuestionName>
  /** The object file; its program is a socket filter. */
  readonly bytes: Uint8Array
  /** The same as instructions, records and types. */
  readonly recorded: Recorded
}

const slotsOf = (name: QuestionName): number => question(name).insn.length / 8

const object = <const Name extends string>(
  name: Name,
  ...steps: ReadonlyArray<QuestionName | Guarded>
): CoreObject<Name> => {
  const asks: Array<QuestionName> = []
  const specs: Array<RecordSpec> = []
  const ask = (name: QuestionName, ...after: ReadonlyArray<Uint8Array>): void => {
    asks.push(name)
    const { access, insn, kind, type } = question(name)
    specs.push({ access, insn: Encode.program(insn, ...after), kind, type })
  }
  for (const step of steps) {
    if (typeof step === "string") ask(step)
    else {
      ask(step.exists, Encode.jmpImm(BPF_JEQ, 0, 0, slotsOf(step.next)))
      ask(step.next)
    }
  }
  const made = recorded(types, specs)
  const insns = Encode.program(made.insns, mov(0), Encode.exit())
  return { name, asks, bytes: objectFile(types, specs), recorded: { ...made, insns } }
}

const guarded = (exists: QuestionName, next: QuestionName): Guarded => ({ exists, next })

/** The objects. */
export const objects = [
  object("readPid", "pidLoad"),
  object("readPidGuarded", guarded("pidExists", "pidLoad")),
  object("describePid", "pidOffset", "pidSize", "pidSigned"),
  object("hasPid", "pidExists"),
  object("readFlags", "flagsLoad"),
  object("placeOfTgid", "tgidOffset"),
  object("readComm", "commLoad"),
  object("sizeOfComm", "commSize"),
  object("readInExecve", "execOffset", "execSize", "execLeft", "execRight", "execSigned"),
  object("readState", guarded("newStateExists", "newStateLoad"), guarded("oldStateExists", "oldStateLoad")),
  object("readOldState", "oldStateLoad"),
  object("sizeOfTask", "taskExists", "taskSize"),
  object("idOfTask", "taskId"),
  object("taskMatches", "taskMatches"),
  object("tgidValue", "tgidValue"),
  object("tgidValueGuarded", guarded("tgidExists", "tgidValue")),
  object("readLen", "lenLoad"),
  object("placeOfLen", "lenOffset"),
  object("readMark", "markLoad"),
  object("readNowhere", "nowhereLoad"),
  object("readNowhereGuarded", guarded("nowhereExists", "nowhereLoad"))
] as const satisfies ReadonlyArray<CoreObject>

/** The name of an object. */
export type ObjectName = (typeof objects)[number]["name"]

/**
 * Whether a program of these comes by a poisoned instruction: the registers that its branches look at hold constants, so
 * it is simply run, loads giving nothing.
 */
export const reachesPoison = (insns: Uint8Array): boolean => {
  let register = 0
  for (let slot = 0; slot < Insn.count(insns); slot++) {
    const opcode = Insn.opcode(insns, slot)
    if (opcode === Insn.CALL) return true
    if (opcode === (Encode.mov64Imm(0, 0)[0] ?? 0)) register = Insn.imm(insns, slot)
    if (opcode === (Encode.jmpImm(BPF_JEQ, 0, 0, 0)[0] ?? 0) && register === Insn.imm(insns, slot)) {
      slot += Insn.offset(insns, slot)
    }
    if (Insn.isLdImm64(insns, slot)) slot++
  }
  return false
}
