/**
 * What diagnostics are about: rules with names that stay the same from release to release, what each means, and what to do.
 */
import type { LinkError } from "../../linker/LinkError.ts"
import { refusalCauses } from "../../services/Kernel/RefusalCause.ts"
import type { PlanError } from "../../stages/load/PlanError.ts"
import type { OpenError } from "../../stages/open/OpenError.ts"
import type { RelocateError } from "../../stages/relocate/RelocateError.ts"
import { rules as compatibility } from "../compatibility/Finding.ts"
import { causes } from "../VerifierLogCauses.ts"

/** A rule. */
export interface Rule {
  /** `verifier-null-pointer` */
  readonly id: string
  /** What is found, as a sentence. */
  readonly summary: string
  /** What to do, as a sentence; the summary where there is nothing general to do. */
  readonly help: string
}

/** What a rule says: what is found, and what to do. */
type Words = readonly [summary: string, help: string]

const rebuild = "Compile the object again, with a current clang and -g; a file that was edited or cut is not repaired."

const open: Readonly<Record<OpenError["reason"], Words>> = {
  NotBpf: ["The file is ELF, but no relocatable BPF object.", "Compile with clang -target bpf -c."],
  SymbolTable: ["The object has no symbol table, or two.", "Do not strip symbols: strip -g is enough."],
  Section: ["A section of the object cannot be what its name says.", rebuild],
  Program: ["A program of the object does not consist of whole instructions.", rebuild],
  MapDefinition: [
    "A definition of a map cannot be read, or contradicts itself.",
    "Define maps with __uint, __type and __array in SEC(\".maps\")."
  ],
  UnsupportedMapDefinition: [
    "A definition of a map has a member or a shape that is not understood.",
    "Define maps with __uint, __type and __array in SEC(\".maps\")."
  ],
  LegacyMaps: ["The object defines maps in SEC(\"maps\").", "Define maps in SEC(\".maps\")."],
  Datasec: ["A data section is not what the object's types say.", rebuild],
  Extern: [
    "An extern cannot be looked up by what the object says of it.",
    "Declare it with __kconfig or __ksym, and compile with -g."
  ],
  StructOps: [
    "A struct_ops variable is not a struct of functions and values.",
    "Initialise it with functions and constants in SEC(\".struct_ops\")."
  ],
  Relocation: ["A relocation points nowhere, or stands at an instruction that cannot have one.", rebuild],
  MissingBtf: ["The object has no types, and something in it needs them.", "Compile with -g."]
}

const relocate: Readonly<Record<RelocateError["reason"], Words>> = {
  CallTarget: ["A call or a function pointer leads to no function.", rebuild],
  TooLarge: ["The programs together are larger than any kernel takes.", "Divide the program, or let loops be loops."],
  Instruction: ["A relocation stands at an instruction that it does not fit.", rebuild],
  ExceptionCallback: [
    "An exception callback does not exist, or cannot be one.",
    "Name a global function of one argument in __exception_cb()."
  ],
  Kconfig: [
    "The kernel's configuration does not have a value that is asked for, or it does not fit the variable.",
    "Declare the extern __weak, or give the configuration with --kconfig."
  ],
  Ksym: [
    "The kernel does not have a function or variable, or has it with another type.",
    "Declare the extern __weak and ask bpf_ksym_exists() before it is used."
  ],
  Core: [
    "A CO-RE relocation cannot be applied.",
    "Ask bpf_core_field_exists(), bpf_core_type_exists() or bpf_core_enum_value_exists() before."
  ]
}

const plan: Readonly<Record<PlanError["reason"], Words>> = {
  ProgramType: ["The type of a program is not known.", "Name a section that says it, such as SEC(\"xdp\")."],
  AttachTarget: [
    "A program is for a function or hook that its section does not name.",
    "Name it in the section, as in SEC(\"fentry/vfs_read\"), or with --attach-to."
  ],
  ByteOrder: [
    "The object is for machines of the other byte order.",
    "Compile with -target bpfel or -target bpfeb for the kernel's."
  ],
  Types: ["The object's types cannot be written for the kernel.", "Leave out types that are not needed."],
  Slot: ["A slot of a map names a map or program that the load does not make.", "Load what is named, too."],
  Exclusive: ["A map is for one program alone that is not loaded.", "Load the program, or leave the map out."],
  StructOps: [
    "The kernel does not let programs implement the struct, or has it otherwise.",
    "Compare with the kernel's struct: btf dump vmlinux."
  ],
  Arena: ["Variables in an arena have no place in it.", "Give the arena more pages: max_entries."],
  Unsupported: ["This version does not load what the object has.", "Leave it out of the load: --no-autoload."]
}

