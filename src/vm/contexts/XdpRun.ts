/**
 * Test runs of XDP programs: the packet, its metadata and fragments, and what comes back.
 *
 * Rules: `bpf_prog_test_run_xdp` in `net/bpf/test_run.c`. Live frames, which send packets, are not simulated.
 */
import * as Result from "effect/Result"
import { AttachType, TestRunFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import type { Environment } from "../helpers/Environment.ts"
import * as Memory from "../Memory.ts"
import type { Left, Opened, Runnable, TestRunInput } from "./Contexts.ts"
import { inputContext } from "./InputContext.ts"
import { refusal, type TestRunError, UnsupportedTestRun } from "./TestRunError.ts"
import * as Xdp from "./XdpBuff.ts"

const { BPF_F_TEST_XDP_LIVE_FRAMES } = TestRunFlag
const { FRAME_SIZE, HEADROOM, MAX_FRAGMENTS, PAGE_SIZE, TAILROOM, XDP_MD_SIZE } = Xdp

const ETH_HLEN = 14

/** Whether metadata cannot have this many bytes. */
export const isBadMetaLength = (length: number): boolean => length % 4 !== 0 || length > 255

/** Opens the context of a run. */
export const open = (
  environment: Environment,
  program: Runnable,
  input: TestRunInput
): Result.Result<Opened, TestRunError | UnsupportedTestRun> => {
  const invalid = (hint: string) => Result.fail(refusal(numbers.EINVAL, hint))
  const attachType = program.expectedAttachType ?? 0
  if (attachType === AttachType.BPF_XDP_DEVMAP || attachType === AttachType.BPF_XDP_CPUMAP) {
    return invalid("programs of device and CPU maps have no test run")
  }
  const flags = input.flags ?? 0
  if ((flags & ~BPF_F_TEST_XDP_LIVE_FRAMES) !== 0) return invalid("XDP programs take BPF_F_TEST_XDP_LIVE_FRAMES alone")
  if (flags !== 0) return Result.fail(new UnsupportedTestRun({ what: "XDP programs with BPF_F_TEST_XDP_LIVE_FRAMES" }))
  if (input.batchSize) return invalid("a batch size needs BPF_F_TEST_XDP_LIVE_FRAMES")
  const context = inputContext(input, XDP_MD_SIZE)
  if (typeof context === "number") return Result.fail(refusal(context, "the context has bytes beyond struct xdp_md"))
  const view = context === undefined ? undefined : new DataView(context.buffer)
  const read = (offset: number): number => view?.getUint32(offset, true) ?? 0
  const bytes = input.dataIn ?? new Uint8Array(0)
  const metaLength = read(0)
  if (view !== undefined) {
    if (read(8) !== 0 || read(4) > bytes.length || metaLength > read(4)) {
      return invalid("data_meta must be 0, data at most data_end, data_end at most the length of the data")
    }
    if (isBadMetaLength(metaLength) || metaLength > HEADROOM - FRAME_SIZE) {
      return invalid("metadata has a multiple of 4 bytes, 216 at most")
    }
  }
  const headroom = HEADROOM - metaLength
  const linear = Math.min(view === undefined ? bytes.length : read(4), PAGE_SIZE - headroom - TAILROOM)
  if (bytes.length - metaLength < ETH_HLEN) return invalid(`a packet has ${ETH_HLEN} bytes at least`)
  const device = checkDevice(environment, view === undefined ? [0, 0, 0] : [read(12), read(16), read(20)])
  if (device !== undefined) return Result.fail(device)
  if (Math.ceil((bytes.length - linear) / PAGE_SIZE) > MAX_FRAGMENTS) {
    return Result.fail(refusal(numbers.ENOMEM, `a packet has ${MAX_FRAGMENTS} fragments of a page at most`))
  }

  const packet = Memory.add(environment.memory, { name: "packet" })
  if (packet === undefined) return Result.fail(refusal(numbers.ENOMEM, "no room for the packet's region"))
  const page = new Uint8Array(PAGE_SIZE)
  page.set(bytes.subarray(0, linear), headroom)
  const fragments: Array<Xdp.Fragment> = []
  for (let at = linear; at < bytes.length; at += PAGE_SIZE) {
    const part = bytes.subarray(at, at + PAGE_SIZE)
    const fragment = new Uint8Array(PAGE_SIZE)
    fragment.set(part)
    fragments.push({ page: fragment, size: part.length })
  }
  const xdp: Xdp.XdpBuff = {
    _tag: "Xdp",
    packet,
    page,
    meta: headroom,
    data: headroom + metaLength,
    end: headroom + linear,
    fragments,
    ingressIfindex: read(12) || 1,
    queue: read(16)
  }
  Xdp.refresh(xdp)
  const region = Memory.add(environment.memory, {
    name: "struct xdp_md",
    accessor: Xdp.accessor(xdp),
    writable: false
  })
  if (region === undefined) {
    Memory.remove(environment.memory, packet)
    return Result.fail(refusal(numbers.ENOMEM, "no room for the context's region"))
  }
  environment.contexts.set(region.id, xdp)
  return Result.succeed({
    low: 0,
    high: region.id,
    environment,
    context: xdp,
    regions: [region, packet],
    answer: () => left(xdp, context)
  })
}

/** Why a packet cannot have come in by this interface and queue. */
const checkDevice = (
  environment: Environment,
  [ifindex, queue, egress]: readonly [number, number, number]
): TestRunError | undefined => {
  if (egress !== 0) return refusal(numbers.EINVAL, "egress_ifindex must be 0")
  if (ifindex === 0) return queue === 0 ? undefined : refusal(numbers.EINVAL, "rx_queue_index needs ingress_ifindex")
  const device = environment.devices.get(ifindex)
  if (device === undefined) return refusal(numbers.ENODEV, `there is no interface ${ifindex}`)
  return queue < device.queues ? undefined : refusal(numbers.EINVAL, `interface ${ifindex} has no XDP queue ${queue}`)
}

/** Metadata and packet after a run, and where they part. */
const left = (xdp: Xdp.XdpBuff, context: Uint8Array | undefined): Left => {
  const linear = xdp.page.subarray(xdp.meta, xdp.end)
  const data = new Uint8Array(linear.length + Xdp.fragmentsLength(xdp))
  data.set(linear)
  let at = linear.length
  for (const { page, size } of xdp.fragments) {
    data.set(page.subarray(0, size), at)
    at += size
  }
  if (context === undefined) return { data, context }
  const out = context.slice()
  const view = new DataView(out.buffer)
  view.setUint32(0, xdp.data - xdp.meta, true)
  view.setUint32(4, xdp.end - xdp.meta, true)
  return { data, context: out }
}
