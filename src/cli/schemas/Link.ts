/** The documents of `link`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import { Pids } from "./Holders.ts"
import { Pins, typeName } from "./Prog.ts"
import type { ByCommand } from "./Published.ts"

const KernelFunction = Schema.Struct({
  addr: Field.exact("Its address; 0 where the kernel hides it."),
  func: Field.orNull(Field.text("Its name.")),
  module: Field.orNull(Field.text("The module that has it.")),
  cookie: Field.exact("What the program is told there.")
}).annotate({ title: "A function of the kernel" })

const FileFunction = Schema.Struct({
  offset: Field.exact("Bytes from the start of the file."),
  ref_ctr_offset: Field.exact("Where in the file the semaphore is that counts who listens; 0 for none."),
  cookie: Field.exact("What the program is told there.")
}).annotate({ title: "A place in a file" })

/** A link of the kernel. */
export const Link = Schema.Struct({
  id: Field.count("The kernel's identifier."),
  type: typeName("The type."),
  prog_id: Field.count("The program, by its identifier; 0 for none."),
  prog_type: Field.maybe(typeName("The program's type; of tracing links.")),
  attach_type: Field.maybe(typeName("The attach type.")),
  tp_name: Field.maybe(Field.text("The tracepoint; of raw_tracepoint links.")),
  target_obj_id: Field.maybe(Field.count("The types, or the program, that the target is of; of tracing links.")),
  target_btf_id: Field.maybe(Field.count("The target's type in those.")),
  cgroup_id: Field.maybe(Field.exact("The cgroup.")),
  order: Field.maybe(typeName("In which order cgroups are visited; of iter links.")),
  target_name: Field.maybe(Field.text("What is visited; of iter links.")),
  tid: Field.maybe(Field.count("The thread; of iter links.")),
  pid: Field.maybe(Field.count("The process; of iter and uprobe_multi links.")),
  map_id: Field.maybe(Field.count("The map; of struct_ops, sockmap and iter links.")),
  netns_ino: Field.maybe(Field.count("The network namespace; of netns links.")),
  devname: Field.maybe(Field.text("The network device; of xdp, tcx and netkit links.")),
  ifindex: Field.maybe(Field.count("Its number; 0 where it is gone.")),
  pf: Field.maybe(Field.count("The protocol family; of netfilter links.")),
  hook: Field.maybe(Field.count("The hook; of netfilter links.")),
  prio: Field.maybe(Field.integer("The priority; of netfilter links.")),
  flags: Field.maybe(Field.count("The flags; of netfilter links.")),
  retprobe: Field.maybe(Field.flag("Whether the program runs where functions return; of probes.")),
  func_cnt: Field.maybe(Field.count("How many functions; of kprobe_multi and uprobe_multi links.")),
  funcs: Field.maybe(Schema.Union([
    Field.list(KernelFunction, "The functions; of kprobe_multi links."),
    Field.list(FileFunction, "The functions; of uprobe_multi links.")
  ])),
  missed: Field.maybe(Field.exact("How often the program was not run since it ran already; of kprobes.")),
  path: Field.maybe(Field.text("The file; of uprobe_multi links.")),
  file: Field.maybe(Field.text("The file; of uprobes.")),
  func: Field.maybe(Field.text("The function; of kprobes.")),
  addr: Field.maybe(Field.exact("Its address; 0 where the kernel hides it.")),
  offset: Field.maybe(Field.count("Bytes from the start of the function, or of the file.")),
  ref_ctr_offset: Field.maybe(Field.exact("Where in the file the semaphore is that counts who listens; of uprobes.")),
  tracepoint: Field.maybe(Field.text("The tracepoint; of perf events.")),
  event_type: Field.maybe(typeName("The kind of event; of perf events.")),
  event_config: Field.maybe(typeName("Which event; of perf events.")),
  cookie: Field.maybe(Field.exact("What the program is told.")),
  pinned: Field.maybe(Pins),
  pids: Pids
}).annotate({ identifier: "Link", title: "A link of the kernel" })

const show = {
  description:
    "Links of the kernel: one document for a link that was asked for, a list otherwise. Keys are those of bpftool link show; " +
    "what does not apply is left out, as there.",
  schema: Schema.Union([Link, Field.list(Link, "All links.")])
}

/** The documents. */
export const documents: ByCommand = {
  "link show": show,
  "link list": show,
  "link detach": {
    description: "The attachment is gone. There is nothing to say, as with bpftool.",
    schema: Field.nothing
  },
  "link pin": { description: "The link has the name. There is nothing to say, as with bpftool.", schema: Field.nothing }
}