const linker: Readonly<Record<LinkError["reason"], Words>> = {
  Elf: ["A file to link is no ELF file, or a malformed one.", rebuild],
  NotBpf: ["A file to link is no relocatable BPF object.", "Compile with clang -target bpf -c."],
  ByteOrder: ["Files to link are of two byte orders.", "Compile all for one."],
  SymbolTable: ["A file to link has no symbol table, or two.", "Do not strip symbols: strip -g is enough."],
  Section: ["A section of a file to link breaks the rules of BPF objects.", rebuild],
  Symbol: ["A symbol of a file to link breaks the rules of BPF objects.", rebuild],
  Relocation: ["A relocation of a file to link points nowhere, or cannot be moved.", rebuild],
  Btf: ["The types of a file to link are malformed.", rebuild],
  MissingBtf: ["A file to link has no types, and they are needed.", "Compile with -g."],
  Ambiguous: ["The types of a file describe a symbol twice, and differently.", "Declare it once."],
  SectionMismatch: ["Two files have a section that cannot be merged.", "Name sections alike that hold the same."],
  License: ["The licenses of two files do not go together.", "Give all files one license."],
  Duplicate: ["Two files define a symbol.", "Make one static or __weak, or rename it."],
  Incompatible: ["Two files have a symbol with types that differ.", "Declare it in one header."],
  Unresolved: ["Nobody defines what a file declares extern.", "Link the file that defines it."],
  TooLarge: ["The linked object would be too large.", "Link fewer files."],
  NoInput: ["There is nothing to link.", "Name files."],
  Finished: ["The linker has made its result.", "Make a new linker."],
  Failed: ["An earlier file could not be added.", "Look at the first failure."]
}

const others: Readonly<Record<string, Words>> = {
  "file-unreadable": ["A file cannot be read.", "Look at its path and its permissions."],
  "elf-malformed": ["The file is no ELF file, or a malformed one.", rebuild],
  "types-malformed": ["Types (BTF) are malformed, or do not tell what is asked.", rebuild],
  "edit-refused": ["An edit of the object does not fit it.", "See what the object has: effect-bpf inspect."],
  "usage": ["An argument cannot be used.", "Run the command with --help."],
  "verifier": ["The verifier refused a program.", "Read what it says; --log shows all of it."],
  "program-refused": ["The kernel refused a program without a word of the verifier.", "See the hint."],
  "program-fault": ["A program did what no verifier lets a program do.", "Check pointers and bounds before use."],
  "map-refused": ["The kernel refused a map.", "See which of its attributes the kernel does not take."],
  "types-refused": ["The kernel refused the object's types.", "Compile with a clang of the kernel's time, or newer."],
  "pin-refused": ["The kernel refused a pin.", "Pins are new names in a bpf file system."],
  "link-refused": ["The kernel refused to attach a program.", "See the hint."],
  "kernel-refused": ["The kernel refused a call.", "See the hint."],
  "kernel-unusable": ["This process may not use the kernel's BPF.", "Run as root, or with CAP_BPF and its like."],
  "kernel-unsupported": ["The chosen kernel cannot do what is asked.", "Choose another --kernel."],
  "kernel-unknown": ["Something of the kernel is asked that nobody knows.", "Give it, or choose another --kernel."],
  "pinned-map": ["A pinned map is not the one that the object defines.", "Remove the pin, or make them equal."],
  "replaced-map": ["A map cannot stand in for the one that the object defines.", "Give one that is equal."],
  "attach-failed": ["A program cannot be attached.", "Look at the target that its section names."],
  "loader-refused": ["The load cannot be made into a loader program.", "See the hint."],
  "failure": ["Something failed.", "See the message."],
  "budget-exceeded": [
    "A program costs more than its budget allows.",
    "Look at what has changed; where it is wanted, prog budget --budget FILE --budget-write stores it."
  ],
  "budget-new": ["A program is not in the budget.", "Store it: prog budget --budget FILE --budget-write."],
  "budget-removed": [
    "The budget has a program that the object does not have.",
    "Write the budget anew: prog budget --budget FILE --budget-write."
  ],
  "budget-kernel": [
    "The budget is from another series of kernels, whose verifier counts differently.",
    "Keep a budget for each series."
  ],
  "budget-malformed": ["The file of the budget cannot be read.", "Write it anew: --budget-write."],
  "requires-kernel": [
    "The object needs a kernel of this release or newer.",
    "Nothing, where all kernels that it is for are new enough; else guard what is newer, or leave it out."
  ],
  "requires-newer-kernel": [
    "The object needs something that came with a later release of Linux than the kernel's.",
    "Guard it, or leave it out for older kernels; a kernel may have it all the same, for distributions carry features back."
  ]
}

