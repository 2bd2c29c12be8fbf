/**
 * Kernels that differ from another one in one respect each, and what each answers to the objects of `CoreObjects.ts`.
 *
 * A variant is a change of types, made by the BTF builder, of any kernel that has `task_struct`, `sk_buff` and `pid_type` as
 * Linux has them: of the small one here, or of a real one. What comes of each question, and so of each object, is
 * written down beside the change, as differences from the kernel that was changed. Nothing of it is computed by what it
 * judges.
 */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import type * as Core from "../../src/stages/relocate/core/Core.ts"
import type { ObjectName, QuestionName } from "./CoreObjects.ts"
import {
  changed,
  type Changing,
  enumerators,
  member,
  members,
  named,
  only,
  pidType,
  pushed,
  renamedStruct,
  resizeComm,
  retyped,
  structOf,
  together,
  twin
} from "./KernelChanges.ts"

// ---- What comes of it ----------------------------------------------------------------------------------------------

/** What became of a question, in terms of the answer of the kernel that was changed. */
export type Outcome =
  /** The same answer. */
  | { readonly _tag: "Same" }
  /** 0 where that means that it is not there, else a poisoned instruction. */
  | { readonly _tag: "Gone" }
  /** A poisoned instruction: it is there, but cannot be loaded in the size that it has. */
  | { readonly _tag: "Resized" }
  /** Another answer: so much more; a load may have another size. */
  | { readonly _tag: "More"; readonly by: number; readonly bytes?: number }
  /** This answer. */
  | { readonly _tag: "Becomes"; readonly value: number }
  /** The answer of that kernel to another question. */
  | { readonly _tag: "As"; readonly question: QuestionName }
  /** The id behind the last of that kernel: of the first type of a module. */
  | { readonly _tag: "FirstOfModule" }
  /** The record cannot be applied. */
  | { readonly _tag: "Fails"; readonly reason: Core.CoreErrorReason }

/** How an object fares. */
export type Verdict =
  /** All that it asks for is there. */
  | "green"
  /** Something is not, but no instruction that needs it can be reached. */
  | "guarded"
  /** An instruction that can be reached needs what is not there, or a record cannot be applied. */
  | "fatal"

/** A kernel that differs from another one. */
export interface Variant {
  readonly name: string
  readonly change: (on: Changing) => void
  /** Whether the changed kernel has a module with the `task_struct` of the kernel that was changed. */
  readonly module?: boolean
  /** What is answered otherwise. */
  readonly outcomes: Readonly<Partial<Record<QuestionName, Outcome>>>
  /** The objects that fare otherwise than on the kernel that was changed, which is as `ordinarily` says. */
  readonly cells: Readonly<Partial<Record<ObjectName, Verdict>>>
}

/** How objects fare on a kernel as it is; others than these are green. */
export const ordinarily: Readonly<Partial<Record<ObjectName, Verdict>>> = {
  readState: "guarded",
  readOldState: "fatal",
  readNowhere: "fatal",
  readNowhereGuarded: "guarded"
}

/** How an object fares on a variant. */
export const verdictOf = (object: ObjectName, { cells }: Variant): Verdict =>
  cells[object] ?? ordinarily[object] ?? "green"

const same: Outcome = { _tag: "Same" }
const gone: Outcome = { _tag: "Gone" }
const resized: Outcome = { _tag: "Resized" }
const more = (by: number): Outcome => ({ _tag: "More", by })
const loads = (bytes: number): Outcome => ({ _tag: "More", by: 0, bytes })
const becomes = (value: number): Outcome => ({ _tag: "Becomes", value })
const fails = (reason: Core.CoreErrorReason): Outcome => ({ _tag: "Fails", reason })

const all = <Key extends string, Value>(
  keys: ReadonlyArray<Key>,
  value: Value
): Readonly<Partial<Record<Key, Value>>> =>
  Object.fromEntries(keys.map((key) => [key, value])) as Partial<Record<Key, Value>>

const ofPid = ["pidLoad", "pidExists", "pidOffset", "pidSize", "pidSigned"] as const
const ofComm = ["commLoad", "commSize"] as const
const ofTask = [
  ...ofPid,
  "flagsLoad",
  "tgidOffset",
  ...ofComm,
  "execOffset",
  "execSize",
  "execLeft",
  "execRight",
  "execSigned",
  "newStateExists",
  "newStateLoad",
  "taskExists",
  "taskSize",
  "taskId",
  "taskMatches"
] as const

