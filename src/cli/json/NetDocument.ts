/**
 * The programs of a network namespace as data, with bpftool's keys in bpftool's order.
 */
import { AttachType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Device } from "../../services/Kernel/abi/netlink/Device.ts"
import type { Filter } from "../../services/Kernel/abi/netlink/Filter.ts"
import type { Attached, FilterProg, PlacedProg } from "../net/Verbs.ts"
import type { Json } from "./Json.ts"

type Fields = { readonly [key: string]: Json }

/** Places on a device, by bpftool's names. */
export const placeNames: Readonly<Record<number, string>> = {
  [AttachType.BPF_TCX_INGRESS]: "tcx/ingress",
  [AttachType.BPF_TCX_EGRESS]: "tcx/egress",
  [AttachType.BPF_NETKIT_PRIMARY]: "netkit/primary",
  [AttachType.BPF_NETKIT_PEER]: "netkit/peer"
}

/** Where XDP programs run, by bpftool's names. */
const modeNames = { driver: "driver", generic: "generic", hardware: "offload" } as const

/** The XDP programs of a device, each with where it runs. */
export const xdpPrograms = ({ xdp }: Device): ReadonlyArray<{ readonly mode: string; readonly id: number }> =>
  xdp.mode === "none"
    ? []
    : xdp.mode === "several"
    ? [
      { mode: modeNames.generic, id: xdp.genericProgramId },
      { mode: modeNames.driver, id: xdp.driverProgramId },
      { mode: modeNames.hardware, id: xdp.hardwareProgramId }
    ].filter(({ id }) => id !== 0)
    : [{ mode: modeNames[xdp.mode], id: xdp.programId }]

const deviceJson = ({ index, name }: Device): Fields => ({ devname: name, ifindex: index })

const xdpJson = (device: Device): Fields => {
  const programs = xdpPrograms(device).map(({ id, mode }) => ({ mode, id }))
  return {
    ...deviceJson(device),
    ...(device.xdp.mode === "several" ? { multi_attachments: programs } : programs[0] ?? {})
  }
}

/** The flags in a number, each by itself. */
const bits = (flags: number): ReadonlyArray<number> =>
  Array.from({ length: 32 }, (_, at) => (1 << at) >>> 0).filter((bit) => (flags & bit) !== 0)

const placedJson = ({ attachType, device, flags, id, linkFlags, linkId, name }: PlacedProg): Fields => ({
  ...deviceJson(device),
  kind: placeNames[attachType] ?? "",
  ...(name === "" ? {} : { name }),
  prog_id: id,
  prog_flags: bits(flags),
  link_id: linkId,
  link_flags: bits(linkFlags)
})

const programJson = ({ name, programId }: Pick<Filter, "name" | "programId">): Fields => ({
  ...(name === "" ? {} : { name }),
  ...(programId === 0 ? {} : { id: programId })
})

const filterJson = ({ device, filter, kind }: FilterProg): Fields => ({
  ...deviceJson(device),
  kind,
  ...programJson(filter),
  ...(filter.actions === undefined ? {} : { act: filter.actions.map(programJson) })
})

/** The programs of a network namespace: a list with one document, as bpftool has it. */
export const netJson = ({ flowDissector, netfilter, tc, xdp }: Attached): ReadonlyArray<Json> => [{
  xdp: xdp.map(xdpJson),
  tc: tc.map((each) => each._tag === "Placed" ? placedJson(each) : filterJson(each)),
  flow_dissector: flowDissector === undefined ? [] : [{ id: flowDissector }],
  netfilter: netfilter.map(({ detail, progId }) => ({
    pf: detail.protocolFamily,
    hook: detail.hook,
    prio: detail.priority,
    flags: detail.flags,
    id: progId
  }))
}]
