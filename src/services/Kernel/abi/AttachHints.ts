/**
 * What an error number most likely means of a call that has to do with attaching.
 *
 * Sources: `kernel/bpf/syscall.c`, `kernel/events/core.c`, `kernel/trace/`; reference page `attach`.
 */
import type { AttachingTag } from "../calls/Attaching.ts"
import { either, type Hint } from "./GeneralHints.ts"

/** The hints of the calls that have to do with attaching; `general` is what an error means whatever the call was. */
export const ofAttaching = (general: Hint): { readonly [T in AttachingTag]: Hint } => {
  const link = either(general, {
    EBUSY: "something is attached there already, which leaves no room for another",
    EEXIST: "the program is attached there already",
    EINVAL:
      "the program is of another type or was loaded for another attach type than the target takes, or this kernel does not " +
      "know an option: see `feature probe`",
    ENOENT: "the function, tracepoint or neighbour does not exist in this kernel",
    ENOTSUPP: "this kernel cannot attach such programs: see `feature probe`",
    EOPNOTSUPP: "this kernel cannot attach such programs: see `feature probe`",
    EPROTO: "the perf event takes callchains that the program's helpers do not fit: add PERF_SAMPLE_CALLCHAIN",
    ESRCH: "the process has ended, or one of the functions does not exist or cannot be attached to",
    ESTALE: "others were attached or detached there meanwhile: query it again for its revision",
    ENODEV: "there is no such network device"
  })
  const update = either(general, {
    EINVAL: "the new program is of another type or for another place than the old one",
    ENOLINK: "the link was detached",
    EPERM: "another program is attached than the one that is to be replaced, or a right is missing",
    EOPNOTSUPP: "links of this type cannot be given another program: attach the new one by a link of its own"
  })
  const event = either(general, {
    EACCES: "perf events need CAP_PERFMON, or a lower kernel.perf_event_paranoid",
    EPERM: "perf events need CAP_PERFMON, or a lower kernel.perf_event_paranoid",
    EINVAL: "the event does not exist on this machine, or the probe cannot be placed there",
    ENOENT: "there is no such function, file or event",
    EEXIST: "the event has a program already",
    ENODEV: "the CPU is offline, or the event is of a device that has gone",
    EADDRNOTAVAIL: "the function has no address now: its module is not loaded",
    EILSEQ: "the place is not the beginning of an instruction",
    EBUSY: "the event is in use"
  })
  const file = either(general, {
    ENOENT: "there is no such file",
    EACCES: "the file may not be read by this process",
    EPERM: "the file may not be read by this process"
  })
  const device = either(general, {
    ENODEV: "there is no such network device in this network namespace",
    EPERM: "network devices are changed with CAP_NET_ADMIN, in the user namespace that their network namespace is of",
    ENOENT: "there is no such filter, or the device has no clsact: create it first",
    EINVAL: "there is no such filter or clsact, or the program is of another type than is taken here",
    EBADMSG: "the kernel's answer is not what netlink says it should be: please report it"
  })
  const lookUp = either(device, {
    EINVAL: "the file that stands for the network namespace is none",
    EPERM: "another network namespace is entered with CAP_SYS_ADMIN, here and in the user namespace that it is of"
  })
  return {
    LinkCreate: link,
    LinkUpdate: update,
    LinkDetach: either(general, {
      EOPNOTSUPP: "links of this type cannot be detached by force: they end when nothing refers to them any more",
      ENOLINK: "the link was detached already"
    }),
    LinkGetInfo: general,
    RawTracepointOpen: either(general, {
      ENOENT: "there is no such tracepoint",
      EINVAL: "the program was not loaded for this, or reads more arguments than the tracepoint has",
      EACCES: "the program reads more arguments than the tracepoint has"
    }),
    IterCreate: either(general, { EINVAL: "the link is none of an iterator" }),
    IterRead: either(general, { E2BIG: "the program writes more at once than there is room for: read with more room" }),
    ProbePmuGet: file,
    TracepointId: either(file, {
      ENOENT: "there is no such tracepoint, or tracefs is not mounted: ls /sys/kernel/tracing/events",
      ENODEV: "tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing"
    }),
    SymbolListRead: file,
    TraceEventAdd: either(general, {
      ENOENT: "there is no such function or file, or this kernel was built without dynamic events of this kind",
      ENODEV: "tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing",
      EINVAL: "a probe cannot be placed there",
      EBUSY: "the event is in use"
    }),
    PerfEventOpen: event,
    PerfEventSetProgram: either(event, {
      EINVAL: "the program is of another type than such events take",
      EPROTO: "the program's helpers need callchains that the event does not take"
    }),
    PerfEventSwitch: event,
    EventMmap: either(event, {
      EINVAL: "the data must be a power of two of pages, behind one more page, and the event one of a CPU",
      EPERM: "so much memory may not be locked: raise kernel.perf_event_mlock_kb, or ask for fewer pages",
      ENOMEM: "there is no memory for so many pages",
      ENODEV: "events of this kind have no memory"
    }),
    PerfEventRead: either(event, { ENOSPC: "the counters of this event take more room than is known" }),
    CpusGet: either(file, { ENOENT: "sysfs is not mounted: mount -t sysfs sysfs /sys" }),
    TaskFdQuery: general,
    TargetOpen: either(general, {
      ENOENT: "there is no such file",
      ENOTDIR: "a part of the path is no folder"
    }),
    ProgAttach: link,
    ProgDetach: either(general, {
      ENOENT: "the program is not attached there",
      EPERM: "the program is attached by a link, which has to be detached instead, or a right is missing",
      ESTALE: "others were attached or detached there meanwhile: query it again for its revision"
    }),
    ProgQuery: general,
    DeviceGet: lookUp,
    DeviceList: lookUp,
    XdpAttach: either(device, {
      EBUSY: "a program is attached there already by a link, or in another mode",
      EEXIST: "another program is attached there than the one that is to be replaced, or one where none may be",
      EINVAL: "the program is no XDP program, or the device cannot run it in this mode",
      EOPNOTSUPP: "the driver of the device has no XDP: attach in generic mode"
    }),
    XdpDetach: either(device, {
      EBUSY: "the program is attached by a link, which has to be detached instead",
      EEXIST: "another program is attached there"
    }),
    ClsactCreate: either(device, {
      EEXIST:
        "the device has another queueing discipline for what comes in: ingress, which takes no programs for what goes out",
      EOPNOTSUPP:
        "this kernel was built without CONFIG_NET_SCH_INGRESS, or its module is not loaded: modprobe sch_ingress",
      ENOENT: "this kernel was built without CONFIG_NET_SCH_INGRESS, or its module is not loaded: modprobe sch_ingress"
    }),
    ClsactDelete: device,
    FilterAttach: either(device, {
      EEXIST: "there is a filter of this handle and priority already: replace it, or let the kernel choose",
      ENOENT: "the device has no clsact, create it first; or this kernel was built without CONFIG_NET_CLS_BPF",
      EOPNOTSUPP: "this kernel was built without CONFIG_NET_CLS_BPF, or its module is not loaded: modprobe cls_bpf"
    }),
    FilterDetach: device,
    FilterList: device,
    QdiscList: device
  }
}
