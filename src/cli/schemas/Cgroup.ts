/** The documents of `cgroup`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** A program of a cgroup. */
export const CgroupProg = Schema.Struct({
  id: Field.count("The program's identifier."),
  attach_type: Field.text("What it is for: cgroup_inet_egress."),
  attach_flags: Field.maybe(
    Field.text(
      "multi, override, or nothing; unknown(40) for other flags, in hexadecimal. With effective it is left out."
    )
  ),
  name: Field.text("The program's name, whole where its types have it."),
  attach_btf_name: Field.maybe(
    Field.text("The kernel's function that it is attached to, empty of other types; left out where it is not known.")
  ),
  attach_btf_obj_id: Field.count("The types that the function is of, 0 for none."),
  attach_btf_id: Field.count("The function among these types, 0 for none.")
}).annotate({ identifier: "CgroupProg", title: "A program of a cgroup" })

const show = {
  description:
    "The programs of a cgroup. Keys are those of bpftool cgroup show, which prints nothing where there is no program.",
  schema: Field.list(CgroupProg, "In the order of attach types; of each in the order in which they run.")
}

const nothing = (description: string) => ({ description, schema: Field.nothing })

/** The documents. */
export const documents: ByCommand = {
  "cgroup show": show,
  "cgroup list": show,
  "cgroup tree": {
    description: "Cgroups that have programs. Keys are those of bpftool cgroup tree.",
    schema: Field.list(
      Schema.Struct({
        cgroup: Field.text("The path of the cgroup's folder."),
        programs: Field.list(CgroupProg, "Its programs; at least one.")
      }),
      "Each before those below it."
    )
  },
  "cgroup attach": nothing("The program was attached."),
  "cgroup detach": nothing("The program was detached.")
}