/** Without `pid`. */
const withoutPid = {
  outcomes: { ...all(ofPid, gone), taskMatches: gone },
  cells: {
    readPid: "fatal",
    readPidGuarded: "guarded",
    describePid: "fatal",
    hasPid: "guarded",
    taskMatches: "guarded"
  }
} as const

/** Without `task_struct`. */
const withoutTask = {
  outcomes: all(ofTask, gone),
  cells: {
    ...withoutPid.cells,
    ...all(["readFlags", "placeOfTgid", "readComm", "sizeOfComm", "readInExecve"], "fatal" as const),
    sizeOfTask: "guarded",
    idOfTask: "guarded"
  }
} as const

/** Where two types of one name differ in every offset. */
const ambiguous = fails("Ambiguous")

/** The variants; the first is the kernel as it is. */
export const variants: ReadonlyArray<Variant> = [
  { name: "as it is", change: () => {}, outcomes: {}, cells: {} },

  // Members moved.
  {
    name: "all of task_struct is 64 bytes further",
    change: (on) =>
      members(on, "task_struct", (list) => list.map((each) => ({ ...each, bitOffset: each.bitOffset + 512 })), 64),
    outcomes: {
      ...all(["pidLoad", "pidOffset", "flagsLoad", "tgidOffset", "commLoad", "execOffset", "newStateLoad"], more(64)),
      taskSize: more(64)
    },
    cells: {}
  },
  {
    name: "tgid and what is behind it are 8 bytes further",
    change: (on) => pushed(on, "task_struct", "tgid", 8),
    outcomes: all(["tgidOffset", "commLoad", "taskSize"], more(8)),
    cells: {}
  },
  {
    name: "len is 64 KiB further than a load reaches",
    change: (on) => pushed(on, "sk_buff", "len", 0x1_0000),
    // mark is behind it.
    outcomes: { lenLoad: fails("OutOfRange"), lenOffset: more(0x1_0000), markLoad: fails("OutOfRange") },
    cells: { readLen: "fatal", readMark: "fatal" }
  },

  // Members retyped.
  {
    name: "pid is a long",
    change: (on) => retyped(on, "task_struct", "pid", (editor) => editor.addInt("long", 8, Btf.BTF_INT_SIGNED)),
    outcomes: { pidLoad: resized, pidSize: becomes(8), taskMatches: gone },
    cells: { readPid: "fatal", readPidGuarded: "fatal", taskMatches: "guarded" }
  },
  {
    name: "flags is an unsigned long",
    change: (on) => retyped(on, "task_struct", "flags", (editor) => editor.addInt("long unsigned int", 8, 0)),
    outcomes: { flagsLoad: loads(8), taskMatches: gone },
    cells: { taskMatches: "guarded" }
  },
  {
    name: "len is an unsigned short",
    change: (on) => retyped(on, "sk_buff", "len", (editor) => editor.addInt("short unsigned int", 2, 0)),
    outcomes: { lenLoad: loads(2) },
    cells: {}
  },
  {
    name: "flags is signed",
    change: (on) => retyped(on, "task_struct", "flags", (editor) => editor.addInt("int", 4, Btf.BTF_INT_SIGNED)),
    outcomes: { taskMatches: gone },
    cells: { taskMatches: "guarded" }
  },
  {
    name: "flags is a pointer",
    change: (on) => retyped(on, "task_struct", "flags", (editor) => editor.addPtr(0)),
    outcomes: { flagsLoad: gone, taskMatches: gone },
    cells: { readFlags: "fatal", taskMatches: "guarded" }
  },
  {
    name: "pid is a typedef of const volatile",
    change: (on) => {
      const { members } = structOf(on.kernel, on.struct("task_struct"))
      const before = members.find((each) => each.name === "pid")?.type ?? 0
      const constant = on.append((editor) => editor.addConst(before))
      const volatile = on.append((editor) => editor.addVolatile(constant))
      const type = on.append((editor) => editor.addTypedef("some_pid_t", volatile))
      member(on, "task_struct", "pid", (each) => [{ ...each, type }])
    },
    outcomes: {},
    cells: {}
  },
  {
    name: "pid is a bit field of 22 bits",
    change: (on) => member(on, "task_struct", "pid", (each) => [{ ...each, bitfieldSize: 22 }]),
    outcomes: { pidLoad: resized },
    cells: { readPid: "fatal", readPidGuarded: "fatal" }
  },
  {
    name: "in_execve is 3 bits higher",
    change: (on) => member(on, "task_struct", "in_execve", (each) => [{ ...each, bitOffset: each.bitOffset + 3 }]),
    outcomes: { execLeft: more(-3) },
    cells: {}
  },
  {
    name: "in_execve has 3 bits",
    change: (on) => member(on, "task_struct", "in_execve", (each) => [{ ...each, bitfieldSize: 3 }]),
    outcomes: { execLeft: more(-2), execRight: becomes(61) },
    cells: {}
  },
  {
    name: "in_execve is no bit field",
    change: (on) =>
      member(on, "task_struct", "in_execve", (each) => [{
        ...each,
        bitOffset: each.bitOffset - each.bitOffset % 32,
        bitfieldSize: 0
      }]),
    outcomes: { execLeft: becomes(32), execRight: becomes(32) },
    cells: {}
  },
  {
    name: "comm is longer",
    change: (on) => resizeComm(on, 32),
    outcomes: { commSize: becomes(32) },
    cells: {}
  },
  {
    name: "comm is too short",
    change: (on) => resizeComm(on, 4),
    outcomes: { commSize: becomes(4), commLoad: gone },
    cells: { readComm: "fatal" }
  },
  {
    name: "comm is a pointer",
    change: (on) => retyped(on, "task_struct", "comm", (editor) => editor.addPtr(0)),
    outcomes: all(ofComm, gone),
    cells: { readComm: "fatal", sizeOfComm: "fatal" }
  },

  // Members renamed and removed.
  {
    name: "pid has another name",
    change: (on) => member(on, "task_struct", "pid", (each) => [{ ...each, name: "process_id" }]),
    ...withoutPid
  },
  { name: "there is no pid", change: (on) => member(on, "task_struct", "pid", () => []), ...withoutPid },
  {
    name: "__state is state, a long, as before Linux 5.14",
    change: (on) => {
      const type = on.append((editor) => editor.addInt("long", 8, Btf.BTF_INT_SIGNED))
      member(on, "task_struct", "__state", (each) => [{ ...each, name: "state", type }])
    },
    outcomes: {
      newStateExists: gone,
      newStateLoad: gone,
      oldStateExists: becomes(1),
      oldStateLoad: { _tag: "As", question: "newStateLoad" }
    },
    cells: { readOldState: "green" }
  },

  // Structs embedded.
  {
    name: "pid and tgid are in a struct without a name",
    change: (on) => together(on, "task_struct", ["pid", "tgid"], (inner) => named("", inner, 0)),
    outcomes: { taskMatches: gone },
    cells: { taskMatches: "guarded" }
  },
  {
    name: "pid and tgid are in a struct in a union, both without a name",
    change: (on) =>
      together(on, "task_struct", ["pid", "tgid"], (inner, size) => {
        const word = on.append((editor) => editor.addInt("long long unsigned int", 8, 0))
        return named(
          "",
          on.append((editor) => editor.addUnion("", size, [named("both", word, 0), named("", inner, 0)])),
          0
        )
      }),
    outcomes: { taskMatches: gone },
    cells: { taskMatches: "guarded" }
  },
  {
    name: "pid is in a struct that has a name",
    change: (on) => together(on, "task_struct", ["pid"], (inner) => named("ids", inner, 0)),
    ...withoutPid
  },

  // Enumerators.
  {
    name: "the enumerators have other numbers",
    change: (on) => enumerators(on, ({ name, value }) => ({ name, value: value + 10 })),
    outcomes: { tgidValue: more(10) },
    cells: {}
  },
  {
    name: "PIDTYPE_TGID has another name",
    change: (on) =>
      enumerators(on, ({ name, value }) => ({ name: name === "PIDTYPE_TGID" ? "PIDTYPE_PROCESS" : name, value })),
    outcomes: all(["tgidExists", "tgidValue"], gone),
    cells: { tgidValue: "fatal", tgidValueGuarded: "guarded" }
  },
  {
    name: "PIDTYPE_TGID has a flavor",
    change: (on) =>
      enumerators(on, ({ name, value }) => ({ name: name === "PIDTYPE_TGID" ? "PIDTYPE_TGID___too" : name, value })),
    outcomes: {},
    cells: {}
  },
  {
    name: "the enum has 64 bits",
    change: (on) => {
      const type = Btf.typeOf(on.kernel, pidType(on))
      if (type._tag !== "Enum") throw new Error("pid_type is no enum")
      const values = type.values.map(({ name, value }) => ({ name, value: BigInt(value) }))
      on.replace(pidType(on), (editor) => editor.addEnum64("pid_type", 8, values))
    },
    outcomes: {},
    cells: {}
  },
  {
    name: "there is no enum pid_type",
    change: (on) => on.replace(pidType(on), (editor) => editor.addEnum("pid_types", 4, [])),
    outcomes: all(["tgidExists", "tgidValue"], gone),
    cells: { tgidValue: "fatal", tgidValueGuarded: "guarded" }
  },

  // Types removed, and of another kind.
  { name: "there is no task_struct", change: (on) => renamedStruct(on, "task_struct", "task"), ...withoutTask },
  {
    name: "task_struct is a union",
    change: (on) => {
      const id = on.struct("task_struct")
      const { size } = structOf(on.kernel, id)
      on.replace(id, (editor) => editor.addUnion("task_struct", size, [named("pid", 0, 0)]))
    },
    ...withoutTask
  },
  {
    name: "task_struct is only declared",
    change: (on) => on.replace(on.struct("task_struct"), (editor) => editor.addFwd("task_struct", "struct")),
    ...withoutTask
  },
  {
    name: "task_struct is a typedef of another struct",
    change: (on) => {
      const id = on.struct("task_struct")
      const { members, size } = structOf(on.kernel, id)
      const struct = on.append((editor) => editor.addStruct("task", size, members))
      on.replace(id, (editor) => editor.addTypedef("task_struct", struct))
    },
    ...withoutTask
  },
  {
    name: "task_struct is in a module",
    change: (on) => renamedStruct(on, "task_struct", "task"),
    module: true,
    outcomes: { taskId: { _tag: "FirstOfModule" } },
    cells: {}
  },

  // Several types.
  {
    name: "task_struct has a flavor",
    change: (on) => renamedStruct(on, "task_struct", "task_struct___vendor"),
    outcomes: {},
    cells: {}
  },
  {
    name: "there are two equal task_structs",
    change: (on) => twin(on, "task_struct", 0),
    outcomes: { taskId: ambiguous },
    cells: { idOfTask: "fatal" }
  },
  {
    name: "there are two task_structs, and one lies 64 bytes further",
    change: (on) => twin(on, "task_struct", 64),
    outcomes: { ...all(ofTask, ambiguous), taskExists: same, taskMatches: same },
    cells: all(
      [
        "readPid",
        "readPidGuarded",
        "describePid",
        "hasPid",
        "readFlags",
        "placeOfTgid",
        "readComm",
        "sizeOfComm",
        "readInExecve",
        "readState",
        "sizeOfTask",
        "idOfTask"
      ],
      "fatal"
    )
  },
  {
    name: "there is a smaller task_struct of another flavor, with flags alone",
    change: (on) => {
      const { members, size } = structOf(on.kernel, on.struct("task_struct"))
      const flags = members.filter((each) => each.name === "flags")
      on.append((editor) => editor.addStruct("task_struct___small", size, flags))
    },
    outcomes: { taskId: ambiguous },
    cells: { idOfTask: "fatal" }
  },
  {
    name: "there_is_no_such_struct is there",
    change: (on) => {
      const int = on.append((editor) => editor.addInt("int", 4, Btf.BTF_INT_SIGNED))
      on.append((editor) => editor.addStruct("there_is_no_such_struct", 4, [named("member", int, 0)]))
    },
    outcomes: { nowhereExists: becomes(1), nowhereLoad: becomes(0) },
    cells: { readNowhere: "green", readNowhereGuarded: "green" }
  }
]

