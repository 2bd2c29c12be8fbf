/** The documents of `net`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const device = {
  devname: Field.text("The network device."),
  ifindex: Field.count("Its number in this network namespace.")
}

const mode = Field.oneOf(["driver", "generic", "offload"], "Where it runs.")

const InMode = Schema.Struct({ mode, id: Field.count("The program's identifier.") })

const Xdp = Schema.Struct({
  ...device,
  mode: Field.maybe(mode),
  id: Field.maybe(Field.count("The program's identifier.")),
  multi_attachments: Field.maybe(
    Field.list(InMode, "In the place of mode and id, where programs run in several places.")
  )
}).annotate({ description: "A device that runs an XDP program." })

const flags = (of: string) => Field.ids(`Flags of the ${of} (BPF_F_*), each as a number of its own.`)

const Placed = Schema.Struct({
  ...device,
  kind: Field.oneOf(["tcx/ingress", "tcx/egress", "netkit/primary", "netkit/peer"], "The place."),
  name: Field.maybe(Field.text("The program's name.")),
  prog_id: Field.count("The program's identifier."),
  prog_flags: flags("program"),
  link_id: Field.count("The link that attaches it, 0 for none."),
  link_flags: flags("link")
}).annotate({ description: "A program of tcx or netkit." })

const program = {
  name: Field.maybe(Field.text("The name of the filter or action, as traffic control has it.")),
  id: Field.maybe(Field.count("The program's identifier; those that bring their own instructions have none."))
}

const FilterOf = Schema.Struct({
  ...device,
  kind: Field.text("clsact/ingress, clsact/egress, or the kind of the queueing discipline that it is in."),
  ...program,
  act: Field.maybe(Field.list(Schema.Struct(program), "The programs among its actions, where it has actions."))
}).annotate({ description: "A filter of traffic control." })

const Netfilter = Schema.Struct({
  pf: Field.count("The protocol family: 2 IPv4, 10 IPv6."),
  hook: Field.count("Where in netfilter."),
  prio: Field.integer("Lower ones run first."),
  flags: Field.count("BPF_F_NETFILTER_*."),
  id: Field.count("The program's identifier.")
}).annotate({ description: "A netfilter link." })

const Attached = Schema.Struct({
  xdp: Field.list(Xdp, "Devices that run XDP programs."),
  tc: Field.list(
    Schema.Union([Placed, FilterOf]),
    "Programs of traffic control, by device, in the order in which they run."
  ),
  flow_dissector: Field.list(
    Schema.Struct({ id: Field.count("The program's identifier.") }),
    "The program that takes packets apart, if there is one. What bpftool writes here is no JSON."
  ),
  netfilter: Field.list(Netfilter, "Netfilter links, in the order in which they run.")
}).annotate({ identifier: "Net", title: "The programs of a network namespace" })

const show = {
  description: "The programs of a network namespace. Keys are those of bpftool net show.",
  schema: Field.list(Attached, "One document.")
}

const nothing = (description: string) => ({ description, schema: Field.nothing })

/** The documents. */
export const documents: ByCommand = {
  "net show": show,
  "net list": show,
  "net attach": nothing("The program was attached."),
  "net detach": nothing("The program was detached.")
}