/** `NullPointer` as `null-pointer`; a run of capitals is one word. */
const kebab = (name: string): string =>
  name.replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2").replaceAll(/([A-Z])([A-Z][a-z])/g, "$1-$2").toLowerCase()

const family = (prefix: string, words: Readonly<Record<string, Words>>): ReadonlyArray<Rule> =>
  Object.entries(words).map(([name, [summary, help]]) => ({ id: `${prefix}-${kebab(name)}`, summary, help }))

const sentence = (text: string): string => {
  const whole = `${text.charAt(0).toUpperCase()}${text.slice(1)}`
  return /[.?!;]$/.test(whole) ? whole : `${whole}.`
}

/** Families of rules by the errors that they are of: an error with a reason is of the rule of that reason. */
const families: Readonly<Record<string, string>> = {
  OpenError: "open",
  RelocateError: "relocate",
  PlanError: "plan",
  LinkError: "linker"
}

/** Errors that are of one rule, whatever their reason. */
const single: Readonly<Record<string, string>> = {
  FileReadError: "file-unreadable",
  ElfError: "elf-malformed",
  BtfError: "types-malformed",
  BtfRelocateError: "types-malformed",
  EditError: "edit-refused",
  UsageError: "usage",
  VerifierError: "verifier",
  ProgramFault: "program-fault",
  UnsupportedCall: "kernel-unsupported",
  UnusableKernel: "kernel-unusable",
  UnansweredError: "kernel-unknown",
  PinnedMapError: "pinned-map",
  ReplacedMapError: "replaced-map",
  AttachError: "attach-failed",
  StructOpsError: "attach-failed",
  AssembleError: "loader-refused",
  LoaderError: "loader-refused",
  LoaderOptionsError: "loader-refused",
  BudgetFileError: "budget-malformed",
  BudgetExceeded: "budget-exceeded"
}

/** Rules of refused calls, by what the call is about. */
const calls: ReadonlyArray<readonly [pattern: RegExp, rule: string]> = [
  [/^Map/, "map-refused"],
  [/^Btf|Types$/, "types-refused"],
  [/^Obj(Pin|Get|Unpin)$/, "pin-refused"],
  [/^(Link|RawTracepointOpen|Perf|IterCreate|ProgAttach)/, "link-refused"],
  [/^ProgLoad$/, "program-refused"]
]

/** All rules. */
export const list: ReadonlyArray<Rule> = [
  ...family("open", open),
  ...family("relocate", relocate),
  ...family("plan", plan),
  ...family("linker", linker),
  ...causes.map(({ advice, id, title }): Rule => ({
    id: `verifier-${kebab(id)}`,
    summary: `The verifier refused a program: ${title}.`,
    help: sentence(advice)
  })),
  ...refusalCauses.map(({ advice, id, title }): Rule => ({
    id: `refused-${kebab(id)}`,
    summary: `The kernel refused a call: ${title}.`,
    help: sentence(advice)
  })),
  ...Object.entries(others).map(([id, [summary, help]]): Rule => ({ id, summary, help })),
  ...Object.entries(compatibility).map(([id, summary]): Rule => ({ id, summary, help: summary }))
]

/** All rules by their names. */
export const rules: ReadonlyMap<string, Rule> = new Map(list.map((rule) => [rule.id, rule]))

/** The name of a rule; `failure` where there is none of it. */
const known = (id: string): string => rules.has(id) ? id : "failure"

/** The rule of a cause for which the verifier refuses programs. */
export const ofCause = (cause: string | undefined): string => {
  const id = `verifier-${kebab(cause ?? "")}`
  return rules.has(id) ? id : "verifier"
}

/** The rule of a call that the kernel refused, by the cause where it is known. */
export const ofCall = (call: string, cause?: string): string =>
  rules.has(`refused-${kebab(cause ?? "")}`)
    ? `refused-${kebab(cause ?? "")}`
    : calls.find(([pattern]) => pattern.test(call))?.[1] ?? "kernel-refused"

/** The rule of an error, by its tag and its reason. */
export const ofError = (tag: string, reason: string | undefined): string => {
  if (Object.hasOwn(families, tag)) return known(`${families[tag]}-${kebab(reason ?? "")}`)
  return known(Object.hasOwn(single, tag) ? single[tag] ?? "" : "")
}