/** The types of a variant of `kernel`, and of its module where it has one. */
export const make = (
  variant: Variant,
  kernel: Btf.Btf
): { readonly base: Btf.Btf; readonly modules: ReadonlyArray<Core.CoreModule> } => {
  const base = changed(kernel, variant.change)
  if (variant.module !== true) return { base, modules: [] }
  const editor = BtfEdit.make({ base })
  editor.addType(kernel, only(kernel, "task_struct", Btf.BTF_KIND_STRUCT))
  return { base, modules: [{ name: "tasks", btf: Result.getOrThrow(editor.finish()) }] }
}

// ---- A small kernel ------------------------------------------------------------------------------------------------

/** Answers of the small kernel, by its layout below. */
export const smallAnswers: Readonly<Record<QuestionName, number>> = {
  pidLoad: 40,
  pidExists: 1,
  pidOffset: 40,
  pidSize: 4,
  pidSigned: 1,
  flagsLoad: 28,
  tgidOffset: 44,
  commLoad: 64,
  commSize: 16,
  execOffset: 32,
  execSize: 4,
  execLeft: 58,
  execRight: 63,
  execSigned: 0,
  newStateExists: 1,
  newStateLoad: 24,
  oldStateExists: 0,
  oldStateLoad: Number.NaN,
  taskExists: 1,
  taskSize: 72,
  taskId: 8,
  taskMatches: 1,
  tgidExists: 1,
  tgidValue: 1,
  lenLoad: 32,
  lenOffset: 32,
  markLoad: 48,
  nowhereExists: 0,
  nowhereLoad: Number.NaN
}

