/** The documents of `prog`. */
import * as Schema from "effect/Schema"
import { Budget } from "./Budget.ts"
import * as Field from "./Field.ts"
import { Jited } from "./Jited.ts"
import { Pids } from "./Holders.ts"
import type { ByCommand } from "./Published.ts"

/** What a program or a map is on: a network device. */
export const Device = Schema.Struct({
  ifindex: Field.count("The device's number.")
}).annotate({ description: "The network device that it is offloaded to." })

/** The name of a type, or the number of one that has no name here. */
export const typeName = (description: string) =>
  Schema.Union([Schema.String, Field.count("The kernel's number.")]).annotate({
    description: `${description} In bpftool's words; the kernel's number where there is no name for it.`
  })

/** Where an object is pinned. */
export const Pins = Field.list(Schema.String, "Paths in bpf file systems; with --bpffs, where there are some.")

/** A program of the kernel. */
export const Prog = Schema.Struct({
  id: Field.count("The kernel's identifier."),
  type: typeName("The type."),
  name: Field.maybe(Field.text("The name, whole where the types of the program have it.")),
  tag: Field.text("A hash of the instructions: 16 hexadecimal digits."),
  gpl_compatible: Field.flag("Whether its license is compatible with the GPL."),
  run_time_ns: Field.maybe(Field.exact("Nanoseconds that it ran; where the kernel counts them.")),
  run_cnt: Field.maybe(Field.exact("How often it ran; where the kernel counts.")),
  recursion_misses: Field.maybe(Field.exact("How often it was not run since it ran already.")),
  dev: Field.maybe(Device),
  loaded_at: Field.maybe(Field.integer("When it was loaded: seconds since 1970.")),
  uid: Field.maybe(Field.count("The user who has loaded it.")),
  orphaned: Field.flag("Whether the device that it was offloaded to is gone."),
  bytes_xlated: Field.count("Bytes of its instructions behind the verifier."),
  jited: Field.flag("Whether it was compiled to machine code."),
  bytes_jited: Field.maybe(Field.count("Bytes of machine code.")),
  bytes_memlock: Field.maybe(Field.exact("Bytes of memory that are charged for it.")),
  map_ids: Field.maybe(Field.ids("The maps that it uses, by their identifiers.")),
  btf_id: Field.maybe(Field.count("The identifier of its types.")),
  pinned: Field.maybe(Pins),
  pids: Pids
}).annotate({ identifier: "Prog", title: "A program of the kernel" })

/** One where one was asked for and found, a list otherwise. */
const Progs = Schema.Union([Prog, Field.list(Prog, "All programs, or those that have the name or tag.")])

const show = {
  description:
    "Programs of the kernel: one document for a program that was asked for, a list otherwise. Keys are those of bpftool prog " +
    "show; what does not apply is left out, as there.",
  schema: Progs
}

const bytesOf = (description: string) => Field.text(`${description} In hexadecimal.`)

/** An instruction of a program that is loaded. */
export const Xlated = Schema.Struct({
  proto: Field.maybe(Field.text("The prototype of the function that begins here.")),
  src: Field.maybe(Field.text("The C line that begins here.")),
  file: Field.maybe(Field.text("Its file; with linum.")),
  line_num: Field.maybe(Field.count("Its number; with linum.")),
  line_col: Field.maybe(Field.count("Its column; with linum.")),
  disasm: Field.text("The instruction as text."),
  opcodes: Field.maybe(
    Schema.Struct({
      code: bytesOf("The operation."),
      src_reg: bytesOf("The source register."),
      dst_reg: bytesOf("The destination register."),
      off: Field.hexBytes("The offset."),
      imm: Field.hexBytes("The immediate value; of 16 bytes both halves and what is between.")
    }).annotate({ description: "The instruction's parts; with opcodes." })
  )
}).annotate({ identifier: "Xlated", title: "An instruction" })

const Pinned = Schema.Struct({
  name: Field.text("The name in the object."),
  pinned: Field.list(Schema.String, "Where it is pinned.")
})

const loaded = {
  description: "What was loaded and pinned.",
  schema: Schema.Struct({
    programs: Field.list(Pinned, "Programs."),
    maps: Field.list(Pinned, "Maps, with --pinmaps."),
    links: Field.maybe(Field.list(Pinned, "Links in the place of their programs, with autoattach.")),
    budget: Field.maybe(Budget)
  })
}

/** The documents. */
export const documents: ByCommand = {
  "prog show": show,
  "prog list": show,
  "prog dump": {
    description:
      "A program's instructions behind the verifier (xlated), or the functions of machine code that they were compiled to (jited). " +
      "Keys are those of bpftool prog dump; null where the bytes went to a file.",
    schema: Schema.Union([
      Field.list(Xlated, "The instructions."),
      Field.list(Jited, "The functions of machine code."),
      Field.nothing
    ])
  },
  "prog load": loaded,
  "prog loadall": loaded
}