/** A kernel of a few types, laid out by hand, in the order of members that Linux has. */
export const smallKernel = (): Btf.Btf => {
  const editor = BtfEdit.make()
  const unsigned = editor.addInt("unsigned int", 4, 0) // 1
  const int = editor.addInt("int", 4, Btf.BTF_INT_SIGNED) // 2
  const char = editor.addInt("char", 1, 0) // 3
  const comm = editor.addArray(unsigned, char, 16) // 4
  const kernelPid = editor.addTypedef("__kernel_pid_t", int) // 5
  const pid = editor.addTypedef("pid_t", kernelPid) // 6
  const pointer = editor.addPtr(0) // 7
  editor.addStruct("task_struct", 72, [
    named("stack", pointer, 64),
    named("__state", unsigned, 192),
    named("flags", unsigned, 224),
    { name: "sched_reset", type: unsigned, bitOffset: 256, bitfieldSize: 5 },
    { name: "in_execve", type: unsigned, bitOffset: 261, bitfieldSize: 1 },
    named("pid", pid, 320),
    named("tgid", pid, 352),
    named("real_parent", editor.nextId + 1, 384),
    named("comm", comm, 448)
  ]) // 8
  editor.addPtr(8)
  editor.addEnum(
    "pid_type",
    4,
    ["PID", "TGID", "PGID", "SID"].map((name, value) => ({ name: `PIDTYPE_${name}`, value }))
  )
  const node = editor.addStruct("rb_node", 24, [
    named("left", pointer, 0),
    named("right", pointer, 64),
    named("parent", pointer, 128)
  ])
  const dev = editor.addUnion("", 8, [named("dev", pointer, 0), named("dev_scratch", pointer, 0)])
  const list = editor.addStruct("", 24, [named("next", pointer, 0), named("prev", pointer, 64), named("", dev, 128)])
  const front = editor.addUnion("", 24, [named("", list, 0), named("rbnode", node, 0)])
  const mark = editor.addUnion("", 4, [named("mark", unsigned, 0), named("reserved_tailroom", unsigned, 0)])
  const fields = editor.addStruct("", 8, [named("hash", unsigned, 0), named("", mark, 32)])
  const headers = editor.addUnion("", 8, [named("", fields, 0), named("headers", fields, 0)])
  editor.addStruct("sk_buff", 56, [
    named("", front, 0),
    named("sk", pointer, 192),
    named("len", unsigned, 256),
    named("data_len", unsigned, 288),
    named("", headers, 352)
  ])
  return Result.getOrThrow(editor.finish())
}
